//! Users, roles, and what they may. Part of what the log makes: the same on every member, in checkpoints and snapshots.
//!
//! ```text
//!  caller (what the edge could tell) ─identify─> by (a user at a revision of the permissions) ─permit─> the request
//! ```
//! Every change raises the revision. What was permitted at one revision is asked again at another. Who shows a token is
//! the user only as long as the password is the one that the token was given for: `credential` counts that.

mod caller;
mod change;
mod grants;
mod permit;
mod read;
mod rows;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{failure::Failure, span::Span};
use crate::pb::authpb::Permission;
use grants::Grants;

pub(crate) use caller::{By, Caller, Proof};
pub(crate) use change::AuthWrite;
pub(crate) use permit::Need;
pub(crate) use read::{AuthRead, Credential};
pub(crate) use rows::AuthRows;

/// The user that must be there while permissions are asked for, and the role that may everything.
const ROOT: &str = "root";
/// Accounted bytes of a user, a role or a permission beside its texts: nodes of trees and lists that may be half full.
const ROW_BYTES: u64 = 256;

/// What is done with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Auth {
    enabled: bool,
    revision: u64,
    /// The revision at which it was last switched off: tokens from before are void.
    disabled_at: u64,
    users: BTreeMap<String, User>,
    roles: BTreeMap<String, Role>,
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct User {
    /// bcrypt's; empty matches nothing.
    password_hash: Bytes,
    no_password: bool,
    /// Sorted.
    roles: Vec<String>,
    /// The revision of its password.
    set_at: u64,
    /// What its roles add up to.
    grants: Grants,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Role {
    /// Sorted by key; at most one of a key and its end.
    permissions: Vec<Permission>,
}

// === impl Auth ===

impl Default for Auth {
    fn default() -> Self {
        // etcd's begins at 1 too.
        Self { enabled: false, revision: 1, disabled_at: 0, users: BTreeMap::new(), roles: BTreeMap::new(), bytes: 0 }
    }
}

impl Auth {
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Accounted bytes.
    pub(crate) fn size(&self) -> u64 {
        self.bytes
    }

    /// Whom a request counts as coming from.
    ///
    /// # Errors
    /// When a token was shown and is none, or no longer one.
    pub(crate) fn identify(&self, caller: &Caller) -> Result<By, Failure> {
        if !self.enabled {
            return Ok(By::Nobody);
        }
        match caller {
            Caller::Nobody => Ok(By::Nobody),
            Caller::BadToken => Err(Failure::InvalidAuthToken),
            Caller::User { name, proof } => {
                let revision = match proof {
                    Proof::Certificate => self.revision,
                    Proof::Token { credential } if self.credential(name) == Some(*credential) => self.revision,
                    Proof::Token { .. } => return Err(Failure::InvalidAuthToken),
                    // A signature outlives the password; etcd notices only where keys are concerned.
                    Proof::Signed { revision } if self.credential(name).is_some_and(|since| *revision < since) => {
                        return Err(Failure::AuthOldRevision);
                    }
                    Proof::Signed { revision } => *revision,
                };
                Ok(By::User { name: name.clone(), revision })
            }
        }
    }

    /// Since when the user's password is what it is, and tokens are given; `None` if there is no such user.
    fn credential(&self, name: &str) -> Option<u64> {
        self.users.get(name).map(|user| user.set_at.max(self.disabled_at))
    }

    /// # Errors
    /// When these keys are not the user's to be read or written, now.
    pub(crate) fn permit_keys(&self, by: &By, access: Access, span: &Span) -> Result<(), Failure> {
        if !self.enabled {
            return Ok(());
        }
        let (name, revision) = match by {
            By::Store => return Ok(()),
            By::Nobody => return Err(Failure::UserEmpty),
            By::User { name, revision } => (name, *revision),
        };
        if revision != self.revision {
            return Err(Failure::AuthOldRevision);
        }
        let user = self.users.get(&**name).ok_or(Failure::PermissionDenied)?;
        if user.is_root() || user.grants.allow(access, span) { Ok(()) } else { Err(Failure::PermissionDenied) }
    }

    /// # Errors
    /// When these keys are not the caller's to be told of, now.
    pub(crate) fn permit_watch(&self, caller: &Caller, span: &Span) -> Result<(), Failure> {
        self.permit_keys(&self.identify(caller)?, Access::Read, span)
    }

    /// # Errors
    /// When it is not somebody who may everything.
    pub(crate) fn permit_root(&self, by: &By) -> Result<(), Failure> {
        if !self.enabled {
            return Ok(());
        }
        match by {
            By::Store => Ok(()),
            By::User { name, .. } if !name.is_empty() => {
                let user = self.users.get(&**name).ok_or(Failure::UserNotFound)?;
                if user.is_root() { Ok(()) } else { Err(Failure::PermissionDenied) }
            }
            By::Nobody | By::User { .. } => Err(Failure::UserEmpty),
        }
    }

    /// # Errors
    /// When it is nobody, or nobody that is known: etcd takes any name that a certificate or a signature gives.
    pub(crate) fn permit_user(&self, by: &By) -> Result<(), Failure> {
        match by {
            By::Nobody if self.enabled => Err(Failure::UserEmpty),
            By::User { name, .. } if self.enabled && !self.users.contains_key(&**name) => {
                Err(Failure::PermissionDenied)
            }
            By::Store | By::Nobody | By::User { .. } => Ok(()),
        }
    }
}

// === impl User ===

impl User {
    fn is_root(&self) -> bool {
        self.has(ROOT)
    }

    fn has(&self, role: &str) -> bool {
        self.roles.binary_search_by(|own| own.as_str().cmp(role)).is_ok()
    }
}
