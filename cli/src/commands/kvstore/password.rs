//! Passwords of a store's users: asked for without showing them, or read from the standard input.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result, bail};
use nix::sys::termios::{self, LocalFlags, SetArg};

/// Whose requests these are.
#[derive(clap::Args)]
pub(crate) struct Login {
    /// The user that asks: NAME or NAME:PASSWORD
    #[arg(
        long = "user",
        id = "login",
        global = true,
        value_name = "NAME[:PASSWORD]",
        env = "CAUSEWAY_KVSTORE_USER",
        hide_env_values = true
    )]
    user: Option<String>,
    /// Its password
    #[arg(
        long = "password",
        id = "login_password",
        global = true,
        env = "CAUSEWAY_KVSTORE_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,
}

/// Where a new password comes from.
#[derive(clap::Args)]
pub(crate) struct Input {
    /// Ask for the password on the terminal; with false it is a line of the standard input
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    interactive: bool,
}

// === impl Login ===

impl Login {
    /// Name and password; `None` when nobody is named.
    pub(crate) fn user(&self) -> Result<Option<(String, String)>> {
        let Some(user) = &self.user else {
            if self.password.is_some() {
                bail!("--password without --user: whose password is it?");
            }
            return Ok(None);
        };
        Ok(Some(match (user.split_once(':'), &self.password) {
            (_, Some(password)) => (user.clone(), password.clone()),
            (Some((name, password)), None) => (name.to_owned(), password.to_owned()),
            (None, None) => (user.clone(), ask(&format!("Password of {user}: "))?),
        }))
    }
}

// === impl Input ===

impl Input {
    /// A new password, asked for twice where it cannot be seen.
    pub(crate) fn new_password(&self, name: &str) -> Result<String> {
        if !self.interactive {
            return line();
        }
        let password = ask(&format!("Password of {name}: "))?;
        if ask("Type it again to confirm: ")? != password {
            bail!("the two passwords are not the same");
        }
        Ok(password)
    }
}

/// One line of the standard input.
fn line() -> Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("read a password from the standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks on the terminal, which does not show what is typed.
fn ask(prompt: &str) -> Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "a password is needed, and the standard input is no terminal: give it with --interactive=false or as an option"
        );
    }
    let mut out = io::stderr();
    write!(out, "{prompt}").and_then(|()| out.flush()).context("ask for a password")?;
    let shown = termios::tcgetattr(&stdin).context("ask for a password")?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    termios::tcsetattr(&stdin, SetArg::TCSANOW, &hidden).context("hide a password")?;
    let typed = line();
    termios::tcsetattr(&stdin, SetArg::TCSANOW, &shown).context("show what is typed again")?;
    writeln!(out).context("ask for a password")?;
    typed
}
