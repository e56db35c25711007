package main

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/cilium/pkg/cidr"
	serviceStore "github.com/cilium/cilium/pkg/clustermesh/store"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/key"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/loadbalancer"
	"github.com/cilium/cilium/pkg/node/addressing"
	nodeTypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/source"
	"github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
)

// How much a published cluster has; pods have an address of each family.
const (
	nodeCount     = 50
	podsOfNode    = 5
	identityCount = 110 // ten of them without a pod
	serviceCount  = 50
	usedCount     = 100
)

func nodeIP(id uint, node int) netip.Addr {
	return netip.AddrFrom4([4]byte{172, 20, byte(id), byte(node)})
}

func podIP(id uint, node, pod int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(100 + id), byte(node), byte(10 + pod)})
}

func podIP6(id uint, node, pod int) netip.Addr {
	return netip.MustParseAddr(fmt.Sprintf("fd20:%x:%x::%x", id, node, 0x10+pod))
}

func nodeName(cluster string, node int) string { return fmt.Sprintf("%s-stock-%d", cluster, node) }

// makeNode is one of fifty: every tenth has a field that most have not.
func makeNode(o options, number int) *nodeTypes.Node {
	node := &nodeTypes.Node{
		Name: nodeName(o.cluster, number), Cluster: o.cluster, ClusterID: uint32(o.id), Source: source.Local,
		IPAddresses: []nodeTypes.Address{
			{Type: addressing.NodeInternalIP, IP: nodeIP(o.id, number).AsSlice()},
			{Type: addressing.NodeCiliumInternalIP, IP: podIP(o.id, number, -9).AsSlice()},
			{Type: addressing.NodeInternalIP, IP: net.ParseIP(fmt.Sprintf("fd02:%x::%x", o.id, number))},
			{Type: addressing.NodeCiliumInternalIP, IP: podIP6(o.id, number, -15).AsSlice()},
		},
		IPv4AllocCIDR: cidr.MustParseCIDR(fmt.Sprintf("10.%d.%d.0/24", 100+o.id, number)),
		IPv6AllocCIDR: cidr.MustParseCIDR(fmt.Sprintf("fd20:%x:%x::/64", o.id, number)),
		IPv4HealthIP:  podIP(o.id, number, -8).AsSlice(),
		IPv6HealthIP:  podIP6(o.id, number, -14).AsSlice(),
		Labels:        map[string]string{"kubernetes.io/hostname": nodeName(o.cluster, number)},
		BootID:        fmt.Sprintf("f12453c1-0000-4000-8000-%012d", number),
	}
	switch number % 10 {
	case 1:
		node.IPAddresses = append(node.IPAddresses,
			nodeTypes.Address{Type: addressing.NodeExternalIP, IP: net.ParseIP(fmt.Sprintf("203.0.%d.%d", 112+o.id, number))})
	case 2:
		node.IPv4SecondaryAllocCIDRs = []*cidr.CIDR{cidr.MustParseCIDR(fmt.Sprintf("10.%d.%d.0/24", 100+o.id, 100+number))}
	case 3:
		node.IPv4IngressIP = podIP(o.id, number, -7).AsSlice()
		node.IPv6IngressIP = podIP6(o.id, number, -13).AsSlice()
	case 4:
		node.Annotations = map[string]string{"network.cilium.io/html": "<&>\u2028"}
		node.Labels["topology.kubernetes.io/zone"] = "z1"
	}
	return node
}

// makeLabels is a label set; the last of ten has an empty value and a long, ugly one.
func makeLabels(o options, number int) *key.GlobalIdentity {
	set := map[string]string{
		"k8s:app":                         fmt.Sprintf("app-%d", number),
		"k8s:io.kubernetes.pod.namespace": "shop",
		"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "shop",
		"k8s:io.cilium.k8s.policy.cluster":                               o.cluster,
		"k8s:io.cilium.k8s.policy.serviceaccount":                        fmt.Sprintf("sa-%d", number%7),
	}
	if number%10 == 9 {
		set["k8s:empty"] = ""
		set["k8s:example.com/a.b_c-d"] = "x=y-" + fmt.Sprint(number)
	}
	array := labels.Map2Labels(set, "").LabelArray()
	return &key.GlobalIdentity{LabelArray: array}
}

func makePod(o options, node, pod int, id identity.NumericIdentity) [2]*ipcache.UpsertParams {
	var both [2]*ipcache.UpsertParams
	for family, ip := range []netip.Addr{podIP(o.id, node, pod), podIP6(o.id, node, pod)} {
		params := &ipcache.UpsertParams{
			IP: ip, HostIP: nodeIP(o.id, node), ID: id,
			Metadata:     fmt.Sprintf("cilium-global:default:%s:%d", nodeName(o.cluster, node), 100+pod),
			K8sNamespace: "shop", K8sPodName: fmt.Sprintf("pod-%d-%d", node, pod),
			K8sServiceAccount: fmt.Sprintf("sa-%d", int(id)%7),
		}
		if pod%2 == 0 {
			params.NPM = types.NamedPortMap{
				"metrics": {Port: 9090, Proto: u8proto.TCP}, "http": {Port: 8080, Proto: u8proto.TCP},
			}
		}
		both[family] = params
	}
	return both
}

// makeService has the pods of one node as its backends, shifted by turn.
func makeService(o options, number, turn int) *serviceStore.ClusterService {
	service := serviceStore.NewClusterService(fmt.Sprintf("svc-%d", number), "shop")
	service.Cluster, service.ClusterID = o.cluster, uint32(o.id)
	service.Shared, service.IncludeExternal = true, true
	service.Labels["team"] = fmt.Sprintf("t-%d", number%3)
	service.Selector["app"] = fmt.Sprintf("app-%d", number)
	service.Frontends[fmt.Sprintf("10.97.%d.%d", o.id, number)] = serviceStore.PortConfiguration{
		"http": {Protocol: loadbalancer.TCP, Port: 80},
	}
	node := (number+turn)%nodeCount + 1
	for pod := range podsOfNode {
		for _, ip := range []netip.Addr{podIP(o.id, node, pod), podIP6(o.id, node, pod)} {
			service.Backends[ip.String()] = serviceStore.PortConfiguration{
				"http": {Protocol: loadbalancer.TCP, Port: uint16(8080 + pod)},
			}
			if number%5 == 0 {
				service.Zones[ip.String()] = serviceStore.BackendZone{Zone: "z1", ForZones: []serviceStore.ForZone{{Name: "z1"}}}
				service.Hostnames[ip.String()] = fmt.Sprintf("pod-%d", pod)
			}
		}
	}
	return &service
}
