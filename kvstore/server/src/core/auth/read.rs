//! What can be asked about users and roles.

use bytes::Bytes;
use prost::Message;

use super::{Auth, By, ROOT};
use crate::{
    core::{encode::Header, failure::Failure},
    pb::{
        authpb::{Permission, permission::Type},
        etcdserverpb as pb,
    },
};

/// A question about users and roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AuthRead {
    Status,
    UserGet(String),
    UserList,
    RoleGet(String),
    RoleList,
    /// What a password is compared with: for the edge, never for a client.
    Credential(String),
}

/// A user's password, as far as it is known, and its revision. For the edge only: it never leaves the process.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Credential {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<pb::ResponseHeader>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) password_hash: Bytes,
    #[prost(uint64, tag = "3")]
    pub(crate) credential: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) auth_revision: u64,
    /// Of the log: etcd's tokens end with it.
    #[prost(uint64, tag = "5")]
    pub(crate) index: u64,
}

// === impl Auth ===

impl Auth {
    /// # Errors
    /// When it is not for the one who asks, or not there.
    pub(crate) fn read(&self, by: &By, read: &AuthRead, header: Header, index: u64) -> Result<Bytes, Failure> {
        let header = Some(header.message());
        Ok(match read {
            AuthRead::Status => {
                self.permit_root(by)?;
                let (enabled, auth_revision) = (self.enabled, self.revision);
                pb::AuthStatusResponse { header, enabled, auth_revision }.encode_to_vec()
            }
            AuthRead::UserGet(name) => {
                // Everybody may know of themselves.
                self.permit_root(by).or_else(|failure| if by.name() == name { Ok(()) } else { Err(failure) })?;
                let roles = self.users.get(name).ok_or(Failure::UserNotFound)?.roles.clone();
                pb::AuthUserGetResponse { header, roles }.encode_to_vec()
            }
            AuthRead::UserList => {
                self.permit_root(by)?;
                pb::AuthUserListResponse { header, users: self.users.keys().cloned().collect() }.encode_to_vec()
            }
            AuthRead::RoleGet(name) => {
                let own = self.users.get(by.name()).is_some_and(|user| user.has(name));
                self.permit_root(by).or_else(|failure| if own { Ok(()) } else { Err(failure) })?;
                let role = self.roles.get(name).ok_or(Failure::RoleNotFound)?;
                let perm = if name == ROOT { vec![everything()] } else { role.permissions.clone() };
                pb::AuthRoleGetResponse { header, perm }.encode_to_vec()
            }
            AuthRead::RoleList => {
                self.permit_root(by)?;
                pb::AuthRoleListResponse { header, roles: self.roles.keys().cloned().collect() }.encode_to_vec()
            }
            AuthRead::Credential(name) => {
                if !self.enabled {
                    return Err(Failure::AuthNotEnabled);
                }
                let user = self.users.get(name).ok_or(Failure::AuthFailed)?;
                if user.no_password {
                    return Err(Failure::NoPasswordUser);
                }
                let credential = user.set_at.max(self.disabled_at);
                let password_hash = user.password_hash.clone();
                Credential { header, password_hash, credential, auth_revision: self.revision, index }.encode_to_vec()
            }
        }
        .into())
    }
}

/// What root's role is shown to be, whatever was granted to it.
fn everything() -> Permission {
    Permission { perm_type: Type::Readwrite as i32, key: Bytes::new(), range_end: Bytes::from_static(&[0]) }
}
