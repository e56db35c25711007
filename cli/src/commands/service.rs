//! `causeway service`.

use std::process::ExitCode;

use anyhow::Result;
use api::{Service, paths};

use crate::view::View;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    view: View,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Every load-balanced address with its backends
    List,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    args.view.show(async || list(&args.view, &args.command).await).await
}

async fn list(view: &View, command: &Command) -> Result<ExitCode> {
    let Command::List = command;
    let services: Vec<Service> = view.socket.get(paths::SERVICE).await?;
    view.output.list(&["ID", "Frontend", "Service Type", "Name", "Backend"], &services, |service| {
        let frontend = &service.frontend_address;
        let backend = |(number, backend): (usize, &api::Backend)| {
            let cluster =
                if backend.cluster_id == 0 { String::new() } else { format!(" cluster {}", backend.cluster_id) };
            let address = address(&backend.ip, backend.port, &backend.protocol);
            format!("{} => {address} ({}){cluster}", number + 1, backend.state)
        };
        let backends: Vec<String> = service.backend_addresses.iter().enumerate().map(backend).collect();
        vec![
            service.id.map(|id| id.to_string()).unwrap_or_default(),
            address(&frontend.ip, frontend.port, &frontend.protocol),
            service.service_type.clone(),
            format!("{}/{}", service.namespace, service.name),
            backends.join("\n"),
        ]
    })?;
    Ok(ExitCode::SUCCESS)
}

fn address(ip: &str, port: u16, protocol: &str) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}/{protocol}") } else { format!("{ip}:{port}/{protocol}") }
}
