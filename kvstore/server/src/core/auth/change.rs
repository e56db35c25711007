//! Changes of users and roles, in the order in which etcd checks them.
//!
//! Source: etcd server/auth/store.go of 3.6.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message as _;

use super::{Auth, ROOT, ROW_BYTES, Role, User, grants::Grants};
use crate::{
    core::{entry::Kind, failure::Failure},
    pb::{authpb::Permission, etcdserverpb as pb},
};

/// A longer name has no room in an entry of the log.
const MAX_NAME_BYTES: usize = u16::MAX as usize;

/// A change that only root may make. Passwords were hashed before it was proposed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AuthWrite {
    Enable,
    Disable,
    UserAdd(pb::AuthUserAddRequest),
    UserDelete(pb::AuthUserDeleteRequest),
    UserChangePassword(pb::AuthUserChangePasswordRequest),
    UserGrantRole(pb::AuthUserGrantRoleRequest),
    UserRevokeRole(pb::AuthUserRevokeRoleRequest),
    RoleAdd(pb::AuthRoleAddRequest),
    RoleDelete(pb::AuthRoleDeleteRequest),
    RoleGrantPermission(pb::AuthRoleGrantPermissionRequest),
    RoleRevokePermission(pb::AuthRoleRevokePermissionRequest),
}

// === impl AuthWrite ===

impl AuthWrite {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Enable => Kind::AuthEnable,
            Self::Disable => Kind::AuthDisable,
            Self::UserAdd(_) => Kind::UserAdd,
            Self::UserDelete(_) => Kind::UserDelete,
            Self::UserChangePassword(_) => Kind::UserChangePassword,
            Self::UserGrantRole(_) => Kind::UserGrantRole,
            Self::UserRevokeRole(_) => Kind::UserRevokeRole,
            Self::RoleAdd(_) => Kind::RoleAdd,
            Self::RoleDelete(_) => Kind::RoleDelete,
            Self::RoleGrantPermission(_) => Kind::RoleGrantPermission,
            Self::RoleRevokePermission(_) => Kind::RoleRevokePermission,
        }
    }

    /// `None` if it is no change of users or roles.
    ///
    /// # Errors
    /// When the bytes are no such request.
    pub(crate) fn decode(kind: Kind, bytes: Bytes) -> Result<Option<Self>, prost::DecodeError> {
        Ok(Some(match kind {
            Kind::AuthEnable => Self::Enable,
            Kind::AuthDisable => Self::Disable,
            Kind::UserAdd => Self::UserAdd(pb::AuthUserAddRequest::decode(bytes)?),
            Kind::UserDelete => Self::UserDelete(pb::AuthUserDeleteRequest::decode(bytes)?),
            Kind::UserChangePassword => Self::UserChangePassword(pb::AuthUserChangePasswordRequest::decode(bytes)?),
            Kind::UserGrantRole => Self::UserGrantRole(pb::AuthUserGrantRoleRequest::decode(bytes)?),
            Kind::UserRevokeRole => Self::UserRevokeRole(pb::AuthUserRevokeRoleRequest::decode(bytes)?),
            Kind::RoleAdd => Self::RoleAdd(pb::AuthRoleAddRequest::decode(bytes)?),
            Kind::RoleDelete => Self::RoleDelete(pb::AuthRoleDeleteRequest::decode(bytes)?),
            Kind::RoleGrantPermission => Self::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest::decode(bytes)?),
            Kind::RoleRevokePermission => {
                Self::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest::decode(bytes)?)
            }
            _ => return Ok(None),
        }))
    }

    /// What it is about, for the audit: names and keys, never a password.
    pub(crate) fn target(&self) -> String {
        let keys = |key: &[u8], end: &[u8]| format!("[{}, {})", key.escape_ascii(), end.escape_ascii());
        match self {
            Self::Enable | Self::Disable => String::new(),
            Self::UserAdd(asked) => format!("user {:?}", asked.name),
            Self::UserDelete(asked) => format!("user {:?}", asked.name),
            Self::UserChangePassword(asked) => format!("user {:?}", asked.name),
            Self::UserGrantRole(asked) => format!("user {:?}, role {:?}", asked.user, asked.role),
            Self::UserRevokeRole(asked) => format!("user {:?}, role {:?}", asked.name, asked.role),
            Self::RoleAdd(asked) => format!("role {:?}", asked.name),
            Self::RoleDelete(asked) => format!("role {:?}", asked.role),
            Self::RoleGrantPermission(asked) => {
                let permission = asked.perm.clone().unwrap_or_default();
                let kind = permission.perm_type().as_str_name();
                format!("role {:?}, {kind} {}", asked.name, keys(&permission.key, &permission.range_end))
            }
            Self::RoleRevokePermission(asked) => {
                format!("role {:?}, {}", asked.role, keys(&asked.key, &asked.range_end))
            }
        }
    }
}

