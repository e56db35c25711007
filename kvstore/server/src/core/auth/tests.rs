//! Users and roles without a store around them.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message;

use super::{Access, Auth, AuthRead, AuthWrite, By, Caller, Credential, Proof};
use crate::{
    core::{encode::Header, failure::Failure, span::Span},
    pb::{
        authpb::{Permission, UserAddOptions, permission::Type},
        etcdserverpb as pb,
    },
};

const HEADER: Header = Header { cluster: 1, member: 2, revision: 3, term: 4 };

fn add(name: &str) -> AuthWrite {
    AuthWrite::UserAdd(pb::AuthUserAddRequest {
        name: name.to_owned(),
        hashed_password: BASE64_STANDARD.encode("hash"),
        ..Default::default()
    })
}

fn add_role(name: &str) -> AuthWrite {
    AuthWrite::RoleAdd(pb::AuthRoleAddRequest { name: name.to_owned() })
}

fn grant(user: &str, role: &str) -> AuthWrite {
    AuthWrite::UserGrantRole(pb::AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() })
}

fn permit(role: &str, kind: Type, key: &str, end: &str) -> AuthWrite {
    let (key, range_end) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(end.as_bytes()));
    let perm = Some(Permission { perm_type: kind as i32, key, range_end });
    AuthWrite::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest { name: role.to_owned(), perm })
}

/// root, and alice who may read `a` to `c`; enabled.
fn enabled() -> Auth {
    let mut auth = Auth::default();
    for write in [
        add("root"),
        grant("root", "root"),
        add("alice"),
        add_role("reader"),
        permit("reader", Type::Read, "a", "c"),
        grant("alice", "reader"),
        AuthWrite::Enable,
    ] {
        auth.change(&write).unwrap();
    }
    auth
}

fn span(key: &str, end: &str) -> Span {
    Span::new(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(end.as_bytes()))
}

fn alice(proof: Proof) -> Caller {
    Caller::User { name: "alice".into(), proof }
}

fn token(auth: &Auth) -> Proof {
    let answer = auth.read(&By::Nobody, &AuthRead::Credential("alice".to_owned()), HEADER, 9).unwrap();
    Proof::Token { credential: Credential::decode(answer).unwrap().credential }
}

#[test]
fn a_token_is_good_for_one_password_and_one_time_of_being_switched_on() {
    let mut auth = enabled();
    let first = alice(token(&auth));
    assert!(auth.identify(&first).is_ok());
    auth.change(&permit("reader", Type::Read, "x", "")).unwrap();
    assert!(auth.identify(&first).is_ok(), "permissions are not the password");
    let change = pb::AuthUserChangePasswordRequest {
        name: "alice".to_owned(),
        hashed_password: BASE64_STANDARD.encode("other"),
        ..Default::default()
    };
    auth.change(&AuthWrite::UserChangePassword(change)).unwrap();
    assert_eq!(auth.identify(&first), Err(Failure::InvalidAuthToken));
    let second = alice(token(&auth));
    assert!(auth.identify(&second).is_ok());
    auth.change(&AuthWrite::Disable).unwrap();
    assert_eq!(auth.identify(&second), Ok(By::Nobody), "nobody is asked");
    auth.change(&AuthWrite::Enable).unwrap();
    assert_eq!(auth.identify(&second), Err(Failure::InvalidAuthToken));
    let third = alice(token(&auth));
    auth.change(&AuthWrite::UserDelete(pb::AuthUserDeleteRequest { name: "alice".to_owned() })).unwrap();
    assert_eq!(auth.identify(&third), Err(Failure::InvalidAuthToken));
    auth.change(&add("alice")).unwrap();
    assert_eq!(auth.identify(&third), Err(Failure::InvalidAuthToken), "another of that name");
}

/// In etcd a signed token for an old password goes on being root's where no keys are concerned.
#[test]
fn a_signed_token_ends_with_the_password() {
    let mut auth = enabled();
    let signed = alice(Proof::Signed { revision: auth.revision() });
    assert!(auth.identify(&signed).is_ok());
    auth.change(&AuthWrite::UserDelete(pb::AuthUserDeleteRequest { name: "alice".to_owned() })).unwrap();
    auth.change(&add("alice")).unwrap();
    auth.change(&grant("alice", "root")).unwrap();
    assert_eq!(auth.identify(&signed), Err(Failure::AuthOldRevision));
}

