use std::sync::Arc;

use super::*;

fn parse(spec: &str) -> Result<Vec<Arc<Rule>>, String> {
    let text = format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p, namespace: shop}}\nspec:\n{spec}"
    );
    let options = ParseOptions {
        cluster: "east".into(),
        default_local_cluster: true,
        families: model::Families { ipv4: true, ipv6: true },
    };
    let documents = crate::document::split(&"p.yaml".into(), &text)?;
    super::parse(&documents[0], "shop", "p", &options)
}

#[track_caller]
fn refused(spec: &str, expected: &str) {
    let error = parse(spec).expect_err("the policy breaks a rule");
    assert!(error.contains(expected), "{error}");
}

const SUBJECT: &str = "  endpointSelector: {matchLabels: {app: cart}}\n";

#[test]
fn peers_are_scoped_to_namespace_and_cluster_unless_they_say_otherwise() {
    let scoped = |peer: &str| {
        let rules = parse(&format!("{SUBJECT}  ingress: [{{fromEndpoints: [{peer}]}}]")).unwrap();
        match &rules[0].ingress[0].peers.as_ref().unwrap()[0] {
            Peer::Endpoints(selector) => selector.to_string(),
            Peer::Entity(entity) => entity.to_string(),
            Peer::Cidr(cidr) => cidr.to_string(),
        }
    };
    let own = scoped("{}");
    assert!(own.contains("io.kubernetes.pod.namespace=shop") && own.contains("policy.cluster=east"), "{own}");
    let other = scoped("{matchLabels: {k8s:io.kubernetes.pod.namespace: prod}}");
    assert!(other.contains("namespace=prod") && !other.contains("shop"), "{other}");
    let far = scoped("{matchLabels: {io.cilium.k8s.policy.cluster: west}}");
    assert!(far.contains("cluster=west") && !far.contains("east"), "{far}");
    assert_eq!(scoped("{matchLabels: {reserved:host: ''}}"), "reserved:host=");
}

#[test]
fn absent_peers_with_ports_mean_any_and_empty_ones_nobody() {
    let peers = |element: &str| parse(&format!("{SUBJECT}  ingress: [{element}]")).unwrap()[0].ingress[0].clone();
    assert_eq!(peers("{toPorts: [{ports: [{port: '80', protocol: TCP}]}]}").peers, None);
    assert_eq!(peers("{}").peers, Some(Vec::new()));
    assert_eq!(peers("{fromEndpoints: [], toPorts: [{ports: [{port: '80'}]}]}").peers, Some(Vec::new()));
    let ports = peers("{toPorts: [{ports: [{port: '80'}, {port: 53, protocol: udp}]}]}").ports;
    assert_eq!(ports, [PortProto::new(80, Protocol::Any), PortProto::new(53, Protocol::Udp)]);
}

#[test]
fn ranges_are_peers_with_what_they_leave_out() {
    let set = "toCIDRSet: [{cidr: 198.51.100.0/24, except: [198.51.100.96/27]}, {cidr: '2001:db8::/32'}]";
    let rules = parse(&format!("{SUBJECT}  egress: [{{toCIDR: [192.0.2.1]}}, {{{set}}}, {{toCIDR: []}}]")).unwrap();
    let peers = |index: usize| {
        let peers = rules[0].egress[index].peers.as_ref().unwrap();
        peers
            .iter()
            .map(|peer| match peer {
                Peer::Cidr(cidr) => cidr.to_string(),
                other => format!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(peers(0), ["cidr:192.0.2.1/32"]);
    assert_eq!(peers(1), ["cidr:198.51.100.0/24-[198.51.100.96/27]", "cidr:2001:db8::/32"]);
    assert_eq!(peers(2), [""; 0], "nobody");
}

#[test]
fn default_deny_follows_the_lists_and_can_be_turned_off() {
    let deny = |rest: &str| parse(&format!("{SUBJECT}{rest}")).unwrap()[0].default_deny;
    assert_eq!(deny("  ingress: []"), DefaultDeny::default());
    assert_eq!(deny("  ingress: [{}]"), DefaultDeny { ingress: true, egress: false });
    assert_eq!(deny("  egress: [{}]\n  enableDefaultDeny: {egress: false}"), DefaultDeny::default());
}

#[test]
fn what_is_not_supported_is_refused_with_its_path() {
    refused("  ingress: []", "spec: endpointSelector is required");
    refused(&format!("{SUBJECT}  ingressDeny: []"), "spec.ingressDeny: not supported");
    refused(&format!("{SUBJECT}  egress: [{{toFQDNs: []}}]"), "spec.egress[0].toFQDNs: not supported");
    refused(
        &format!("{SUBJECT}  ingress: [{{fromCIDR: [10.0.0.0/33]}}]"),
        "spec.ingress[0].fromCIDR[0]: prefix length",
    );
    let group = "  egress: [{toCIDRSet: [{cidrGroupRef: a}]}]";
    refused(&format!("{SUBJECT}{group}"), "spec.egress[0].toCIDRSet[0]: cidr is required");
    let outside = "  egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}]}]";
    refused(&format!("{SUBJECT}{outside}"), "toCIDRSet[0].except[0]: 11.0.0.0/16 is not within 10.0.0.0/8");
    let mixed = "  egress: [{toCIDRSet: [{cidr: 10.0.0.0/8}], toCIDR: [10.0.0.0/8]}]";
    refused(&format!("{SUBJECT}{mixed}"), "combining toCIDR and toCIDRSet");
    let http = "  ingress: [{toPorts: [{ports: [{port: '80'}], rules: {http: [{}]}}]}]";
    refused(&format!("{SUBJECT}{http}"), "spec.ingress[0].toPorts[0].rules: not supported");
    let range = "  ingress: [{toPorts: [{ports: [{port: '80', endPort: 90}]}]}]";
    refused(&format!("{SUBJECT}{range}"), "spec.ingress[0].toPorts[0].ports[0].endPort: not supported");
    refused(&format!("{SUBJECT}  ingress: [{{toPorts: [{{ports: [{{port: http}}]}}]}}]"), "names are not supported");
    refused(&format!("{SUBJECT}  ingress: [{{fromEntities: [moon]}}]"), "spec.ingress[0].fromEntities[0]: entity");
    let both = "  ingress: [{fromEntities: [all], fromEndpoints: [{}]}]";
    refused(&format!("{SUBJECT}{both}"), "combining fromEndpoints and fromEntities");
    let bad = "  ingress: [{fromEndpoints: [{matchExpressions: [{key: a, operator: In}]}]}]";
    refused(&format!("{SUBJECT}{bad}"), "matchExpressions[0]: operator In needs values");
}