// === impl Auth ===

impl Auth {
    /// # Errors
    /// What etcd refuses. Nothing is changed then.
    pub(crate) fn change(&mut self, write: &AuthWrite) -> Result<(), Failure> {
        match write {
            AuthWrite::Enable => self.enable(),
            AuthWrite::Disable => {
                if self.enabled {
                    self.enabled = false;
                    self.commit();
                    self.disabled_at = self.revision;
                }
                Ok(())
            }
            AuthWrite::UserAdd(asked) => self.add_user(asked),
            AuthWrite::UserDelete(asked) => {
                self.check_stays(&asked.name)?;
                self.users.remove(&asked.name).ok_or(Failure::UserNotFound)?;
                self.commit();
                Ok(())
            }
            AuthWrite::UserChangePassword(asked) => {
                let next = self.revision + 1;
                let user = self.users.get_mut(&asked.name).ok_or(Failure::UserNotFound)?;
                if !user.no_password {
                    user.password_hash = hash(&asked.hashed_password)?;
                }
                user.set_at = next;
                self.commit();
                Ok(())
            }
            AuthWrite::UserGrantRole(asked) => self.grant_role(&asked.user, &asked.role),
            AuthWrite::UserRevokeRole(asked) => {
                if asked.role == ROOT {
                    self.check_stays(&asked.name)?;
                }
                let user = self.users.get_mut(&asked.name).ok_or(Failure::UserNotFound)?;
                let at = user.roles.binary_search(&asked.role).map_err(|_| Failure::RoleNotGranted)?;
                user.roles.remove(at);
                self.refresh(|name, _| name == asked.name);
                self.commit();
                Ok(())
            }
            AuthWrite::RoleAdd(asked) => {
                if asked.name.is_empty() {
                    return Err(Failure::RoleEmpty);
                }
                if self.roles.contains_key(&asked.name) {
                    return Err(Failure::RoleAlreadyExists);
                }
                self.roles.insert(asked.name.clone(), Role::default());
                // Granted before it was made, as root may be.
                self.refresh(|_, user| user.has(&asked.name));
                self.commit();
                Ok(())
            }
            AuthWrite::RoleDelete(asked) => {
                self.check_stays(&asked.role)?;
                self.roles.remove(&asked.role).ok_or(Failure::RoleNotFound)?;
                for user in self.users.values_mut() {
                    user.roles.retain(|role| *role != asked.role);
                }
                self.refresh(|_, _| true);
                self.commit();
                Ok(())
            }
            AuthWrite::RoleGrantPermission(asked) => self.grant_permission(asked),
            AuthWrite::RoleRevokePermission(asked) => {
                let role = self.roles.get_mut(&asked.role).ok_or(Failure::RoleNotFound)?;
                let before = role.permissions.len();
                role.permissions.retain(|own| own.key != asked.key || own.range_end != asked.range_end);
                if role.permissions.len() == before {
                    return Err(Failure::PermissionNotGranted);
                }
                self.refresh(|_, user| user.has(&asked.role));
                self.commit();
                Ok(())
            }
        }
    }

    /// Does not count as a change of permissions, in etcd neither.
    fn enable(&mut self) -> Result<(), Failure> {
        if !self.enabled {
            let root = self.users.get(ROOT).ok_or(Failure::RootUserNotExist)?;
            if !root.is_root() {
                return Err(Failure::RootRoleNotExist);
            }
            self.enabled = true;
        }
        Ok(())
    }

