package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/cilium/cilium/pkg/allocator"
	serviceStore "github.com/cilium/cilium/pkg/clustermesh/store"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/cache"
	"github.com/cilium/cilium/pkg/identity/key"
	"github.com/cilium/cilium/pkg/idpool"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/kvstore/store"
	"github.com/cilium/cilium/pkg/labels"
	nodeStore "github.com/cilium/cilium/pkg/node/store"
	"github.com/cilium/cilium/pkg/source"
	"github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
)

// inside reads a cluster's store with the readers of an agent of that cluster, and says of each key whether Cilium would
// have written it so, byte for byte.
type inside struct {
	options
	ctx        context.Context
	log        *slog.Logger
	client     client
	notes      *notes
	identities *allocator.Allocator
	ips        *ipcache.IPIdentityWatcher
	services   store.WatchStore
}

func newInside(ctx context.Context, o options, log *slog.Logger) (part, error) {
	i := &inside{options: o, ctx: ctx, log: log, notes: newNotes()}
	var err error
	if i.client, err = dial(ctx, log, o); err != nil {
		return nil, err
	}
	if i.identities, _, err = newAllocator(ctx, log, i.client, o, "192.0.2.1"); err != nil {
		return nil, err
	}
	i.ips = ipcache.NewIPIdentityWatcher(log, o.cluster, i.notes, factory(log), source.KVStore)
	go i.ips.Watch(ctx, i.client, ipcache.WithIdentityValidator(uint32(o.id)))
	_, err = store.JoinSharedStore(log, store.Configuration{
		Context: ctx, Backend: i.client, Prefix: nodeStore.NodeStorePrefix, KeyCreator: nodeStore.ValidatingKeyCreator(),
		SharedKeyDeleteDelay: 30 * time.Second, Observer: nodeStore.NewNodeObserver(i.notes, source.KVStore),
	})
	if err != nil {
		return nil, err
	}
	i.services = factory(log).NewWatchStore(o.cluster, serviceStore.KeyCreator(
		serviceStore.ClusterNameValidator(o.cluster), serviceStore.NamespacedNameValidator(),
		serviceStore.ClusterIDValidator(clusterID(o)),
	), serviceNotes{i.notes})
	go i.services.Watch(ctx, i.client, kvstore.JoinKey(serviceStore.ServiceStorePrefix, o.cluster))
	return i, i.ips.WaitForSync(ctx)
}

func clusterID(o options) *uint32 {
	id := uint32(o.id)
	return &id
}

type serviceNotes struct{ notes *notes }

func (s serviceNotes) OnUpdate(k store.Key) {
	s.notes.put("service", k.GetKeyName(), k.(*serviceStore.ValidatingClusterService).ClusterService)
}
func (s serviceNotes) OnDelete(k store.NamedKey) { s.notes.drop("service", k.GetKeyName()) }

// do knows "counts": what the readers have taken; and "bytes": every key beside what Cilium would write.
func (i *inside) do(command string) error {
	switch command {
	case "counts":
		i.notes.mutex.Lock()
		defer i.notes.mutex.Unlock()
		for _, kind := range []string{"node", "ip", "service"} {
			fmt.Println("count", kind, len(i.notes.known[kind]), i.notes.deleted[kind])
		}
		count := 0
		i.identities.ForeachCache(func(idpool.ID, allocator.AllocatorKey) { count++ })
		fmt.Println("count identity", count, 0)
		return nil
	case "bytes":
		return i.bytes()
	}
	return fmt.Errorf("there is no such command")
}

// rewrite is the key and the value that Cilium writes for what it has read.
type rewrite func(name string, value []byte) (string, []byte, error)

func (i *inside) bytes() error {
	for _, kind := range []struct {
		kind, prefix string
		leased       bool
		rewrite      rewrite
	}{
		{"node", kvstore.JoinKey(nodeStore.NodeStorePrefix, i.cluster), true, i.node},
		{"ip", kvstore.JoinKey(ipcache.IPIdentitiesPath, ipcache.AddressSpace), true, i.ip},
		{"identity", kvstore.JoinKey(cache.IdentitiesPath, "id"), false, i.identity},
		{"user", kvstore.JoinKey(cache.IdentitiesPath, "value"), true, i.user},
		{"service", kvstore.JoinKey(serviceStore.ServiceStorePrefix, i.cluster), true, i.service},
		{"config", kvstore.ClusterConfigPrefix, true, i.config},
	} {
		found, err := i.client.ListPrefix(i.ctx, kind.prefix+"/")
		if err != nil {
			return err
		}
		equal, unleased := 0, 0
		for path, value := range found {
			name, again, err := kind.rewrite(strings.TrimPrefix(path, kind.prefix+"/"), value.Data)
			switch {
			case err != nil:
				fmt.Println("differs", path, "is refused:", err)
			case kvstore.JoinKey(kind.prefix, name) != path:
				fmt.Println("differs", path, "would be", kvstore.JoinKey(kind.prefix, name))
			case !bytes.Equal(again, value.Data):
				fmt.Println("differs", path, "is", string(value.Data), "and would be", string(again))
			default:
				equal++
			}
			if kind.leased != (value.LeaseID != 0) {
				unleased++
			}
		}
		fmt.Println("equal", kind.kind, equal, len(found), unleased)
	}
	return nil
}