#[test]
fn a_permission_is_of_its_revision() {
    let mut auth = enabled();
    let by = auth.identify(&alice(Proof::Certificate)).unwrap();
    assert_eq!(auth.permit_keys(&by, Access::Read, &span("a", "b")), Ok(()));
    assert_eq!(auth.permit_keys(&by, Access::Read, &span("b", "d")), Err(Failure::PermissionDenied));
    assert_eq!(auth.permit_keys(&by, Access::Write, &span("a", "")), Err(Failure::PermissionDenied));
    auth.change(&permit("reader", Type::Readwrite, "z", "")).unwrap();
    assert_eq!(auth.permit_keys(&by, Access::Read, &span("a", "b")), Err(Failure::AuthOldRevision));
    let stranger = By::User { name: Arc::from("mallory"), revision: auth.revision() };
    assert_eq!(auth.permit_keys(&stranger, Access::Read, &span("a", "")), Err(Failure::PermissionDenied));
    assert_eq!(auth.permit_keys(&By::Nobody, Access::Read, &span("a", "")), Err(Failure::UserEmpty));
    assert_eq!(auth.permit_keys(&By::Store, Access::Write, &span("\0", "\0")), Ok(()));
}

/// etcd compares only with the first permission that has the key: here the narrower one would stay beside the wide.
#[test]
fn a_permission_is_replaced_wherever_it_is() {
    let mut auth = enabled();
    auth.change(&permit("reader", Type::Readwrite, "m", "n")).unwrap();
    auth.change(&permit("reader", Type::Readwrite, "m", "p")).unwrap();
    auth.change(&permit("reader", Type::Read, "m", "p")).unwrap();
    auth.change(&permit("reader", Type::Read, "m", "n")).unwrap();
    let by = auth.identify(&alice(Proof::Certificate)).unwrap();
    assert_eq!(auth.permit_keys(&by, Access::Read, &span("m", "p")), Ok(()));
    assert_eq!(auth.permit_keys(&by, Access::Write, &span("m", "")), Err(Failure::PermissionDenied));
}

#[test]
fn root_is_kept_while_permissions_are_asked_for() {
    let mut auth = enabled();
    let root = || "root".to_owned();
    for write in [
        AuthWrite::UserDelete(pb::AuthUserDeleteRequest { name: root() }),
        AuthWrite::UserRevokeRole(pb::AuthUserRevokeRoleRequest { name: root(), role: root() }),
        AuthWrite::RoleDelete(pb::AuthRoleDeleteRequest { role: root() }),
    ] {
        let before = auth.clone();
        assert_eq!(auth.change(&write), Err(Failure::InvalidAuthManagement), "{write:?}");
        assert_eq!(auth, before);
    }
    auth.change(&AuthWrite::Disable).unwrap();
    auth.change(&AuthWrite::UserDelete(pb::AuthUserDeleteRequest { name: root() })).unwrap();
    assert_eq!(auth.change(&AuthWrite::Enable), Err(Failure::RootUserNotExist));
    auth.change(&add("root")).unwrap();
    assert_eq!(auth.change(&AuthWrite::Enable), Err(Failure::RootRoleNotExist));
}

#[test]
fn a_user_without_a_password_has_none_to_be_guessed() {
    let mut auth = enabled();
    let options = Some(UserAddOptions { no_password: true });
    let asked = pb::AuthUserAddRequest { name: "remote".to_owned(), options, ..Default::default() };
    auth.change(&AuthWrite::UserAdd(asked)).unwrap();
    let credential = |name: &str| auth.read(&By::Nobody, &AuthRead::Credential(name.to_owned()), HEADER, 9);
    assert_eq!(credential("remote"), Err(Failure::NoPasswordUser));
    assert_eq!(credential("nobody"), Err(Failure::AuthFailed));
}

#[test]
fn rows_make_the_same_again() {
    assert_eq!(Auth::default().rows(), None);
    let mut auth = enabled();
    auth.change(&AuthWrite::Disable).unwrap();
    auth.change(&AuthWrite::Enable).unwrap();
    let again = Auth::from(auth.rows().unwrap());
    assert_eq!(again, auth);
    assert_eq!(again.hash(5), auth.hash(5));
    assert_ne!(auth.hash(5), Auth::default().hash(5));
}

#[test]
fn what_an_audit_names_has_no_password_in_it() {
    let asked = pb::AuthUserAddRequest {
        name: "al\nice".to_owned(),
        password: "geheim".to_owned(),
        hashed_password: "aGFzaA==".to_owned(),
        options: None,
    };
    assert_eq!(AuthWrite::UserAdd(asked).target(), r#"user "al\nice""#);
    assert_eq!(permit("reader", Type::Read, "\u{7}", "\0").target(), r#"role "reader", READ [\x07, \x00)"#);
}