    fn add_user(&mut self, asked: &pb::AuthUserAddRequest) -> Result<(), Failure> {
        if asked.name.is_empty() {
            return Err(Failure::UserEmpty);
        }
        if asked.name.len() > MAX_NAME_BYTES {
            return Err(Failure::NameTooLong);
        }
        if self.users.contains_key(&asked.name) {
            return Err(Failure::UserAlreadyExists);
        }
        let no_password = asked.options.as_ref().is_some_and(|options| options.no_password);
        let password_hash = if no_password { Bytes::new() } else { hash(&asked.hashed_password)? };
        let set_at = self.revision + 1;
        self.users.insert(asked.name.clone(), User { password_hash, no_password, set_at, ..User::default() });
        self.commit();
        Ok(())
    }

    /// A role has to be there, but for root's, which means the same whether it is or not.
    fn grant_role(&mut self, name: &str, role: &str) -> Result<(), Failure> {
        let user = self.users.get_mut(name).ok_or(Failure::UserNotFound)?;
        if role != ROOT && !self.roles.contains_key(role) {
            return Err(Failure::RoleNotFound);
        }
        let Err(at) = user.roles.binary_search_by(|own| own.as_str().cmp(role)) else { return Ok(()) };
        user.roles.insert(at, role.to_owned());
        self.refresh(|other, _| other == name);
        self.commit();
        Ok(())
    }

    /// What was granted of the same keys is replaced. etcd overlooks it behind others that begin with the same key, and
    /// what was to be narrowed stays wide.
    fn grant_permission(&mut self, asked: &pb::AuthRoleGrantPermissionRequest) -> Result<(), Failure> {
        let asked_for = asked.perm.as_ref().ok_or(Failure::PermissionNotGiven)?;
        if !is_range(asked_for) {
            return Err(Failure::InvalidAuthManagement);
        }
        let role = self.roles.get_mut(&asked.name).ok_or(Failure::RoleNotFound)?;
        let same = |own: &&mut Permission| own.key == asked_for.key && own.range_end == asked_for.range_end;
        match role.permissions.iter_mut().find(same) {
            Some(own) => own.perm_type = asked_for.perm_type,
            None => {
                let at = role.permissions.partition_point(|own| own.key <= asked_for.key);
                role.permissions.insert(at, asked_for.clone());
            }
        }
        self.refresh(|_, user| user.has(&asked.name));
        self.commit();
        Ok(())
    }

    /// While permissions are asked for, somebody has to be able to give them.
    fn check_stays(&self, name: &str) -> Result<(), Failure> {
        if self.enabled && name == ROOT { Err(Failure::InvalidAuthManagement) } else { Ok(()) }
    }

    fn commit(&mut self) {
        self.revision += 1;
        self.count();
    }

    /// Adds up again what these users may.
    pub(super) fn refresh(&mut self, concerned: impl Fn(&str, &User) -> bool) {
        for (name, user) in &mut self.users {
            if concerned(name, user) {
                let roles = user.roles.iter().filter_map(|role| self.roles.get(role));
                user.grants = Grants::of(roles.flat_map(|role| &role.permissions));
            }
        }
    }

    pub(super) fn count(&mut self) {
        let users = self.users.iter().map(|(name, user)| {
            // Grants hold a permission's keys twice.
            let roles: usize = user.roles.iter().map(|role| role.len() + 24).sum();
            ROW_BYTES + (name.len() + user.password_hash.len() + roles) as u64
        });
        let permission = |own: &Permission| ROW_BYTES + 3 * (own.key.len() + own.range_end.len()) as u64;
        let roles = self
            .roles
            .iter()
            .map(|(name, role)| ROW_BYTES + name.len() as u64 + role.permissions.iter().map(permission).sum::<u64>());
        self.bytes = users.sum::<u64>() + roles.sum::<u64>();
    }
}

fn hash(base64: &str) -> Result<Bytes, Failure> {
    BASE64_STANDARD.decode(base64).map(Bytes::from).map_err(|_| Failure::NoPasswordUser)
}

/// A key, and behind it an end or none.
fn is_range(permission: &Permission) -> bool {
    let end = &permission.range_end[..];
    !permission.key.is_empty() && (end.is_empty() || end == [0] || permission.key[..] < *end)
}
