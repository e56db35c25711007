//! `monitor.sock`: packet events with the labels of their identities, and the agent's own, one JSON object a line.

use std::net::IpAddr;
use std::sync::Arc;

use datapath::events::Events;
use model::{DatapathEvent, Direction, EventKind, NumericIdentity, TracePoint};
use statedb::{Reader, Snapshot};
use tables::{Endpoint, Identity};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use crate::history::{History, now};

/// Listeners at one time: each costs a queue.
const LISTENERS: usize = 32;

/// Where events come from, and who knows what they are about.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) packets: Events,
    pub(crate) history: History,
    pub(crate) identities: Reader<Identity>,
    pub(crate) endpoints: Reader<Endpoint>,
}

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: UnixListener, sources: Sources) {
    let mut listeners = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if listeners.len() < LISTENERS => {
                    listeners.spawn(send(stream, sources.clone()));
                }
                Ok(_) => tracing::warn!(LISTENERS, "too many monitors: one more is turned away"),
                Err(error) => {
                    tracing::warn!(%error, "accept a monitor");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            },
            Some(ended) = listeners.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a monitor's task died");
            },
        }
    }
}

async fn send(mut stream: UnixStream, sources: Sources) {
    let (mut packets, mut own) = (sources.packets.subscribe(), sources.history.subscribe());
    loop {
        let event = tokio::select! {
            packet = packets.recv() => match packet {
                Ok(packet) => describe(&packet, &sources.identities.snapshot(), &sources.endpoints.snapshot()),
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            own = own.recv() => match own {
                Ok(own) => own,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        };
        let Ok(mut line) = serde_json::to_vec(&event) else { continue };
        line.push(b'\n');
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// An event as people and tools read it.
fn describe(event: &Arc<DatapathEvent>, identities: &Snapshot<Identity>, endpoints: &Snapshot<Endpoint>) -> api::Event {
    let labelled = |identity: NumericIdentity| api::LabelledIdentity {
        identity: identity.get(),
        labels: identities
            .get(&identity)
            .map(|row| row.labels.iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
    };
    let tuple = event.tuple.as_ref().map(|tuple| api::EventTuple {
        source: tuple.src.to_string(),
        source_port: tuple.src_port,
        destination: tuple.dst.to_string(),
        destination_port: tuple.dst_port,
        protocol: tuple.protocol().map_or_else(|| tuple.proto.to_string(), |proto| proto.to_string()),
    });
    let mut detail = Vec::new();
    let (kind, summary, reason, direction) = match &event.kind {
        EventKind::Drop { reason, direction, file, line } => {
            detail.push(format!("{}:{line}", datapath::events::source_file(*file)));
            ("drop", reason.to_string(), reason.0, *direction)
        }
        EventKind::Trace { point, reason } => {
            detail.push(format!("state {}", reason.as_str()));
            ("trace", point.as_str().to_owned(), 0, None)
        }
        EventKind::PolicyVerdict { verdict, direction, match_type, audited } => {
            detail.push(format!("match {}", match_type.as_str()));
            if *audited {
                detail.push("audited".to_owned());
            }
            ("policy-verdict", verdict.as_str().to_owned(), 0, Some(*direction))
        }
    };
    detail.push(format!("ifindex {}", event.ifindex));
    let (source_endpoint, destination_endpoint) = ends(event, direction, endpoints);
    api::Event {
        time: now(),
        kind: kind.to_owned(),
        summary,
        reason,
        direction: direction.map(|direction| direction.to_string()),
        endpoint: event.endpoint.0,
        source_endpoint,
        destination_endpoint,
        source: labelled(event.src_identity),
        destination: labelled(event.dst_identity),
        tuple,
        bytes: event.packet_len,
        detail,
    }
}

/// The local endpoints at both ends of a packet: by its addresses, else by what the program said of itself.
fn ends(event: &DatapathEvent, direction: Option<Direction>, endpoints: &Snapshot<Endpoint>) -> (u16, u16) {
    let at = |ip: IpAddr| endpoints.by("ip", ip.to_string().as_str()).next().map_or(0, |row| row.id.0);
    let (mut source, mut destination) = event.tuple.as_ref().map_or((0, 0), |tuple| (at(tuple.src), at(tuple.dst)));
    let leaves = matches!(event.kind, EventKind::Trace { point: TracePoint::FromEndpoint, .. });
    if source == 0 && (direction == Some(Direction::Egress) || leaves) {
        source = event.endpoint.0;
    }
    if destination == 0 {
        destination = match (event.dst_endpoint.0, direction) {
            (0, Some(Direction::Ingress)) => event.endpoint.0,
            (known, _) => known,
        };
    }
    (source, destination)
}
