// Cilium's own packages as peers. Without a word in front of the flags: its kvstore client against one server, what its
// agents do to their store; each check has a twin, what must be refused, or must not be there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/cilium/cilium/pkg/kvstore"
)

// Beyond one page of a list, which has 256 keys.
const many = 600

const patience = 60 * time.Second

// shop is one run against one server.
type shop struct {
	ctx      context.Context
	endpoint string
	client   kvstore.BackendOperations
	// How many expectations held.
	seen int
}

func (s *shop) is(what string, held bool, err error) {
	if err != nil {
		s.end("%s: %v", what, err)
	}
	if !held {
		s.end("not so: %s", what)
	}
	s.seen++
}

func (s *shop) end(format string, args ...any) {
	fmt.Printf("FAIL after %d: %s\n", s.seen, fmt.Sprintf(format, args...))
	os.Exit(1)
}

func main() {
	if len(os.Args) > 1 && os.Args[1][0] != '-' {
		act(os.Args[1], os.Args[2:])
		return
	}
	endpoint := flag.String("endpoint", "", "URL of the server")
	try := flag.String("try-lock", "", "only try to take this lock, for half a second")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := &shop{ctx: ctx, endpoint: *endpoint}
	s.client = s.connect()
	if *try != "" {
		s.tryLock(*try)
	}
	for _, check := range []struct {
		name string
		body func(*shop)
	}{{"keys", keys}, {"lists", lists}, {"leases", leases}, {"events", events}, {"locks", locks}, {"users", users}} {
		before := s.seen
		check.body(s)
		fmt.Printf("pass %s: %d seen\n", check.name, s.seen-before)
	}
	fmt.Printf("6 checks of Cilium's kvstore client, %d things seen, 0 failed\n", s.seen)
}

func (s *shop) connect() kvstore.BackendOperations {
	options := map[string]string{"etcd.address": s.endpoint, "etcd.qps": "10000", "etcd.bootstrapQps": "10000"}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	client, connected := kvstore.NewClient(s.ctx, logger, "etcd", options, kvstore.ExtraOptions{ClusterName: "interop"})
	select {
	case err := <-connected:
		s.is("connect", client != nil, err)
	case <-time.After(10 * time.Second):
		s.end("no connection to %s", s.endpoint)
	}
	return client
}

func keys(s *shop) {
	created, err := s.client.CreateOnly(s.ctx, "interop/keys/a", []byte("1"), false)
	s.is("the first creates", created, err)
	created, err = s.client.CreateOnly(s.ctx, "interop/keys/a", []byte("2"), false)
	s.is("the second does not", !created, err)
	changed, err := s.client.UpdateIfDifferent(s.ctx, "interop/keys/a", []byte("1"), false)
	s.is("an equal value is not written", !changed, err)
	changed, err = s.client.UpdateIfDifferent(s.ctx, "interop/keys/a", []byte("3"), false)
	s.is("another is", changed, err)
	value, err := s.client.Get(s.ctx, "interop/keys/a")
	s.is("it is read", string(value) == "3", err)
	s.is("delete", true, s.client.Delete(s.ctx, "interop/keys/a"))
	value, err = s.client.Get(s.ctx, "interop/keys/a")
	s.is("it is gone", value == nil, err)
}

func lists(s *shop) {
	for i := range many {
		s.is("update", true, s.client.Update(s.ctx, fmt.Sprintf("interop/lists/%04d", i), []byte("x"), false))
	}
	pairs, err := s.client.ListPrefix(s.ctx, "interop/lists/")
	s.is("all are listed", len(pairs) == many, err)
	s.is("delete all", true, s.client.DeletePrefix(s.ctx, "interop/lists/00"))
	pairs, err = s.client.ListPrefix(s.ctx, "interop/lists/")
	s.is("a hundred are gone", len(pairs) == many-100, err)
}

func leases(s *shop) {
	s.is("update with a lease", true, s.client.Update(s.ctx, "interop/leases/a", []byte("1"), true))
	pairs, err := s.client.ListPrefix(s.ctx, "interop/leases/")
	s.is("the key has one", pairs["interop/leases/a"].LeaseID != 0, err)
	s.is("update without", true, s.client.Update(s.ctx, "interop/leases/a", []byte("2"), false))
	pairs, err = s.client.ListPrefix(s.ctx, "interop/leases/")
	s.is("the key has none", pairs["interop/leases/a"].LeaseID == 0, err)
}

func events(s *shop) {
	for i := range many {
		s.is("update", true, s.client.Update(s.ctx, fmt.Sprintf("interop/events/%04d", i), []byte("x"), false))
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	channel := s.client.ListAndWatch(ctx, "interop/events/")
	next := func() kvstore.KeyValueEvent {
		select {
		case event := <-channel:
			return event
		case <-time.After(10 * time.Second):
			s.end("no event came")
			panic("unreachable")
		}
	}
	for range many {
		event := next()
		s.is("what is there is listed first", event.Typ == kvstore.EventTypeCreate, nil)
	}
	s.is("the list ends", next().Typ == kvstore.EventTypeListDone, nil)
	s.is("update", true, s.client.Update(s.ctx, "interop/events/0000", []byte("y"), false))
	event := next()
	s.is("a change", event.Typ == kvstore.EventTypeModify && string(event.Value) == "y", nil)
	s.is("delete", true, s.client.Delete(s.ctx, "interop/events/0000"))
	event = next()
	s.is("a deletion", event.Typ == kvstore.EventTypeDelete && event.Key == "interop/events/0000", nil)
	s.is("update elsewhere", true, s.client.Update(s.ctx, "interop/elsewhere", []byte("y"), false))
	select {
	case event := <-channel:
		s.end("an event of another prefix: %v", event)
	case <-time.After(300 * time.Millisecond):
		s.seen++
	}
}

func locks(s *shop) {
	lock, err := s.client.LockPath(s.ctx, "interop/locks/a")
	s.is("lock", lock != nil, err)
	created, err := s.client.CreateOnlyIfLocked(s.ctx, "interop/locks/key", []byte("1"), false, lock)
	s.is("create under the lock", created, err)
	s.is("another process is kept out", s.another("interop/locks/a") != nil, nil)
	s.is("another lock is free", true, s.another("interop/locks/b"))
	s.is("unlock", true, lock.Unlock(s.ctx))
	s.is("now it gets in", true, s.another("interop/locks/a"))
	err = s.client.UpdateIfLocked(s.ctx, "interop/locks/key", []byte("2"), false, lock)
	s.is("a lock that was given back guards nothing", errors.Is(err, kvstore.ErrLockLeaseExpired), nil)
}

// another tries a lock in a process of its own: locks within one process do not reach the server.
func (s *shop) another(path string) error {
	return exec.CommandContext(s.ctx, os.Args[0], "-endpoint", s.endpoint, "-try-lock", path).Run()
}

func (s *shop) tryLock(path string) {
	ctx, cancel := context.WithTimeout(s.ctx, 500*time.Millisecond)
	defer cancel()
	lock, err := s.client.LockPath(ctx, path)
	s.is("lock "+path, lock != nil, err)
	s.is("unlock", true, lock.Unlock(s.ctx))
	os.Exit(0)
}
