package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cilium/cilium/pkg/allocator"
	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/identity/cache"
	"github.com/cilium/cilium/pkg/idpool"
	"github.com/cilium/cilium/pkg/ipcache"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/kvstore/store"
	ipcacheMap "github.com/cilium/cilium/pkg/maps/ipcache"
	nodeTypes "github.com/cilium/cilium/pkg/node/types"

	nodeStore "github.com/cilium/cilium/pkg/node/store"
	"github.com/cilium/cilium/pkg/source"
)

// reader is what of an agent reads its cluster's store: addresses through the ipcache into the kernel's map, nodes, and
// identities. It goes as far as its stage says, so that stages are told apart by what they cost more.
type reader struct {
	options
	ctx    context.Context
	client client
	cache  *ipcache.IPCache
	kernel *ipcacheMap.Map

	mutex      sync.Mutex
	ips, nodes int
	// When each address was in the kernel, by the monotonic clock.
	stamps map[netip.Addr]int64
}

func newReader(ctx context.Context, o options, log *slog.Logger) (part, error) {
	r := &reader{options: o, ctx: ctx, stamps: map[netip.Addr]int64{}}
	started := time.Now()
	var err error
	if r.client, err = dial(ctx, log, o); err != nil {
		return nil, err
	}
	identities := 0
	if o.stage == "list" {
		identities, err = r.list()
	} else {
		identities, err = r.read(log)
	}
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	fmt.Printf(`{"ips":%d,"nodes":%d,"identities":%d,"seconds":%.3f,%s}`+"\n",
		r.ips, r.nodes, identities, time.Since(started).Seconds(), costs())
	return r, nil
}

// list takes what the store sends, and drops it.
func (r *reader) list() (int, error) {
	counts := make(chan [2]int)
	for kind, prefix := range []string{
		kvstore.JoinKey(ipcache.IPIdentitiesPath, ipcache.AddressSpace), nodeStore.NodeStorePrefix,
		kvstore.JoinKey(cache.IdentitiesPath, "id"),
	} {
		go func() {
			count := 0
			for event := range r.client.ListAndWatch(r.ctx, prefix+"/") {
				if event.Typ == kvstore.EventTypeListDone {
					break
				}
				count++
			}
			counts <- [2]int{kind, count}
		}()
	}
	var all [3]int
	for range all {
		count := <-counts
		all[count[0]] = count[1]
	}
	r.ips, r.nodes = all[0], all[1]
	return all[2], nil
}

func (r *reader) read(log *slog.Logger) (int, error) {
	var into ipcache.IPCacher = r
	if r.stage != "decode" {
		r.cache = ipcache.NewIPCache(&ipcache.Configuration{Context: r.ctx, Logger: log})
		r.cache.AddListener(r)
		into = r.cache
	}
	if r.stage == "map" {
		r.kernel = ipcacheMap.NewMap(nil, "cilium_bench_ip")
		if err := r.kernel.CreateUnpinned(); err != nil {
			return 0, err
		}
	}
	watcher := ipcache.NewIPIdentityWatcher(log, r.cluster, into, factory(log), source.KVStore)
	go watcher.Watch(r.ctx, r.client)
	nodes := make(chan error, 1)
	go func() {
		_, err := store.JoinSharedStore(log, store.Configuration{
			Context: r.ctx, Backend: r.client, Prefix: nodeStore.NodeStorePrefix,
			KeyCreator: nodeStore.ValidatingKeyCreator(), SharedKeyDeleteDelay: 30 * time.Second,
			Observer: nodeStore.NewNodeObserver(r, source.KVStore),
		})
		nodes <- err
	}()
	identities, _, err := newAllocator(r.ctx, log, r.client, r.options, "192.0.2.1")
	if err != nil {
		return 0, err
	}
	if err := <-nodes; err != nil {
		return 0, err
	}
	count := 0
	identities.ForeachCache(func(idpool.ID, allocator.AllocatorKey) { count++ })
	return count, watcher.WaitForSync(r.ctx)
}

func (r *reader) NodeUpdated(nodeTypes.Node) {
	r.mutex.Lock()
	r.nodes++
	r.mutex.Unlock()
}
func (r *reader) NodeDeleted(nodeTypes.Node) {}
func (r *reader) NodeSync()                  {}

// Upsert and Delete stand in the ipcache's place while only decoding is measured.
func (r *reader) Upsert(string, net.IP, uint8, *ipcache.K8sMetadata, ipcache.Identity) (bool, error) {
	r.ips++
	return false, nil
}
func (r *reader) Delete(string, source.Source) bool { return false }

// OnIPIdentityCacheChange is the way from the ipcache to the kernel.
func (r *reader) OnIPIdentityCacheChange(change ipcache.CacheModification, prefix cmtypes.PrefixCluster,
	_, host net.IP, _ *ipcache.Identity, id ipcache.Identity, encryption uint8, _ *ipcache.K8sMetadata, flags uint8,
) {
	if change != ipcache.Upsert {
		return
	}
	r.ips++
	if r.kernel == nil {
		return
	}
	var tunnel netip.Addr
	if ip4 := host.To4(); ip4 != nil {
		tunnel = netip.AddrFrom4([4]byte(ip4))
	}
	key := ipcacheMap.NewKey(prefix.AsPrefix(), uint16(prefix.ClusterID()))
	value := ipcacheMap.NewValue(uint32(id.ID), tunnel, encryption, ipcacheMap.RemoteEndpointInfoFlags(flags))
	if err := r.kernel.Update(&key, &value); err != nil {
		panic(err)
	}
	if id.ID >= stamped {
		r.mutex.Lock()
		r.stamps[prefix.AsPrefix().Addr()] = monotonic()
		r.mutex.Unlock()
	}
}

// Identities from here on are those of addresses that are put to be timed.
const stamped = 1<<16 + 60_000

func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

// do knows "stamps": when each timed address was in the kernel; and "costs".
func (r *reader) do(command string) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch command {
	case "stamps":
		for ip, at := range r.stamps {
			fmt.Println("stamp", ip, at)
		}
		r.stamps = map[netip.Addr]int64{}
	case "costs":
		fmt.Printf("{%s}\n", costs())
	default:
		return fmt.Errorf("there is no such command")
	}
	return nil
}

// costs is CPU time in seconds, and memory in bytes: what is there now, and the most there was.
func costs() string {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	sizes := map[string]int{}
	for line := range strings.Lines(string(status)) {
		if name, rest, found := strings.Cut(line, ":"); found && strings.HasSuffix(line, " kB\n") {
			sizes[name], _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return fmt.Sprintf(`"cpu":%.3f,"anon":%d,"peak":%d`, cpu.Seconds(), sizes["RssAnon"]<<10,
		(sizes["VmHWM"]-sizes["RssFile"])<<10)
}
