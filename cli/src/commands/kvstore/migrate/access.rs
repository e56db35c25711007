//! Users and roles.

use anyhow::{Context, Result};
use etcd_client::{Client, Permission, UserAddOptions};

/// It may do everything, by its name.
const ROOT: &str = "root";

pub(super) struct Access {
    roles: Vec<(String, Vec<Permission>)>,
    users: Vec<(String, Vec<String>)>,
}

// === impl Access ===

impl Access {
    pub(super) async fn read(from: &mut Client) -> Result<Self> {
        let (mut roles, mut users) = (Vec::new(), Vec::new());
        for name in from.role_list().await.context("list roles")?.roles() {
            let role = from.role_get(name.as_str()).await.with_context(|| format!("ask for role {name}"))?;
            roles.push((name.clone(), role.permissions()));
        }
        for name in from.user_list().await.context("list users")?.users() {
            let user = from.user_get(name.as_str()).await.with_context(|| format!("ask for user {name}"))?;
            users.push((name.clone(), user.roles().to_vec()));
        }
        Ok(Self { roles, users })
    }

    pub(super) async fn write(&self, to: &mut Client) -> Result<()> {
        let there = to.role_list().await.context("list roles of --to")?.roles().to_vec();
        for (name, permissions) in self.roles.iter().filter(|(name, _)| !there.contains(name)) {
            to.role_add(name.as_str()).await.with_context(|| format!("add role {name}"))?;
            for permission in permissions.iter().filter(|_| name != ROOT) {
                let granted = to.role_grant_permission(name.as_str(), permission.clone()).await;
                granted.with_context(|| format!("grant a permission to role {name}"))?;
            }
        }
        let there = to.user_list().await.context("list users of --to")?.users().to_vec();
        for (name, roles) in self.users.iter().filter(|(name, _)| !there.contains(name)) {
            let options = UserAddOptions::new().with_no_pwd();
            to.user_add(name.as_str(), "", Some(options)).await.with_context(|| format!("add user {name}"))?;
            for role in roles {
                let granted = to.user_grant_role(name.as_str(), role.as_str()).await;
                granted.with_context(|| format!("grant role {role} to user {name}"))?;
            }
        }
        Ok(())
    }

    pub(super) fn counts(&self) -> String {
        format!("{} roles, {} users", self.roles.len(), self.users.len())
    }

    /// Nobody can read a password, and who asks for them would lock everybody out.
    pub(super) fn not_carried(&self) -> String {
        if self.users.is_empty() {
            return String::new();
        }
        let names: Vec<&str> = self.users.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "not carried: passwords of {} (certificates serve as before; or add them with a password), and whether auth is \
             enabled (`causeway kvstore auth enable`)\n",
            names.join(", ")
        )
    }
}
