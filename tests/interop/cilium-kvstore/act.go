package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/key"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/kvstore/store"
	"github.com/cilium/cilium/pkg/option"
)

// options of a part that Cilium's packages play beside ours.
type options struct {
	endpoint, cluster, mesh string
	id, number              uint
	ttl                     time.Duration
	// Somebody else is the cluster's operator.
	within bool
	// What a benchmark measures: how far a reader goes; keys of a page of a list, 0 for the client's own.
	stage string
	page  uint
}

// part plays until its input ends: a line is a command, and what it prints ends with the line "end".
type part interface {
	do(command string) error
}

// act plays one part: "publish" is a cluster that Cilium writes, "stock" is its agent's remote-cluster code, "inside"
// reads the store as an agent of the same cluster does, "race" takes identities as one of many; "read" and "allocate" are
// what ours is measured beside.
func act(name string, args []string) {
	var o options
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	flags.StringVar(&o.endpoint, "endpoint", "", "URL of the server")
	flags.StringVar(&o.cluster, "cluster", "", "name of the cluster")
	flags.UintVar(&o.id, "id", 0, "number of the cluster")
	flags.UintVar(&o.number, "number", 0, "of this writer among several")
	flags.StringVar(&o.mesh, "mesh", "", "directory of client files")
	flags.BoolVar(&o.within, "within", false, "the cluster has a configuration already")
	flags.StringVar(&o.stage, "stage", "map", "how far to read: list, decode, table or map")
	flags.UintVar(&o.page, "page", 0, "keys of a page of a list")
	flags.DurationVar(&o.ttl, "ttl", 15*time.Minute, "time to live of leases")
	flags.Parse(args)

	complaints := &complaints{}
	slog.SetDefault(slog.New(complaints))
	option.Config.IdentityAllocationMode = option.IdentityAllocationModeKVstore
	option.Config.ClusterID = uint32(o.id)
	option.Config.ClusterName = o.cluster
	ctx := context.Background()
	parts := map[string]func(context.Context, options, *slog.Logger) (part, error){
		"publish": newPublisher, "stock": newStock, "inside": newInside, "race": newRacer,
		"read": newReader, "allocate": newTaker,
	}
	create, known := parts[name]
	if !known {
		fmt.Println("error: there is no part", name)
		os.Exit(2)
	}
	part, err := create(ctx, o, slog.Default())
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("end")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if err := part.do(lines.Text()); err != nil {
			fmt.Printf("error: %s: %v\n", lines.Text(), err)
		}
		complaints.print(os.Stdout)
		fmt.Println("end")
	}
}

// client is what kvstore.Client asks for beside its operations.
type client struct{ kvstore.BackendOperations }

func (client) IsEnabled() bool { return true }

func dial(ctx context.Context, log *slog.Logger, o options) (client, error) {
	words := map[string]string{"etcd.address": o.endpoint, "etcd.qps": "10000", "etcd.bootstrapQps": "10000"}
	if o.page != 0 {
		words["etcd.limit"] = strconv.Itoa(int(o.page))
	}
	extra := kvstore.ExtraOptions{ClusterName: o.cluster, LeaseTTL: o.ttl, MaxConsecutiveQuorumErrors: 2}
	operations, connected := kvstore.NewClient(ctx, log, kvstore.EtcdBackendName, words, extra)
	select {
	case err := <-connected:
		return client{operations}, err
	case <-time.After(20 * time.Second):
		return client{}, fmt.Errorf("no connection to %s", o.endpoint)
	}
}

func factory(log *slog.Logger) store.Factory { return store.NewFactory(log, store.MetricsProvider()) }

// owner is whom an identity allocator works for.
type owner struct {
	suffix string
	notes  *notes
}

func (o owner) UpdateIdentities(added, deleted identity.IdentityMap) <-chan struct{} {
	for number := range deleted {
		o.notes.drop("identity", number.StringID())
	}
	for number, labels := range added {
		o.notes.put("identity", number.StringID(), (&key.GlobalIdentity{LabelArray: labels}).GetKey())
	}
	done := make(chan struct{})
	close(done)
	return done
}

func (o owner) GetNodeSuffix() string { return o.suffix }

// complaints are the warnings and errors that Cilium's packages logged.
type complaints struct {
	mutex  sync.Mutex
	lines  []string
	shared *complaints
	attrs  string
}

func (c *complaints) root() *complaints {
	if c.shared != nil {
		return c.shared
	}
	return c
}

func (c *complaints) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}

func (c *complaints) Handle(_ context.Context, record slog.Record) error {
	line := record.Level.String() + " " + record.Message + c.attrs
	record.Attrs(func(attr slog.Attr) bool {
		line += " " + attr.String()
		return true
	})
	root := c.root()
	root.mutex.Lock()
	defer root.mutex.Unlock()
	root.lines = append(root.lines, strings.ReplaceAll(line, "\n", " "))
	return nil
}

func (c *complaints) WithAttrs(attrs []slog.Attr) slog.Handler {
	more := c.attrs
	for _, attr := range attrs {
		more += " " + attr.String()
	}
	return &complaints{shared: c.root(), attrs: more}
}

func (c *complaints) WithGroup(string) slog.Handler { return c }

// print writes what was said since it was last called.
func (c *complaints) print(to io.Writer) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, line := range c.lines {
		fmt.Fprintln(to, "complaint", line)
	}
	c.lines = nil
}
