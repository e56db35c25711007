//! `causeway-cni`: connects a sandbox to the pod network (CNI 0.4.0 to 1.1.0).
//!
//! ```text
//!   runtime ──env, stdin──> call ──> ADD: addresses from the agent, veth, routes, endpoint ──> result on stdout
//!                                    DEL: endpoint, link; with no agent: a note in its delete queue
//!                                    CHECK, STATUS, VERSION
//! ```
//! It runs in the node's network namespace, plumbs the pod's side itself, and keeps nothing: what it made it can find
//! again by name. An ADD that fails takes back everything it did.

use std::io::{Read, Write};
use std::process::ExitCode;

mod add;
mod agent;
mod call;
mod check;
mod del;
mod error;
mod interface;
mod result;
mod sandbox;

use call::{Call, Command};
use error::Error;

/// No network configuration comes near it; what is cut off here is no JSON.
const MAX_CONFIGURATION: u64 = 1 << 20;

fn main() -> ExitCode {
    let mut stdin = Vec::new();
    let answer = std::io::stdin()
        .take(MAX_CONFIGURATION)
        .read_to_end(&mut stdin)
        .map_err(|source| Error::Io { what: "read the network configuration from standard input", source })
        .and_then(|_| Call::parse(|name| std::env::var(name).ok(), &stdin))
        .map_err(|error| (result::NEWEST.to_owned(), error))
        .and_then(|call| {
            let version = call.conf.cni_version.clone();
            sandbox::check(&call).and_then(|()| run(&call)).map_err(|error| (version, error))
        });
    let (text, code) = match answer {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err((version, error)) => (error.to_json(&version), ExitCode::FAILURE),
    };
    // Nothing is left to tell a runtime that has closed its end.
    std::io::stdout().write_all(text.as_bytes()).ok();
    code
}

fn run(call: &Call) -> Result<String, Error> {
    match call.command {
        Command::Version => Ok(result::versions()),
        Command::Add => add::run(call),
        Command::Del => del::run(call).map(|()| String::new()),
        Command::Check => check::run(call).map(|()| String::new()),
        Command::Status => agent::Agent::new(&call.conf.socket_path).status().map(|()| String::new()),
    }
}
