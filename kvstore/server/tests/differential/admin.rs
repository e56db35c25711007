//! Requests about users and roles.

use kvstore_server::pb::{
    authpb::{Permission, UserAddOptions},
    etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGetRequest,
        AuthRoleGrantPermissionRequest, AuthRoleListRequest, AuthRoleRevokePermissionRequest, AuthStatusRequest,
        AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGetRequest,
        AuthUserGrantRoleRequest, AuthUserListRequest, AuthUserRevokeRoleRequest, AuthenticateRequest,
        AuthenticateResponse,
    },
};
use tonic::Status;

use crate::{answer::Answer, op::Op, peer::Peer, request};

/// Whom the requests from here on come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guise {
    /// Without a token.
    Nobody,
    /// With one that nobody gave.
    Forged,
    /// With the last token that this one of [`USERS`] got.
    U(u8),
}

pub(crate) const USERS: [&str; 5] = ["root", "alice", "bob", "carol", ""];
pub(crate) const ROLES: [&str; 5] = ["root", "reader", "writer", "both", ""];
pub(crate) const PASSWORDS: [&str; 3] = ["right", "wrong", ""];

pub(crate) fn is(op: &Op) -> bool {
    name(op).is_some()
}

/// The method, if it is one about users and roles.
pub(crate) fn name(op: &Op) -> Option<&'static str> {
    Some(match op {
        Op::AuthEnable => "AuthEnable",
        Op::AuthDisable => "AuthDisable",
        Op::AuthStatus => "AuthStatus",
        Op::Login { .. } => "Authenticate",
        Op::UserAdd { .. } => "UserAdd",
        Op::UserGet { .. } => "UserGet",
        Op::UserList => "UserList",
        Op::UserDelete { .. } => "UserDelete",
        Op::UserPassword { .. } => "UserChangePassword",
        Op::UserGrant { .. } => "UserGrantRole",
        Op::UserRevoke { .. } => "UserRevokeRole",
        Op::RoleAdd { .. } => "RoleAdd",
        Op::RoleGet { .. } => "RoleGet",
        Op::RoleList => "RoleList",
        Op::RoleDelete { .. } => "RoleDelete",
        Op::RoleGrant { .. } | Op::RoleGrantNothing { .. } => "RoleGrantPermission",
        Op::RoleRevoke { .. } => "RoleRevokePermission",
        _ => return None,
    })
}

fn of(names: [&str; 5], number: u8) -> String {
    names[usize::from(number) % names.len()].to_owned()
}

// === impl Peer ===

impl Peer {
    pub(crate) async fn admin(&mut self, op: &Op) -> Result<Answer, Status> {
        let (user, role) = (|number: &u8| of(USERS, *number), |number: &u8| of(ROLES, *number));
        let password = |number: &u8| PASSWORDS[usize::from(*number) % PASSWORDS.len()].to_owned();
        Ok(match op {
            Op::AuthEnable => Answer::Done(self.unary("Auth/AuthEnable", AuthEnableRequest {}).await?),
            Op::AuthDisable => Answer::Done(self.unary("Auth/AuthDisable", AuthDisableRequest {}).await?),
            Op::AuthStatus => Answer::AuthStatus(self.unary("Auth/AuthStatus", AuthStatusRequest {}).await?),
            Op::Login { user: number, password: secret } => {
                let request = AuthenticateRequest { name: user(number), password: password(secret) };
                let answer: AuthenticateResponse = self.unary("Auth/Authenticate", request).await?;
                self.tokens.insert(*number, answer.token.clone());
                Answer::Token(answer)
            }
            Op::UserAdd { user: number, password: secret, no_password } => {
                let options = no_password.then_some(UserAddOptions { no_password: true });
                let (name, password) = (user(number), password(secret));
                let request = AuthUserAddRequest { name, password, options, hashed_password: String::new() };
                Answer::Done(self.unary("Auth/UserAdd", request).await?)
            }
            Op::UserGet { user: number } => {
                Answer::Names(self.unary("Auth/UserGet", AuthUserGetRequest { name: user(number) }).await?)
            }
            Op::UserList => Answer::Names(self.unary("Auth/UserList", AuthUserListRequest {}).await?),
            Op::UserDelete { user: number } => {
                Answer::Done(self.unary("Auth/UserDelete", AuthUserDeleteRequest { name: user(number) }).await?)
            }
            Op::UserPassword { user: number, password: secret } => {
                let (name, password) = (user(number), password(secret));
                let request = AuthUserChangePasswordRequest { name, password, hashed_password: String::new() };
                Answer::Done(self.unary("Auth/UserChangePassword", request).await?)
            }
            Op::UserGrant { user: number, role: which } => {
                let request = AuthUserGrantRoleRequest { user: user(number), role: role(which) };
                Answer::Done(self.unary("Auth/UserGrantRole", request).await?)
            }
            Op::UserRevoke { user: number, role: which } => {
                let request = AuthUserRevokeRoleRequest { name: user(number), role: role(which) };
                Answer::Done(self.unary("Auth/UserRevokeRole", request).await?)
            }
            Op::RoleAdd { role: which } => {
                Answer::Done(self.unary("Auth/RoleAdd", AuthRoleAddRequest { name: role(which) }).await?)
            }
            Op::RoleGet { role: which } => {
                Answer::Role(self.unary("Auth/RoleGet", AuthRoleGetRequest { role: role(which) }).await?)
            }
            Op::RoleList => Answer::Names(self.unary("Auth/RoleList", AuthRoleListRequest {}).await?),
            Op::RoleDelete { role: which } => {
                Answer::Done(self.unary("Auth/RoleDelete", AuthRoleDeleteRequest { role: role(which) }).await?)
            }
            Op::RoleGrant { role: which, kind, key, end } => {
                let (key, range_end) = request::span(*key, *end);
                let perm = Some(Permission { perm_type: *kind, key, range_end });
                let request = AuthRoleGrantPermissionRequest { name: role(which), perm };
                Answer::Done(self.unary("Auth/RoleGrantPermission", request).await?)
            }
            Op::RoleGrantNothing { role: which } => {
                let request = AuthRoleGrantPermissionRequest { name: role(which), perm: None };
                Answer::Done(self.unary("Auth/RoleGrantPermission", request).await?)
            }
            Op::RoleRevoke { role: which, key, end } => {
                let (key, range_end) = request::span(*key, *end);
                let request = AuthRoleRevokePermissionRequest { role: role(which), key, range_end };
                Answer::Done(self.unary("Auth/RoleRevokePermission", request).await?)
            }
            other => panic!("{other:?} is not about users"),
        })
    }
}
