//! Where an endpoint is.

use std::path::PathBuf;

/// What an endpoint's text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp {
        /// `host:port`, an IPv6 address in brackets.
        authority: String,
        /// The host alone, as a certificate names it.
        host: String,
    },
    /// A socket of this machine.
    Unix(PathBuf),
}

// === impl Address ===

impl Address {
    /// Reads an endpoint that was checked.
    pub fn of(endpoint: &str) -> Self {
        if let Some(path) = unix_path(endpoint) {
            return Self::Unix(path.into());
        }
        let authority = endpoint.rsplit("//").find(|part| !part.is_empty()).unwrap_or(endpoint).trim_end_matches('/');
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        Self::Tcp { authority: authority.to_owned(), host: host.trim_matches(['[', ']']).to_owned() }
    }
}

/// The path of `unix:///path`, which etcd also takes as `unix:/path`.
fn unix_path(endpoint: &str) -> Option<&str> {
    let rest = endpoint.strip_prefix("unix:")?;
    Some(rest.strip_prefix("//").unwrap_or(rest))
}

/// What is wrong with an endpoint.
pub(super) fn check_endpoint(endpoint: &str) -> Result<(), &'static str> {
    if let Some(path) = unix_path(endpoint) {
        return if path.starts_with('/') {
            Ok(())
        } else {
            Err("the path of a socket is absolute: unix:///run/etcd.sock")
        };
    }
    let rest = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    if rest.is_none() && endpoint.contains("://") {
        return Err("the scheme is http, https or unix");
    }
    let host = rest.unwrap_or(endpoint).trim_end_matches('/');
    if host.contains(['/', '?', '#', '@']) || host.contains(char::is_whitespace) {
        return Err("nothing but a host and a port may stand in it");
    }
    let (host, port) = match host.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((inner, tail))) => {
            if inner.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("what stands in brackets is no IPv6 address");
            }
            (inner, tail.strip_prefix(':'))
        }
        Some(None) => return Err("a bracket is not closed"),
        None if host.matches(':').count() > 1 => {
            return Err("an IPv6 address needs brackets, as in http://[fd00::1]:2379");
        }
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    match port.map(str::parse::<u16>) {
        None => Err("the port is missing; etcd's is 2379"),
        Some(Ok(1..)) => Ok(()),
        Some(_) => Err("the port is a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcds_client_reads_them() {
        fn check(endpoint: &str, authority: &str, host: &str) {
            assert_eq!(check_endpoint(endpoint), Ok(()));
            let expected = Address::Tcp { authority: authority.to_owned(), host: host.to_owned() };
            assert_eq!(Address::of(endpoint), expected, "{endpoint}");
        }
        check("http://a:1", "a:1", "a");
        check("https://a.b:1/", "a.b:1", "a.b");
        check("a:1", "a:1", "a");
        check("https://[fd00::1]:2379", "[fd00::1]:2379", "fd00::1");
        for endpoint in ["unix:///run/etcd.sock", "unix:/run/etcd.sock"] {
            assert_eq!(check_endpoint(endpoint), Ok(()));
            assert_eq!(Address::of(endpoint), Address::Unix("/run/etcd.sock".into()));
        }
        assert!(check_endpoint("unix://run/etcd.sock").is_err_and(|rule| rule.contains("absolute")));
    }
}
