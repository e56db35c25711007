//! `causeway policy explain` and `policy trace`: why a connection is let through or not.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::{Result, bail};
use api::{PolicyTrace, TraceDirection, TraceParty, TraceVerdict, paths};

use crate::client::encode;
use crate::output::{Form, Tone, paint, print, visible};
use crate::view::View;

/// Exits with 0 when allowed, 1 when denied, and 3 when another cluster decides
#[derive(clap::Args)]
pub(super) struct Explain {
    /// Who opens the connection: pod NAMESPACE/NAME, address, endpoint:N, identity:N, or labels k8s:app=web,...
    source: String,
    /// Whom it is for, in the same forms; a service's address stands for its backends
    destination: String,
    /// Destination port and protocol: 80, 53/UDP, 8/ICMP
    #[arg(value_name = "PORT[/PROTO]")]
    port: String,
}

/// The same with the flags of cilium-dbg
#[derive(clap::Args)]
pub(super) struct Trace {
    /// Identity of the source
    #[arg(long, group = "source")]
    src_identity: Option<u32>,
    /// Endpoint of this node that is the source
    #[arg(long, group = "source")]
    src_endpoint: Option<u16>,
    /// Pod that is the source
    #[arg(long, group = "source", value_name = "NAMESPACE:POD")]
    src_k8s_pod: Option<String>,
    /// Label of the source; may be given several times
    #[arg(long, short, group = "source", value_name = "LABEL")]
    src: Vec<String>,
    /// Identity of the destination
    #[arg(long, group = "destination")]
    dst_identity: Option<u32>,
    /// Endpoint of this node that is the destination
    #[arg(long, group = "destination")]
    dst_endpoint: Option<u16>,
    /// Pod that is the destination
    #[arg(long, group = "destination", value_name = "NAMESPACE:POD")]
    dst_k8s_pod: Option<String>,
    /// Label of the destination; may be given several times
    #[arg(long, short, group = "destination", value_name = "LABEL")]
    dst: Vec<String>,
    /// Destination port and protocol; may be given several times; every packet without it
    #[arg(long, value_name = "PORT[/PROTO]")]
    dport: Vec<String>,
}

impl Explain {
    pub(super) async fn run(&self, view: &View) -> Result<ExitCode> {
        run(view, &self.source, &self.destination, std::slice::from_ref(&self.port)).await
    }
}

impl Trace {
    pub(super) async fn run(&self, view: &View) -> Result<ExitCode> {
        let source = party("--src", self.src_identity, self.src_endpoint, self.src_k8s_pod.as_deref(), &self.src)?;
        let destination = party("--dst", self.dst_identity, self.dst_endpoint, self.dst_k8s_pod.as_deref(), &self.dst)?;
        let every = ["0/ANY".to_owned()];
        run(view, &source, &destination, if self.dport.is_empty() { &every } else { &self.dport }).await
    }
}

/// One party's flags as the API's form.
fn party(
    flag: &str,
    identity: Option<u32>,
    endpoint: Option<u16>,
    pod: Option<&str>,
    labels: &[String],
) -> Result<String> {
    Ok(match (identity, endpoint, pod, labels) {
        (Some(number), ..) => format!("identity:{number}"),
        (_, Some(number), ..) => format!("endpoint:{number}"),
        (_, _, Some(pod), _) => format!("pod:{}", pod.replacen(':', "/", 1)),
        (.., []) => bail!("{flag}-identity, {flag}-endpoint, {flag}-k8s-pod or {flag} is required"),
        (.., labels) => format!("labels:{}", labels.join(",")),
    })
}

async fn run(view: &View, source: &str, destination: &str, ports: &[String]) -> Result<ExitCode> {
    let mut traces: Vec<PolicyTrace> = Vec::new();
    for port in ports {
        let (source, destination, port) = (encode(source), encode(destination), encode(port));
        let path = format!("{}?src={source}&dst={destination}&port={port}", paths::POLICY_EXPLAIN);
        traces.extend(view.socket.get::<Vec<PolicyTrace>>(&path).await?);
    }
    match view.output.output {
        Form::Table => print(&traces.iter().map(text).collect::<Vec<_>>().join("\n"))?,
        _ => view.output.value(&traces)?,
    }
    let any = |verdict| traces.iter().any(|trace| trace.verdict == verdict);
    Ok(match (any(TraceVerdict::Denied), any(TraceVerdict::Elsewhere)) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(3),
        (false, false) => ExitCode::SUCCESS,
    })
}

fn word(verdict: TraceVerdict) -> String {
    match verdict {
        TraceVerdict::Allowed => paint(Tone::Good, "ALLOWED"),
        TraceVerdict::Denied => paint(Tone::Bad, "DENIED"),
        TraceVerdict::Elsewhere => paint(Tone::Doubtful, "DECIDED ELSEWHERE"),
    }
}

fn text(trace: &PolicyTrace) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, value: &str| writeln!(text, "{name:<13}{value}").ok();
    line("Source:", &party_text(&trace.source));
    line("Destination:", &party_text(&trace.destination));
    line("Port:", &trace.port);
    if let Some(note) = &trace.note {
        line("Note:", &visible(note));
    }
    text + &direction("Egress", &trace.egress)
        + &direction("Ingress", &trace.ingress)
        + &format!("{:<13}{}\n", "Verdict:", word(trace.verdict))
}

fn party_text(party: &TraceParty) -> String {
    let endpoint = party.endpoint.map(|id| format!("endpoint {id}, ")).unwrap_or_default();
    let identity = if party.identity == 0 { "no identity".to_owned() } else { format!("identity {}", party.identity) };
    visible(&format!("{} ({endpoint}{identity}, {})", party.name, party.labels.join(" ")))
}

fn direction(name: &str, direction: &TraceDirection) -> String {
    let mut text = format!("{:<13}{}: {}\n", format!("{name}:"), word(direction.verdict), visible(&direction.reason));
    for (what, lines) in [
        ("decided by", &direction.decided_by),
        ("also by", &direction.also_allowed_by),
        ("enforced by", &direction.enforced_by),
        ("nearly", &direction.near),
        ("to change it", &direction.advice),
    ] {
        for line in lines {
            writeln!(text, "   {what:<14}{}", visible(line)).ok();
        }
    }
    let kernel = direction.kernel.map(|kernel| match kernel == direction.verdict {
        true => "does the same".to_owned(),
        false => format!("{}: its rows are not there yet; see `causeway status`", word(kernel)),
    });
    if let Some(kernel) = kernel {
        writeln!(text, "   {:<14}{kernel}", "the kernel").ok();
    }
    text
}
