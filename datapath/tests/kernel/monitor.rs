//! Events and metrics: what is reported, when, and that silence costs nothing.

use crate::{
    fixture::{CLIENT, Node, REMOTE, SERVER, at, on_node, remote_ip, tcp_port},
    packet::{ACK, SYN, tcp},
};
use datapath::{
    PacketMetrics, dump,
    events::{EventReader, Events, MonitorLevel},
};
use model::{DatapathEvent, Direction, DropReason, EventKind, MatchType, TracePoint, TraceReason, Verdict};
use std::{sync::Arc, time::Duration};

/// Listens while `send` works and returns what was heard.
fn hear(node: &mut Node, level: MonitorLevel, send: impl FnOnce(&mut Node)) -> Vec<DatapathEvent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let events = Events::default();
    events.set_level(level);
    let reader = EventReader::open(&node.datapath.config().bpf_root, events.clone()).unwrap();
    let heard = runtime.block_on(async {
        let mut receiver = events.subscribe();
        let mut heard = Vec::new();
        let listen = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            send(node);
            while let Ok(Ok(event)) = tokio::time::timeout(Duration::from_millis(100), receiver.recv()).await {
                heard.push(Arc::unwrap_or_clone(event));
            }
        };
        tokio::select! {
            () = reader.run() => {}
            () = listen => {}
        }
        heard
    });
    assert_eq!(events.seen(), heard.len() as u64);
    heard
}

fn kinds(events: &[DatapathEvent]) -> Vec<String> {
    events
        .iter()
        .map(|event| match event.kind {
            EventKind::Drop { reason, .. } => format!("drop {reason}"),
            EventKind::Trace { point, reason } => format!("{} {}", point.as_str(), reason.as_str()),
            EventKind::PolicyVerdict { verdict, match_type, .. } => {
                format!("{} {}", verdict.as_str(), match_type.as_str())
            }
        })
        .collect()
}

#[test]
fn a_denial_is_reported_with_both_identities_and_its_line() {
    on_node("drop event", |node| {
        let (client, server) = (at(node.client_ip(1), 40_000), at(node.server_ip(1), 8000));
        let packet = tcp(client, server, SYN);
        let heard = hear(node, MonitorLevel::Maximum, |node| {
            node.client_sends(&packet);
        });
        let [allowed, denied, drop] = &heard[..] else { panic!("{:?}", kinds(&heard)) };
        assert_eq!(
            allowed.kind,
            EventKind::PolicyVerdict {
                direction: Direction::Egress,
                verdict: Verdict::Allow,
                match_type: MatchType::All,
                audited: false
            }
        );
        assert_eq!(
            denied.kind,
            EventKind::PolicyVerdict {
                direction: Direction::Ingress,
                verdict: Verdict::Deny(DropReason::POLICY_DENIED),
                match_type: MatchType::None,
                audited: false
            }
        );
        let EventKind::Drop { reason, direction, file, line } = drop.kind else { panic!("{drop:?}") };
        assert_eq!((reason, direction), (DropReason::POLICY_DENIED, Some(Direction::Ingress)));
        assert_eq!((ebpf_abi::SourceFile::name(file), line > 0), ("policy.rs", true));
        assert_eq!((drop.src_identity.get(), drop.dst_identity.get()), (CLIENT, SERVER));
        assert_eq!((drop.endpoint.0, drop.dst_endpoint.0), (101, 102));
        assert_eq!(drop.packet_len as usize, packet.len() + 14);
        let tuple = drop.tuple.unwrap();
        assert_eq!((tuple.src, tuple.dst, tuple.src_port, tuple.dst_port), (client.ip(), server.ip(), 40_000, 8000));
    });
}

