//! `causeway kvstore role`: what users of a store may, with etcdctl's words.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use etcd_client::{Client, Permission, PermissionType, RoleRevokePermissionOptions};

use crate::output::print;

/// The role that may everything.
pub(crate) const ROOT: &str = "root";
/// Where a range ends that does not.
const OPEN: &[u8] = b"\0";

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a role
    Add {
        /// Its name
        name: String,
    },
    /// Delete a role
    Delete {
        /// Its name
        name: String,
    },
    /// Print what a role may
    Get {
        /// Its name
        name: String,
    },
    /// Print every role
    List,
    /// Let a role read or write keys
    GrantPermission {
        #[command(flatten)]
        keys: Keys,
        /// The role
        name: String,
        /// What it may do
        #[arg(value_enum)]
        permission: Kind,
        /// The key
        key: String,
        /// The first key behind the range
        endkey: Option<String>,
    },
    /// Take a permission from a role
    RevokePermission {
        #[command(flatten)]
        keys: Keys,
        /// The role
        name: String,
        /// The key
        key: String,
        /// The first key behind the range
        endkey: Option<String>,
    },
}

#[derive(clap::Args)]
pub(crate) struct Keys {
    /// Every key that begins with KEY
    #[arg(long, conflicts_with_all = ["from_key", "endkey"])]
    prefix: bool,
    /// KEY and every key behind it
    #[arg(long, conflicts_with = "endkey")]
    from_key: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Kind {
    Read,
    Write,
    Readwrite,
}

pub(crate) async fn run(mut client: Client, command: Command) -> Result<ExitCode> {
    let text = match command {
        Command::Add { name } => {
            client.role_add(&*name).await.with_context(|| format!("add role {name}"))?;
            format!("Role {name} created\n")
        }
        Command::Delete { name } => {
            client.role_delete(&*name).await.with_context(|| format!("delete role {name}"))?;
            format!("Role {name} deleted\n")
        }
        Command::Get { name } => {
            let role = client.role_get(&*name).await.with_context(|| format!("ask for role {name}"))?;
            shown(&name, &role.permissions())
        }
        Command::List => {
            let roles = client.role_list().await.context("list roles")?;
            roles.roles().iter().map(|role| format!("{role}\n")).collect()
        }
        Command::GrantPermission { keys, name, permission, key, endkey } => {
            let (key, end) = keys.range(&key, endkey.as_deref())?;
            let kind = match permission {
                Kind::Read => PermissionType::Read,
                Kind::Write => PermissionType::Write,
                Kind::Readwrite => PermissionType::Readwrite,
            };
            let permission = Permission::new(kind, key).with_range_end(end);
            let granted = client.role_grant_permission(&*name, permission).await;
            granted.with_context(|| format!("grant a permission to role {name}"))?;
            format!("Role {name} updated\n")
        }
        Command::RevokePermission { keys, name, key, endkey } => {
            let (key, end) = keys.range(&key, endkey.as_deref())?;
            let options = RoleRevokePermissionOptions::new().with_range_end(end.clone());
            let revoked = client.role_revoke_permission(&*name, key.clone(), Some(options)).await;
            revoked.with_context(|| format!("revoke a permission from role {name}"))?;
            let of = if end.is_empty() { "key" } else { "range" };
            format!("Permission of {of} {} is revoked from role {name}\n", range(&key, &end))
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// As etcdctl prints a role.
pub(crate) fn shown(name: &str, permissions: &[Permission]) -> String {
    let lines = |other: PermissionType| {
        if permissions.is_empty() && name == ROOT {
            return "\t[, <open ended>\n".to_owned();
        }
        let granted = permissions.iter().filter(|permission| {
            let kind = permission.get_type();
            kind == PermissionType::Readwrite as i32 || kind == other as i32
        });
        granted.map(|permission| line(permission.key(), permission.range_end())).collect()
    };
    let (read, write) = (lines(PermissionType::Read), lines(PermissionType::Write));
    format!("Role {name}\nKV Read:\n{read}KV Write:\n{write}")
}

fn line(key: &[u8], end: &[u8]) -> String {
    let prefix = if !key.is_empty() && !end.is_empty() && end == behind(key) {
        format!(" (prefix {})", String::from_utf8_lossy(key))
    } else {
        String::new()
    };
    format!("\t{}{prefix}\n", range(key, end))
}

fn range(key: &[u8], end: &[u8]) -> String {
    let key = String::from_utf8_lossy(key);
    match end {
        [] => key.into_owned(),
        OPEN => format!("[{key}, <open ended>"),
        _ => format!("[{key}, {})", String::from_utf8_lossy(end)),
    }
}

/// The first key behind all that begin with this one.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    OPEN.to_vec()
}

// === impl Keys ===

impl Keys {
    fn range(&self, key: &str, end: Option<&str>) -> Result<(Vec<u8>, Vec<u8>)> {
        let bytes = key.as_bytes();
        let first = || if bytes.is_empty() { OPEN.to_vec() } else { bytes.to_vec() };
        Ok(match end {
            _ if self.prefix && bytes.is_empty() => (OPEN.to_vec(), OPEN.to_vec()),
            _ if self.prefix => (bytes.to_vec(), behind(bytes)),
            _ if self.from_key => (first(), OPEN.to_vec()),
            _ if bytes.is_empty() => bail!("an empty key is no key: with --prefix or --from-key it is all keys"),
            Some(end) => (bytes.to_vec(), end.as_bytes().to_vec()),
            None => (bytes.to_vec(), Vec::new()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_shown_as_by_etcdctl() {
        let permissions = [
            Permission::read("a").with_range_end("b"),
            Permission::read_write("k"),
            Permission::write("x").with_range_end(OPEN),
            Permission::read("m").with_range_end("p"),
        ];
        assert_eq!(
            shown("mixed", &permissions),
            "Role mixed\nKV Read:\n\t[a, b) (prefix a)\n\tk\n\t[m, p)\nKV Write:\n\tk\n\t[x, <open ended>\n"
        );
        assert_eq!(shown("root", &[]), "Role root\nKV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n");
    }

    #[test]
    fn keys_are_ranges_as_etcdctl_makes_them() {
        let keys = |prefix, from_key| Keys { prefix, from_key };
        let range = |keys: Keys, key, end| keys.range(key, end).map_err(|error| error.to_string());
        let both = |key: &[u8], end: &[u8]| Ok((key.to_vec(), end.to_vec()));
        assert_eq!(range(keys(false, false), "a", None), both(b"a", b""));
        assert_eq!(range(keys(false, false), "a", Some("c")), both(b"a", b"c"));
        assert_eq!(range(keys(true, false), "a/", None), both(b"a/", b"a0"));
        assert_eq!(range(keys(true, false), "", None), both(b"\0", b"\0"));
        assert_eq!(range(keys(false, true), "", None), both(b"\0", b"\0"));
        assert_eq!(behind(b"a\xff"), b"b");
        assert!(range(keys(false, false), "", None).is_err());
    }
}
