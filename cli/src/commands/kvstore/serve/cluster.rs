//! A cluster of one member: what its flags say of others is refused, each by name.

use anyhow::{Result, bail};

use super::Args;

/// # Errors
/// Which flag says what this store cannot be.
pub(super) fn check(args: &Args) -> Result<()> {
    if args.initial_cluster_state != "new" {
        bail!("--initial-cluster-state=existing joins a cluster, which needs several members, and this store has one");
    }
    let advertised = [
        ("--advertise-client-urls", &args.advertise_client_urls),
        ("--initial-advertise-peer-urls", &args.initial_advertise_peer_urls),
    ];
    for (flag, urls) in advertised {
        for url in urls {
            check_advertised(flag, url)?;
        }
    }
    check_members(args)
}

fn check_members(args: &Args) -> Result<()> {
    let members: Vec<(&str, &str)> = args.initial_cluster.iter().filter_map(|member| member.split_once('=')).collect();
    if let Some(odd) = args.initial_cluster.iter().find(|member| !member.contains('=')) {
        bail!("--initial-cluster has {odd:?}, which is not of the form NAME=URL");
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        bail!(
            "--initial-cluster names {} members ({}), which needs several members, and this store has one: name only {}",
            names.len(),
            names.join(", "),
            args.name
        );
    }
    if let Some(name) = names.first().filter(|name| **name != args.name) {
        bail!("--initial-cluster names the member {name:?}, but --name is {:?}: they must be equal", args.name);
    }
    for (name, url) in &members {
        if members.iter().filter(|(_, other)| other == url).count() > 1 {
            bail!("--initial-cluster names the member {name:?} twice at {url}: once is enough");
        }
        if !args.initial_advertise_peer_urls.iter().any(|one| same(one, url)) {
            bail!(
                "--initial-cluster has {name}={url}, and --initial-advertise-peer-urls says {}: a member named twice, or at \
                 another URL, would be another member",
                args.initial_advertise_peer_urls.join(",")
            );
        }
    }
    let missing = |url: &&String| !members.iter().any(|(_, other)| same(other, url));
    if let Some(url) = args.initial_advertise_peer_urls.iter().find(missing).filter(|_| !members.is_empty()) {
        bail!(
            "--initial-cluster lacks {}={url}, which is in --initial-advertise-peer-urls: the list must have this member",
            args.name
        );
    }
    Ok(())
}

/// # Errors
/// When nobody could dial it.
fn check_advertised(flag: &str, url: &str) -> Result<()> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    if ["0.0.0.0", "[::]"].contains(&host) {
        bail!("{flag} has {url}: {host} means every address here and none elsewhere: name one that clients can dial");
    }
    if !url.contains("://") {
        bail!("{flag} has {url:?}, which is not of the form http[s]://HOST:PORT");
    }
    Ok(())
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}
