//! Users and roles as rows of a checkpoint.

use bytes::Bytes;
use prost::Message;

use super::{Auth, Role, User};
use crate::pb::authpb::Permission;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthRows {
    #[prost(bool, tag = "1")]
    enabled: bool,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(uint64, tag = "3")]
    disabled_at: u64,
    #[prost(message, repeated, tag = "4")]
    users: Vec<UserRow>,
    #[prost(message, repeated, tag = "5")]
    roles: Vec<RoleRow>,
}

#[derive(Clone, PartialEq, Message)]
struct UserRow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "bytes", tag = "2")]
    password_hash: Bytes,
    #[prost(bool, tag = "3")]
    no_password: bool,
    #[prost(string, repeated, tag = "4")]
    roles: Vec<String>,
    #[prost(uint64, tag = "5")]
    set_at: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RoleRow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    permissions: Vec<Permission>,
}

// === impl Auth ===

impl Auth {
    /// `None` while nothing was ever changed: such a checkpoint is one that versions without users read.
    pub(crate) fn rows(&self) -> Option<AuthRows> {
        if *self == Self::default() {
            return None;
        }
        let users = self.users.iter().map(|(name, user)| UserRow {
            name: name.clone(),
            password_hash: user.password_hash.clone(),
            no_password: user.no_password,
            roles: user.roles.clone(),
            set_at: user.set_at,
        });
        let roles =
            self.roles.iter().map(|(name, role)| RoleRow { name: name.clone(), permissions: role.permissions.clone() });
        let (enabled, revision, disabled_at) = (self.enabled, self.revision, self.disabled_at);
        Some(AuthRows { enabled, revision, disabled_at, users: users.collect(), roles: roles.collect() })
    }

    /// Of all of it, taken in behind a hash of something else.
    pub(crate) fn hash(&self, before: u32) -> u32 {
        self.rows().map_or(before, |rows| crc32c::crc32c_append(before, &rows.encode_to_vec()))
    }
}

impl From<AuthRows> for Auth {
    fn from(rows: AuthRows) -> Self {
        let users = rows.users.into_iter().map(|row| {
            let UserRow { name, password_hash, no_password, roles, set_at } = row;
            (name, User { password_hash, no_password, roles, set_at, ..User::default() })
        });
        let roles = rows.roles.into_iter().map(|row| (row.name, Role { permissions: row.permissions }));
        let mut auth = Self {
            enabled: rows.enabled,
            revision: rows.revision,
            disabled_at: rows.disabled_at,
            users: users.collect(),
            roles: roles.collect(),
            bytes: 0,
        };
        auth.refresh(|_, _| true);
        auth.count();
        auth
    }
}
