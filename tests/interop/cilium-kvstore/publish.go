package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/cilium/cilium/pkg/allocator"
	"github.com/cilium/cilium/pkg/clustermesh/clustercfg"
	serviceStore "github.com/cilium/cilium/pkg/clustermesh/store"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/cache"
	"github.com/cilium/cilium/pkg/identity/key"
	"github.com/cilium/cilium/pkg/idpool"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	kvstoreallocator "github.com/cilium/cilium/pkg/kvstore/allocator"
	"github.com/cilium/cilium/pkg/kvstore/store"
	nodeStore "github.com/cilium/cilium/pkg/node/store"
	nodeTypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/rate"
)

// publisher is a cluster in etcd mode, written by what its agents and its operator write it with.
type publisher struct {
	options
	ctx        context.Context
	client     client
	nodeStore  *store.SharedStore
	ipSync     *ipcache.IPIdentitySynchronizer
	identities *allocator.Allocator
	collector  *allocator.Allocator
	services   store.SyncStore

	// What is published, as it was handed to Cilium.
	nodes   map[string]*nodeTypes.Node
	ips     map[string]*ipcache.UpsertParams
	numbers map[identity.NumericIdentity]*key.GlobalIdentity
	shared  map[string]*serviceStore.ClusterService
	// A label set was added.
	late bool
	// Numbers by the label set's own.
	ids [identityCount]identity.NumericIdentity
}

type nobody struct{}

func (nobody) OnUpdate(store.Key)      {}
func (nobody) OnDelete(store.NamedKey) {}

func newPublisher(ctx context.Context, o options, log *slog.Logger) (part, error) {
	p := &publisher{
		options: o, ctx: ctx, nodes: map[string]*nodeTypes.Node{}, ips: map[string]*ipcache.UpsertParams{},
		numbers: map[identity.NumericIdentity]*key.GlobalIdentity{}, shared: map[string]*serviceStore.ClusterService{},
	}
	var err error
	if p.client, err = dial(ctx, log, o); err != nil {
		return nil, err
	}
	p.ipSync = ipcache.NewIPIdentitySynchronizer(log, p.client)
	p.services = factory(log).NewSyncStore(o.cluster, p.client, serviceStore.ServiceStorePrefix)
	go p.services.Run(ctx)
	p.nodeStore, err = store.JoinSharedStore(log, store.Configuration{
		Context: ctx, Backend: p.client, Prefix: nodeStore.NodeStorePrefix,
		KeyCreator: nodeStore.ValidatingKeyCreator(), SynchronizationInterval: 30 * time.Minute, Observer: nobody{},
	})
	if err != nil {
		return nil, err
	}
	p.identities, p.collector, err = newAllocator(ctx, log, p.client, o, nodeIP(o.id, 1).String())
	return p, err
}

// newAllocator is the global allocator as CachingIdentityAllocator makes it, and the operator's for garbage.
func newAllocator(ctx context.Context, log *slog.Logger, client client, o options, suffix string) (
	*allocator.Allocator, *allocator.Allocator, error,
) {
	backend, err := kvstoreallocator.NewKVStoreBackend(log, kvstoreallocator.KVStoreBackendConfiguration{
		BasePath: cache.IdentitiesPath, Suffix: suffix, Typ: &key.GlobalIdentity{}, Backend: client,
	})
	if err != nil {
		return nil, nil, err
	}
	least, most := identity.GetMinimalAllocationIdentity(uint32(o.id)), identity.GetMaximumAllocationIdentity(uint32(o.id))
	events := make(allocator.AllocatorEventChan, 1024)
	go func() {
		for event := range events {
			if event.Done != nil {
				close(event.Done)
			}
		}
	}()
	working, err := allocator.NewAllocator(log, &key.GlobalIdentity{}, backend,
		allocator.WithMin(idpool.ID(least)), allocator.WithMax(idpool.ID(most)),
		allocator.WithPrefixMask(idpool.ID(o.id<<identity.GetClusterIDShift())), allocator.WithEvents(events),
		allocator.WithSyncInterval(5*time.Minute), allocator.WithMasterKeyProtection())
	if err != nil {
		return nil, nil, err
	}
	collector := allocator.NewAllocatorForGC(log, backend,
		allocator.WithMin(idpool.ID(least)), allocator.WithMax(idpool.ID(most)))
	return working, collector, working.WaitForInitialSync(ctx)
}

func (p *publisher) do(command string) error {
	steps := map[string]func() error{"publish": p.publish, "update": p.update, "delete": p.delete, "show": func() error { return nil }}
	step, known := steps[command]
	if !known {
		return fmt.Errorf("there is no such command")
	}
	if err := step(); err != nil {
		return err
	}
	return p.show()
}

