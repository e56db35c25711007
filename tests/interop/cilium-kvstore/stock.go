package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/api/v1/models"
	"github.com/cilium/cilium/pkg/clustermesh"
	"github.com/cilium/cilium/pkg/clustermesh/common"
	serviceStore "github.com/cilium/cilium/pkg/clustermesh/store"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/identity/cache"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/metrics"
	nodeTypes "github.com/cilium/cilium/pkg/node/types"
	"github.com/cilium/cilium/pkg/source"
)

// stock is what a Cilium agent does about its remote clusters, down to the managers of nodes, addresses and services: in
// their place it notes what they are told.
type stock struct {
	options
	mesh       *clustermesh.ClusterMesh
	identities *cache.CachingIdentityAllocator
	notes      *notes
}

// notes is what is known, and how often something was taken back.
type notes struct {
	mutex   sync.Mutex
	known   map[string]map[string]string
	deleted map[string]int
}

func newNotes() *notes {
	n := &notes{known: map[string]map[string]string{}, deleted: map[string]int{}}
	for _, kind := range []string{"node", "ip", "service", "identity"} {
		n.known[kind] = map[string]string{}
	}
	return n
}

func (n *notes) put(kind, name string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.known[kind][name] = string(text)
}

func (n *notes) drop(kind, name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	delete(n.known[kind], name)
	n.deleted[kind]++
}

func (n *notes) NodeUpdated(node nodeTypes.Node) { n.put("node", node.Fullname(), node) }
func (n *notes) NodeDeleted(node nodeTypes.Node) { n.drop("node", node.Fullname()) }
func (n *notes) NodeSync()                       {}

func (n *notes) Upsert(ip string, host net.IP, key uint8, meta *ipcache.K8sMetadata, id ipcache.Identity) (bool, error) {
	n.put("ip", ip, map[string]any{"ip": ip, "host": host.String(), "key": key, "meta": meta, "id": id.ID})
	return false, nil
}

func (n *notes) Delete(ip string, _ source.Source) bool {
	n.drop("ip", ip)
	return false
}

func (n *notes) MergeExternalServiceUpdate(service *serviceStore.ClusterService) {
	n.put("service", service.String(), service)
}

func (n *notes) MergeExternalServiceDelete(service *serviceStore.ClusterService) {
	n.drop("service", service.String())
}

func (n *notes) AddClusterMeshConfig(string, string) {}
func (n *notes) DelClusterMeshConfig(string, string) {}

func newStock(ctx context.Context, o options, log *slog.Logger) (part, error) {
	s := &stock{options: o, notes: newNotes()}
	s.identities = cache.NewCachingIdentityAllocator(log, owner{"192.0.2.1", s.notes}, cache.AllocatorConfig{
		Timeout: time.Minute, SyncInterval: time.Hour,
	})
	// Its own cluster is empty, and in memory.
	own := kvstore.NewInMemoryClient(statedb.New(), o.cluster)
	<-s.identities.InitIdentityAllocator(nil, own)
	lifecycle := &cell.DefaultLifecycle{}
	s.mesh = clustermesh.NewClusterMesh(lifecycle, clustermesh.Configuration{
		Config:                       common.Config{ClusterMeshConfig: o.mesh},
		ServiceModeV2Config:          cmtypes.DefaultServiceModeV2Config,
		ClusterInfo:                  cmtypes.ClusterInfo{ID: uint32(o.id), Name: o.cluster, MaxConnectedClusters: 255},
		RemoteClientFactory:          common.DefaultRemoteClientFactory(kvstore.Config{KVStoreLeaseTTL: o.ttl}),
		NodeObserver:                 s.notes,
		RemoteIdentityWatcher:        s.identities,
		ServiceMerger:                s.notes,
		IPCache:                      s.notes,
		ClusterIDsManager:            clustermesh.NewClusterMeshUsedIDs(uint32(o.id)),
		ClusterSizeDependantInterval: func(base time.Duration) time.Duration { return base },
		Metrics:                      clustermesh.NewMetrics(),
		CommonMetrics:                common.MetricsProvider(metrics.SubsystemClusterMesh)(),
		StoreFactory:                 factory(log),
		FeatureMetrics:               s.notes,
		Logger:                       log,
	})
	return s, lifecycle.Start(log, ctx)
}

// do knows "status": how it stands with each cluster, and how much was taken back; and "show": everything that is known.
func (s *stock) do(command string) error {
	s.notes.mutex.Lock()
	defer s.notes.mutex.Unlock()
	switch command {
	case "show":
		for kind, objects := range s.notes.known {
			for name, value := range objects {
				fmt.Println(kind, name, value)
			}
		}
	case "status":
		for _, remote := range s.statuses() {
			text, err := json.Marshal(remote)
			if err != nil {
				return err
			}
			fmt.Println("remote", string(text))
		}
		for kind, objects := range s.notes.known {
			fmt.Println("count", kind, len(objects), s.notes.deleted[kind])
		}
	default:
		return fmt.Errorf("there is no such command")
	}
	return nil
}

func (s *stock) statuses() []*models.RemoteCluster { return s.mesh.Status().Clusters }
