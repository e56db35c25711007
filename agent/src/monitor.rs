//! `monitor.sock`: packet events with the labels of their identities, one JSON object a line.

use std::sync::Arc;

use datapath::events::Events;
use model::{DatapathEvent, EventKind, NumericIdentity};
use statedb::{Reader, Snapshot};
use tables::Identity;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

/// Listeners at one time: each costs a queue.
const LISTENERS: usize = 32;

/// Serves until the future is dropped.
pub(crate) async fn serve(listener: UnixListener, events: Events, identities: Reader<Identity>) {
    let mut listeners = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if listeners.len() < LISTENERS => {
                    listeners.spawn(send(stream, events.clone(), identities.clone()));
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

async fn send(mut stream: UnixStream, events: Events, identities: Reader<Identity>) {
    let mut events = events.subscribe();
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Ok(mut line) = serde_json::to_vec(&describe(&event, &identities.snapshot())) else { continue };
        line.push(b'\n');
        if stream.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// An event as people and tools read it.
pub(crate) fn describe(event: &Arc<DatapathEvent>, identities: &Snapshot<Identity>) -> api::Event {
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
    let (kind, summary, reason, direction) = match &event.kind {
        EventKind::Drop { reason, direction, .. } => {
            ("drop", reason.to_string(), reason.0, direction.map(|direction| direction.to_string()))
        }
        EventKind::Trace { point, .. } => ("trace", point.as_str().to_owned(), 0, None),
        EventKind::PolicyVerdict { verdict, direction, .. } => {
            ("policy-verdict", verdict.as_str().to_owned(), 0, Some(direction.to_string()))
        }
    };
    api::Event {
        kind: kind.to_owned(),
        summary,
        reason,
        direction,
        endpoint: event.endpoint.0,
        source: labelled(event.src_identity),
        destination: labelled(event.dst_identity),
        tuple,
        bytes: event.packet_len,
    }
}