func (p *publisher) publish() error {
	if err := p.client.Update(p.ctx, kvstore.HeartbeatPath, []byte(time.Now().Format(time.RFC3339)), true); err != nil {
		return err
	}
	for number := range identityCount {
		if err := p.allocate(number); err != nil {
			return err
		}
	}
	for node := 1; node <= nodeCount; node++ {
		if err := p.putNode(makeNode(p.options, node)); err != nil {
			return err
		}
		for pod := range podsOfNode {
			if err := p.putPod(node, pod, p.ids[(node*podsOfNode+pod)%usedCount]); err != nil {
				return err
			}
		}
	}
	for number := 1; number <= serviceCount; number++ {
		if err := p.putService(makeService(p.options, number, 0)); err != nil {
			return err
		}
	}
	config := cmtypes.CiliumClusterConfig{ID: uint32(p.id), Capabilities: cmtypes.CiliumClusterConfigCapabilities{
		MaxConnectedClusters: 255, ServiceExportsEnabled: new(bool),
	}}
	if p.within {
		return nil
	}
	return clustercfg.Set(p.ctx, p.cluster, config, p.client)
}

// update gives pods other identities, moves one to another node, changes nodes and services, and adds a label set.
func (p *publisher) update() error {
	for node := 1; node <= 10; node++ {
		if err := p.putPod(node, 0, p.ids[(node*7)%usedCount]); err != nil {
			return err
		}
		changed := makeNode(p.options, node)
		changed.Labels["changed"], changed.EncryptionKey = "true", 3
		changed.IPv4HealthIP = podIP(p.id, node, -6).AsSlice()
		if err := p.putNode(changed); err != nil {
			return err
		}
		if err := p.putService(makeService(p.options, node, 20)); err != nil {
			return err
		}
	}
	if p.late {
		return nil
	}
	// A second reference would keep it when one is released.
	p.late = true
	late := makeLabels(p.options, 1000)
	id, _, _, err := p.identities.Allocate(p.ctx, late)
	p.numbers[identity.NumericIdentity(id)] = late
	return err
}

// delete takes back nodes 41 to 50 with their pods, ten services and ten label sets that no pod has.
func (p *publisher) delete() error {
	for node := 41; node <= nodeCount; node++ {
		for pod := range podsOfNode {
			for _, params := range makePod(p.options, node, pod, 0) {
				if err := p.ipSync.Delete(p.ctx, params.IP.String()); err != nil {
					return err
				}
				delete(p.ips, params.IP.String())
			}
		}
		gone := makeNode(p.options, node)
		p.nodeStore.DeleteLocalKey(p.ctx, gone)
		delete(p.nodes, gone.GetKeyName())
		service := makeService(p.options, node, 0)
		if err := p.services.DeleteKey(p.ctx, service); err != nil {
			return err
		}
		delete(p.shared, service.GetKeyName())
	}
	used := map[identity.NumericIdentity]bool{}
	for _, params := range p.ips {
		used[params.ID] = true
	}
	released := 0
	for number, labels := range p.numbers {
		if used[number] || released == 10 {
			continue
		}
		if _, err := p.identities.Release(p.ctx, labels); err != nil {
			return err
		}
		delete(p.numbers, number)
		released++
	}
	if released == 0 {
		return fmt.Errorf("every label set has a pod")
	}
	// The operator's collector deletes what two rounds found without a user.
	limiter := rate.NewLimiter(time.Second, 1000)
	stale, _, err := p.collector.RunGC(p.ctx, limiter, map[string]uint64{})
	if err == nil {
		_, _, err = p.collector.RunGC(p.ctx, limiter, stale)
	}
	return err
}

func (p *publisher) allocate(number int) error {
	labels := makeLabels(p.options, number)
	id, _, _, err := p.identities.Allocate(p.ctx, labels)
	if err == nil {
		p.ids[number] = identity.NumericIdentity(id)
		p.numbers[p.ids[number]] = labels
	}
	return err
}

func (p *publisher) putNode(node *nodeTypes.Node) error {
	p.nodes[node.GetKeyName()] = node
	return p.nodeStore.UpdateLocalKeySync(p.ctx, node)
}

func (p *publisher) putPod(node, pod int, id identity.NumericIdentity) error {
	for _, params := range makePod(p.options, node, pod, id) {
		p.ips[params.IP.String()] = params
		if err := p.ipSync.Upsert(p.ctx, params); err != nil {
			return err
		}
	}
	return nil
}

func (p *publisher) putService(service *serviceStore.ClusterService) error {
	p.shared[service.GetKeyName()] = service
	return p.services.UpsertKey(p.ctx, service)
}

// show says what is published, a line an object: not as it was read back, but as it was meant.
func (p *publisher) show() error {
	print := func(kind string, object any) error {
		text, err := json.Marshal(object)
		fmt.Println(kind, string(text))
		return err
	}
	for _, node := range p.nodes {
		if err := print("node", node); err != nil {
			return err
		}
	}
	for _, ip := range p.ips {
		line := map[string]any{
			"ip": ip.IP.String(), "host": ip.HostIP.String(), "id": ip.ID, "pod": ip.K8sNamespace + "/" + ip.K8sPodName,
		}
		if err := print("ip", line); err != nil {
			return err
		}
	}
	for number, labels := range p.numbers {
		if err := print("identity", map[string]any{"id": number, "labels": labels.GetKey()}); err != nil {
			return err
		}
	}
	for _, service := range p.shared {
		if err := print("service", service); err != nil {
			return err
		}
	}
	return nil
}
