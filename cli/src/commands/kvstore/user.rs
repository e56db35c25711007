//! `causeway kvstore user`: who may ask a store, with etcdctl's words.

use std::process::ExitCode;

use anyhow::{Context, Result};
use etcd_client::{Client, UserAddOptions};

use super::{password, role};
use crate::output::print;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Add a user
    Add {
        /// Its name, or NAME:PASSWORD
        #[arg(value_name = "NAME")]
        name_and_password: String,
        #[command(flatten)]
        input: password::Input,
        /// Its password
        #[arg(long, value_name = "PASSWORD", conflicts_with = "no_password")]
        new_user_password: Option<String>,
        /// Without a password: only a certificate of this name is this user
        #[arg(long)]
        no_password: bool,
    },
    /// Delete a user
    Delete {
        /// Its name
        name: String,
    },
    /// Print a user's roles
    Get {
        /// Its name
        name: String,
        /// Print what each role may, too
        #[arg(long)]
        detail: bool,
    },
    /// Print every user
    List,
    /// Change a user's password
    Passwd {
        /// Its name
        name: String,
        #[command(flatten)]
        input: password::Input,
    },
    /// Give a user a role
    GrantRole {
        /// The user
        name: String,
        /// The role
        role: String,
    },
    /// Take a role from a user
    RevokeRole {
        /// The user
        name: String,
        /// The role
        role: String,
    },
}

pub(crate) async fn run(mut client: Client, command: Command) -> Result<ExitCode> {
    let text = match command {
        Command::Add { name_and_password, input, new_user_password, no_password } => {
            let (name, given) = match name_and_password.split_once(':') {
                Some((name, password)) => (name.to_owned(), Some(password.to_owned())),
                None => (name_and_password, new_user_password),
            };
            let (password, options) = match given {
                _ if no_password => (String::new(), Some(UserAddOptions::new().with_no_pwd())),
                Some(password) => (password, None),
                None => (input.new_password(&name)?, None),
            };
            client.user_add(&*name, password, options).await.with_context(|| format!("add user {name}"))?;
            format!("User {name} created\n")
        }
        Command::Delete { name } => {
            client.user_delete(&*name).await.with_context(|| format!("delete user {name}"))?;
            format!("User {name} deleted\n")
        }
        Command::Get { name, detail } => {
            let user = client.user_get(&*name).await.with_context(|| format!("ask for user {name}"))?;
            if detail { detailed(&mut client, &name, user.roles()).await? } else { roles(&name, user.roles()) }
        }
        Command::List => {
            let users = client.user_list().await.context("list users")?;
            users.users().iter().map(|user| format!("{user}\n")).collect()
        }
        Command::Passwd { name, input } => {
            let password = input.new_password(&name)?;
            client
                .user_change_password(&*name, password)
                .await
                .with_context(|| format!("change the password of {name}"))?;
            "Password updated\n".to_owned()
        }
        Command::GrantRole { name, role } => {
            client.user_grant_role(&*name, &*role).await.with_context(|| format!("give {name} the role {role}"))?;
            format!("Role {role} is granted to user {name}\n")
        }
        Command::RevokeRole { name, role } => {
            let revoked = client.user_revoke_role(&*name, &*role).await;
            revoked.with_context(|| format!("take the role {role} from {name}"))?;
            format!("Role {role} is revoked from user {name}\n")
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn roles(name: &str, roles: &[String]) -> String {
    let roles: String = roles.iter().map(|role| format!(" {role}")).collect();
    format!("User: {name}\nRoles:{roles}\n")
}

async fn detailed(client: &mut Client, name: &str, roles: &[String]) -> Result<String> {
    let mut text = format!("User: {name}\n");
    for role in roles {
        let granted = client.role_get(&**role).await;
        // root's role means the same whether it was made or not.
        let permissions = match granted {
            Ok(granted) => granted.permissions(),
            Err(_) if role == role::ROOT => Vec::new(),
            Err(error) => return Err(error).with_context(|| format!("ask for role {role}")),
        };
        text.push('\n');
        text.push_str(&role::shown(role, &permissions));
    }
    Ok(text)
}