func (i *inside) node(name string, value []byte) (string, []byte, error) {
	node := nodeStore.ValidatingKeyCreator(nodeStore.ClusterNameValidator(i.cluster), nodeStore.NameValidator(),
		nodeStore.ClusterIDValidator(clusterID(i.options)))().(*nodeStore.ValidatingNode)
	if err := node.Unmarshal(name, value); err != nil {
		return "", nil, err
	}
	again, err := node.Marshal()
	return strings.TrimPrefix(node.GetKeyName(), i.cluster+"/"), again, err
}

// recorder takes a write in the store's place.
type recorder struct {
	client
	path  string
	value []byte
}

func (r *recorder) UpdateIfDifferent(_ context.Context, path string, value []byte, _ bool) (bool, error) {
	r.path, r.value = path, value
	return true, nil
}

// ip goes the way of an agent's own endpoint: through its parameters and the synchronizer.
func (i *inside) ip(name string, value []byte) (string, []byte, error) {
	var pair identity.IPIdentityPair
	if err := pair.Unmarshal(name, value); err != nil {
		return "", nil, err
	}
	params := &ipcache.UpsertParams{
		IP: addr(pair.IP), HostIP: addr(pair.HostIP), ID: pair.ID, Key: pair.Key, Metadata: pair.Metadata,
		K8sNamespace: pair.K8sNamespace, K8sPodName: pair.K8sPodName, K8sServiceAccount: pair.K8sServiceAccount,
		NPM: types.NamedPortMap{},
	}
	for _, port := range pair.NamedPorts {
		proto, err := u8proto.ParseProtocol(port.Protocol)
		if err != nil {
			return "", nil, err
		}
		params.NPM[port.Name] = types.PortProto{Port: port.Port, Proto: proto}
	}
	recorded := &recorder{}
	err := ipcache.NewIPIdentitySynchronizer(i.log, recorded).Upsert(i.ctx, params)
	return strings.TrimPrefix(recorded.path, kvstore.JoinKey(ipcache.IPIdentitiesPath, ipcache.AddressSpace)+"/"), recorded.value, err
}

// canonical is how Cilium writes these labels, from a set of them.
func canonical(text string) string {
	set := labels.NewLabelArrayFromSortedList(text).Labels()
	return (&key.GlobalIdentity{LabelArray: set.LabelArray()}).GetKey()
}

func (i *inside) identity(name string, value []byte) (string, []byte, error) {
	number, err := identity.ParseNumericIdentity(name)
	if err != nil {
		return "", nil, err
	}
	least, most := identity.GetMinimalAllocationIdentity(uint32(i.id)), identity.GetMaximumAllocationIdentity(uint32(i.id))
	if number < least || number > most {
		return "", nil, fmt.Errorf("%d is not between %d and %d", number, least, most)
	}
	return number.StringID(), []byte(canonical(string(value))), nil
}

// user is a slave key: labels, the node's address after the last slash, and the number that these labels have.
func (i *inside) user(name string, value []byte) (string, []byte, error) {
	slash := strings.LastIndex(name, "/")
	id, err := i.identities.GetNoCache(i.ctx, (&key.GlobalIdentity{}).PutKey(name[:max(slash, 0)]))
	return canonical(name[:max(slash, 0)]) + name[max(slash, 0):], []byte(id.String()), err
}

func (i *inside) service(name string, value []byte) (string, []byte, error) {
	service := serviceStore.KeyCreator(serviceStore.ClusterNameValidator(i.cluster), serviceStore.NamespacedNameValidator(),
		serviceStore.ClusterIDValidator(clusterID(i.options)))().(*serviceStore.ValidatingClusterService)
	if err := service.Unmarshal(name, value); err != nil {
		return "", nil, err
	}
	again, err := service.Marshal()
	return strings.TrimPrefix(service.GetKeyName(), i.cluster+"/"), again, err
}

func (i *inside) config(name string, value []byte) (string, []byte, error) {
	var config cmtypes.CiliumClusterConfig
	if err := json.Unmarshal(value, &config); err != nil {
		return "", nil, err
	}
	own := cmtypes.ClusterInfo{ID: uint32(i.id), Name: i.cluster, MaxConnectedClusters: 255}
	if err := own.ValidateRemoteConfig(config); err != nil {
		return "", nil, err
	}
	again, err := json.Marshal(config)
	return name, again, err
}

func addr(ip net.IP) netip.Addr {
	parsed, _ := netip.AddrFromSlice(ip)
	return parsed.Unmap()
}
