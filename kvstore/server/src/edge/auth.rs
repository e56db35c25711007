//! Calls about users and roles: passwords become hashes here, before anything is proposed, and tokens are given out here.

use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use tonic::Status;

use super::{
    Served,
    grpc::{decode, status},
    unary::recorded,
};
use crate::{
    core::{
        Caller, Failure, Request as Ask,
        auth::{AuthRead, AuthWrite, Credential},
    },
    pb::etcdserverpb as pb,
};

/// A method of the service Auth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Enable,
    Disable,
    Status,
    Authenticate,
    UserAdd,
    UserGet,
    UserList,
    UserDelete,
    UserChangePassword,
    UserGrantRole,
    UserRevokeRole,
    RoleAdd,
    RoleGet,
    RoleList,
    RoleDelete,
    RoleGrantPermission,
    RoleRevokePermission,
}

// === impl Method ===

impl Method {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "AuthEnable" => Self::Enable,
            "AuthDisable" => Self::Disable,
            "AuthStatus" => Self::Status,
            "Authenticate" => Self::Authenticate,
            "UserAdd" => Self::UserAdd,
            "UserGet" => Self::UserGet,
            "UserList" => Self::UserList,
            "UserDelete" => Self::UserDelete,
            "UserChangePassword" => Self::UserChangePassword,
            "UserGrantRole" => Self::UserGrantRole,
            "UserRevokeRole" => Self::UserRevokeRole,
            "RoleAdd" => Self::RoleAdd,
            "RoleGet" => Self::RoleGet,
            "RoleList" => Self::RoleList,
            "RoleDelete" => Self::RoleDelete,
            "RoleGrantPermission" => Self::RoleGrantPermission,
            "RoleRevokePermission" => Self::RoleRevokePermission,
            _ => return None,
        })
    }
}

pub(super) async fn ask(served: &Served, caller: Caller, method: Method, raw: Bytes) -> Result<Bytes, Status> {
    let read = |read| Ok(Ask::AuthRead(read));
    let write = |change| Ok(Ask::Auth(change, raw.clone()));
    let ask: Result<Ask, Status> = match method {
        Method::Enable => write(AuthWrite::Enable),
        Method::Disable => write(AuthWrite::Disable),
        Method::Status => read(AuthRead::Status),
        Method::Authenticate => return authenticate(served, decode(&raw)?).await,
        Method::UserAdd => user_add(served, decode(&raw)?).await,
        Method::UserGet => read(AuthRead::UserGet(decode::<pb::AuthUserGetRequest>(&raw)?.name)),
        Method::UserList => read(AuthRead::UserList),
        Method::UserDelete => write(AuthWrite::UserDelete(decode(&raw)?)),
        Method::UserChangePassword => change_password(served, decode(&raw)?).await,
        Method::UserGrantRole => write(AuthWrite::UserGrantRole(decode(&raw)?)),
        Method::UserRevokeRole => write(AuthWrite::UserRevokeRole(decode(&raw)?)),
        Method::RoleAdd => write(AuthWrite::RoleAdd(decode(&raw)?)),
        Method::RoleGet => read(AuthRead::RoleGet(decode::<pb::AuthRoleGetRequest>(&raw)?.role)),
        Method::RoleList => read(AuthRead::RoleList),
        Method::RoleDelete => write(AuthWrite::RoleDelete(decode(&raw)?)),
        Method::RoleGrantPermission => write(AuthWrite::RoleGrantPermission(decode(&raw)?)),
        Method::RoleRevokePermission => write(AuthWrite::RoleRevokePermission(decode(&raw)?)),
    };
    recorded(served, caller, || format!("Auth/{method:?}"), ask?).await
}

/// The hash goes in the password's place.
async fn user_add(served: &Served, mut asked: pb::AuthUserAddRequest) -> Result<Ask, Status> {
    let password = std::mem::take(&mut asked.password);
    if !asked.options.as_ref().is_some_and(|options| options.no_password) {
        asked.hashed_password = served.shared.passwords.hash(password).await.map_err(status)?;
    }
    let raw = asked.encode_to_vec().into();
    Ok(Ask::Auth(AuthWrite::UserAdd(asked), raw))
}

/// Without a password the hash is the client's, as in etcd: so it is that users are copied.
async fn change_password(served: &Served, mut asked: pb::AuthUserChangePasswordRequest) -> Result<Ask, Status> {
    let password = std::mem::take(&mut asked.password);
    if !password.is_empty() {
        asked.hashed_password = served.shared.passwords.hash(password).await.map_err(status)?;
    }
    let raw = asked.encode_to_vec().into();
    Ok(Ask::Auth(AuthWrite::UserChangePassword(asked), raw))
}

/// The password is compared with what it is after everything acknowledged so far, and the token is good for that one.
async fn authenticate(served: &Served, asked: pb::AuthenticateRequest) -> Result<Bytes, Status> {
    let pb::AuthenticateRequest { name, password } = asked;
    let refused = |failure| {
        if failure != Failure::AuthNotEnabled {
            served.shared.not_authenticated(&name, failure);
        }
        status(failure)
    };
    let read = Ask::AuthRead(AuthRead::Credential(name.clone()));
    let answer = served.handle.ask(Caller::Nobody, read).await;
    if answer == Err(Failure::AuthFailed) {
        // As long as for a wrong password: whether there is such a user is not told by the time it takes.
        served.shared.passwords.hash(String::new()).await.map_err(status)?;
    }
    let answer = answer.map_err(refused)?;
    let credential = Credential::decode(answer).map_err(|error| Status::internal(error.to_string()))?;
    let hash = credential.password_hash.clone();
    let (shared, user) = (served.shared.clone(), name.clone());
    let record = move || shared.not_authenticated(&user, Failure::AuthFailed);
    if !served.shared.passwords.is(password, hash, record).await.map_err(status)? {
        return Err(status(Failure::AuthFailed));
    }
    let token = served.shared.tokens.assign(Instant::now(), &name, &credential).map_err(status)?;
    Ok(pb::AuthenticateResponse { header: credential.header, token }.encode_to_vec().into())
}
