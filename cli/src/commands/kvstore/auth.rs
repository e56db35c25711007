//! `causeway kvstore auth`: whether a store asks who its clients are.

use std::process::ExitCode;

use anyhow::{Context, Result};
use etcd_client::Client;

use super::role;
use crate::output::print;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Ask everybody from now on; the user root has to be there, and gets its role
    Enable,
    /// Ask nobody any more
    Disable,
    /// Whether it asks, and the revision of its users and roles
    Status,
}

pub(crate) async fn run(mut client: Client, command: &Command, config: &kvstore::EtcdConfig) -> Result<ExitCode> {
    let text = match command {
        Command::Enable => {
            if let Err(error) = client.auth_enable().await {
                // As etcdctl: root's role is made and granted on the way.
                if !error.to_string().contains("root user does not have root role") {
                    return Err(error).context("enable authentication");
                }
                // It may be there, without being granted.
                let _ = client.role_add(role::ROOT).await;
                client.user_grant_role(role::ROOT, role::ROOT).await.context("grant root its role")?;
                client.auth_enable().await.context("enable authentication")?;
            }
            "Authentication Enabled\n".to_owned()
        }
        Command::Disable => {
            client.auth_disable().await.context("disable authentication")?;
            "Authentication Disabled\n".to_owned()
        }
        Command::Status => {
            let status = kvstore::auth_status(config).await.context("ask for the status")?;
            format!("Authentication Status: {}\nAuthRevision: {}\n", status.enabled, status.revision)
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