#[test]
fn aggregation_leaves_out_what_it_says() {
    on_node("aggregation", |node| {
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        let (client, server) = (at(node.client_ip(0), 40_000), at(node.server_ip(0), 8000));
        let open = |node: &mut Node| {
            node.client_sends(&tcp(client, server, SYN));
            node.client_sends(&tcp(client, server, ACK));
            node.client_sends(&tcp(client, server, ACK));
        };
        let heard = kinds(&hear(node, MonitorLevel::None, open));
        assert_eq!(
            heard,
            [
                "from-endpoint unknown",
                "allow all",
                "allow L3-L4",
                "to-endpoint new",
                "from-endpoint unknown",
                "to-endpoint established",
                "from-endpoint unknown",
                "to-endpoint established"
            ]
        );
        datapath::conntrack::flush(&mut node.kernel).unwrap();
        let heard = kinds(&hear(node, MonitorLevel::Low, open));
        assert_eq!(
            heard,
            ["allow all", "allow L3-L4", "to-endpoint new", "to-endpoint established", "to-endpoint established"]
        );
        datapath::conntrack::flush(&mut node.kernel).unwrap();
        let heard = kinds(&hear(node, MonitorLevel::Medium, open));
        assert_eq!(
            heard,
            ["allow all", "allow L3-L4", "to-endpoint new", "to-endpoint established"],
            "the second ACK says nothing new"
        );
        let out = tcp(client, at(remote_ip(0), 80), SYN);
        let heard = hear(node, MonitorLevel::Maximum, |node| {
            node.client_sends(&out);
        });
        let EventKind::Trace { point, reason } = heard.last().unwrap().kind else { panic!("{heard:?}") };
        assert_eq!((point, reason), (TracePoint::ToOverlay, TraceReason::New));
        assert_eq!(heard.last().unwrap().dst_identity.get(), REMOTE);
    });
}

#[test]
fn nothing_is_written_while_nobody_listens() {
    on_node("silence", |node| {
        let (client, server) = (at(node.client_ip(0), 40_000), at(node.server_ip(0), 8000));
        hear(node, MonitorLevel::None, |_| {});
        node.client_sends(&tcp(client, server, SYN));
        let events = Events::default();
        let reader = EventReader::open(&node.datapath.config().bpf_root, events.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(30), reader.run()).await });
        assert_eq!(events.seen(), 0);
    });
}

#[test]
fn packets_are_counted_by_reason_and_direction() {
    on_node("metrics", |node| {
        use prometheus::core::Collector;
        node.allow(SERVER, Direction::Ingress, CLIENT, tcp_port(8000));
        let (client, server) = (at(node.client_ip(0), 40_000), at(node.server_ip(0), 8000));
        node.client_sends(&tcp(client, server, SYN));
        node.client_sends(&tcp(client, at(server.ip(), 9), SYN));
        let rows: Vec<_> = dump::metrics(&mut node.kernel)
            .unwrap()
            .into_iter()
            .map(|row| (row.reason, row.direction, row.packets, row.bytes))
            .collect();
        assert_eq!(rows, [("Success", 1, 1, 118), ("Success", 2, 2, 236), ("Policy denied", 1, 1, 118)]);
        let metrics = PacketMetrics::new(&node.datapath.config().bpf_root).unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&metrics.collect()).unwrap();
        assert!(text.contains(r#"cilium_drop_count_total{direction="INGRESS",reason="Policy denied"} 1"#), "{text}");
        assert!(text.contains(r#"cilium_forward_count_total{direction="EGRESS"} 2"#), "{text}");
    });
}

#[test]
fn a_full_ring_loses_events_not_packets_and_says_how_many() {
    on_node("lost events", |node| {
        use datapath::{MapId, Program, kernel::Kernel};
        use ebpf_abi::{ConfigCell, EVENT_LOST, Event, Plain, maps::EVENTS_BYTES};
        let on = (MonitorLevel::Maximum as u64 + 1).as_bytes().to_vec();
        node.kernel.update(MapId::Config, &[((ConfigCell::Monitor as u32).as_bytes().to_vec(), on)]).unwrap();
        // More drops than events fit; nobody reads.
        let runs = (EVENTS_BYTES / size_of::<Event>()) as u32 + 1000;
        let forged = crate::packet::frame(&tcp(at(node.server_ip(0), 1), at(remote_ip(0), 80), SYN));
        let program = node.datapath.program(Program::LxcIn);
        datapath::test_run(program, &forged, node.client.host_ifindex, 0, runs).unwrap();
        assert_eq!(node.counted(132), u64::from(runs));
        assert!((1000..3000).contains(&node.counted(EVENT_LOST)), "{}", node.counted(EVENT_LOST));
    });
}
