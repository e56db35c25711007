package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

var clientChecks = []check{
	{"kv", kv},
	{"txn", txn},
	{"watch", watch},
	{"watch-compacted", watchCompacted},
	{"lease", lease},
	{"session", session},
	{"mutex", mutex},
	{"election", election},
	{"stm", stm},
}

func kv(t *trial) {
	c := t.client()
	for i := range 20 {
		_, err := c.Put(t.ctx, t.key(fmt.Sprintf("%02d", i)), fmt.Sprint(i))
		t.ok("put", err)
	}
	page, err := c.Get(t.ctx, t.key(""), clientv3.WithPrefix(), clientv3.WithLimit(7),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
	t.ok("get", err)
	t.equal("keys in a page", len(page.Kvs), 7)
	t.equal("count", page.Count, 20)
	t.is("there is more", page.More)
	t.equal("the first key", string(page.Kvs[0].Key), t.key("19"))
	old, err := c.Get(t.ctx, t.key(""), clientv3.WithPrefix(), clientv3.WithRev(page.Kvs[6].ModRevision), clientv3.WithCountOnly())
	t.ok("get of an old revision", err)
	t.equal("count then", old.Count, 14)
	deleted, err := c.Delete(t.ctx, t.key("0"), clientv3.WithPrefix(), clientv3.WithPrevKV())
	t.ok("delete", err)
	t.equal("deleted", deleted.Deleted, 10)
	t.equal("previous values", len(deleted.PrevKvs), 10)
	none, err := c.Get(t.ctx, t.key("0"), clientv3.WithPrefix())
	t.ok("get", err)
	t.equal("keys left", len(none.Kvs), 0)
	_, err = c.Get(t.ctx, "a", clientv3.WithRev(page.Header.Revision+1000))
	t.refused("a revision to come", err, "required revision is a future revision")
	_, err = c.Put(t.ctx, "", "v")
	t.refused("an empty key", err, "key is not provided")
}

func txn(t *trial) {
	c := t.client()
	create := func(value string) bool {
		response, err := c.Txn(t.ctx).
			If(clientv3.Compare(clientv3.CreateRevision(t.key("k")), "=", 0)).
			Then(clientv3.OpPut(t.key("k"), value)).
			Else(clientv3.OpGet(t.key("k"))).Commit()
		t.ok("txn", err)
		return response.Succeeded
	}
	t.is("the first creates", create("1"))
	t.is("the second does not", !create("2"))
	inner := clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(t.key("a"), "1")}, nil)
	nested, err := c.Txn(t.ctx).Then(inner, clientv3.OpPut(t.key("b"), "1")).Commit()
	t.ok("nested", err)
	t.equal("responses", len(nested.Responses), 2)
	_, err = c.Txn(t.ctx).Then(inner, clientv3.OpPut(t.key("a"), "2")).Commit()
	t.refused("one key twice", err, "duplicate key")
}

func watch(t *trial) {
	c := t.client()
	first, err := c.Put(t.ctx, t.key("0"), "old")
	t.ok("put", err)
	events := c.Watch(t.ctx, t.key(""), clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision), clientv3.WithPrevKV())
	silent := c.Watch(t.soon(), t.key("0"), clientv3.WithFilterPut())
	for range 9 {
		_, err := c.Put(t.ctx, t.key("0"), "new")
		t.ok("put", err)
	}
	last := first.Header.Revision - 1
	for count := 0; count < 10; {
		response, open := <-events
		t.is("the watch goes on", open && response.Err() == nil)
		for _, event := range response.Events {
			t.is("revisions rise", event.Kv.ModRevision > last)
			last = event.Kv.ModRevision
			t.equal("a previous value", event.PrevKv != nil, count > 0)
			count++
		}
	}
	for response := range silent {
		t.equal("events of a filtered watch", len(response.Events), 0)
	}
	t.ok("ask for progress", c.RequestProgress(t.ctx))
}

func watchCompacted(t *trial) {
	c := t.client()
	first, err := c.Put(t.ctx, t.key("0"), "a")
	t.ok("put", err)
	second, err := c.Put(t.ctx, t.key("0"), "b")
	t.ok("put", err)
	_, err = c.Compact(t.ctx, second.Header.Revision)
	t.ok("compact", err)
	response := <-c.Watch(t.ctx, t.key("0"), clientv3.WithRev(first.Header.Revision))
	t.is("it is cancelled", response.Canceled)
	t.equal("the compact revision", response.CompactRevision, second.Header.Revision)
	response = <-c.Watch(t.ctx, t.key("0"), clientv3.WithRev(second.Header.Revision))
	t.ok("a watch from the compact revision", response.Err())
	t.equal("events", len(response.Events), 1)
}

func lease(t *trial) {
	c := t.client()
	short, err := c.Grant(t.ctx, 2)
	t.ok("grant", err)
	kept, err := c.Grant(t.ctx, 2)
	t.ok("grant", err)
	_, err = c.Put(t.ctx, t.key("short"), "", clientv3.WithLease(short.ID))
	t.ok("put", err)
	_, err = c.Put(t.ctx, t.key("kept"), "", clientv3.WithLease(kept.ID))
	t.ok("put", err)
	alive, err := c.KeepAlive(t.ctx, kept.ID)
	t.ok("keep alive", err)
	ended := c.Watch(t.ctx, t.key("short"))
	<-alive
	response := <-ended
	t.ok("wait for the end of the lease", response.Err())
	t.is("the key is deleted", !response.Events[0].IsCreate() && response.Events[0].Type == clientv3.EventTypeDelete)
	t.is("the other is kept alive", (<-alive).TTL == 2)
	left, err := c.Get(t.ctx, t.key(""), clientv3.WithPrefix())
	t.ok("get", err)
	t.equal("keys left", len(left.Kvs), 1)
	_, err = c.Put(t.ctx, t.key("short"), "", clientv3.WithLease(short.ID))
	t.refused("a lease that ended", err, "requested lease not found")
	_, err = c.Revoke(t.ctx, kept.ID)
	t.ok("revoke", err)
	gone, err := c.TimeToLive(t.ctx, kept.ID)
	t.ok("time to live", err)
	t.equal("remaining", gone.TTL, -1)
}

func session(t *trial) {
	c := t.client()
	s, err := concurrency.NewSession(c, concurrency.WithTTL(2))
	t.ok("open a session", err)
	_, err = c.Put(t.ctx, t.key("mine"), "", clientv3.WithLease(s.Lease()))
	t.ok("put", err)
	select {
	case <-s.Done():
		t.fail("the session ended by itself")
	case <-time.After(3 * time.Second):
		t.seen++
	}
	s.Orphan()
	_, err = c.Revoke(t.ctx, s.Lease())
	t.ok("revoke", err)
	gone, err := c.Get(t.ctx, t.key("mine"))
	t.ok("get", err)
	t.equal("keys of a session that ended", gone.Count, 0)
}

func sessions(t *trial) (*concurrency.Session, *concurrency.Session) {
	one, err := concurrency.NewSession(t.client(), concurrency.WithTTL(5))
	t.ok("open a session", err)
	two, err := concurrency.NewSession(t.client(), concurrency.WithTTL(5))
	t.ok("open a session", err)
	return one, two
}

func mutex(t *trial) {
	one, two := sessions(t)
	first, second := concurrency.NewMutex(one, t.key("m")), concurrency.NewMutex(two, t.key("m"))
	t.ok("lock", first.Lock(t.ctx))
	t.is("the second is refused", errors.Is(second.TryLock(t.ctx), concurrency.ErrLocked))
	t.refused("a lock that is held", second.Lock(t.soon()), "deadline exceeded")
	acquired := make(chan error, 1)
	go func() { acquired <- second.Lock(t.ctx) }()
	t.ok("unlock", first.Unlock(t.ctx))
	t.ok("lock after unlock", <-acquired)
	t.is("the owner is fenced", second.IsOwner().Result.String() == "EQUAL")
	t.ok("close", two.Close())
	t.ok("lock after the session ended", first.Lock(t.ctx))
}

func election(t *trial) {
	one, two := sessions(t)
	first, second := concurrency.NewElection(one, t.key("e")), concurrency.NewElection(two, t.key("e"))
	_, err := first.Leader(t.ctx)
	t.is("nobody leads at first", errors.Is(err, concurrency.ErrElectionNoLeader))
	t.ok("campaign", first.Campaign(t.ctx, "one"))
	t.refused("a campaign against a leader", second.Campaign(t.soon(), "two"), "deadline exceeded")
	observed := second.Observe(t.ctx)
	t.equal("the leader", string((<-observed).Kvs[0].Value), "one")
	t.ok("proclaim", first.Proclaim(t.ctx, "still one"))
	t.equal("the leader's value", string((<-observed).Kvs[0].Value), "still one")
	won := make(chan error, 1)
	go func() { won <- second.Campaign(t.ctx, "two") }()
	t.ok("resign", first.Resign(t.ctx))
	t.ok("campaign after the leader resigned", <-won)
	t.equal("the next leader", string((<-observed).Kvs[0].Value), "two")
}

// Transfers between accounts from several clients at once: the sum stays.
func stm(t *trial) {
	const accounts, each, clients, transfers = 5, 100, 4, 25
	c := t.client()
	for i := range accounts {
		_, err := c.Put(t.ctx, t.key(fmt.Sprint(i)), fmt.Sprint(each))
		t.ok("put", err)
	}
	move := func(c *clientv3.Client, from, to string) error {
		if from == to {
			return nil
		}
		_, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
			var has, gets int
			fmt.Sscan(s.Get(from), &has)
			fmt.Sscan(s.Get(to), &gets)
			s.Put(from, fmt.Sprint(has-1))
			s.Put(to, fmt.Sprint(gets+1))
			return nil
		}, concurrency.WithAbortContext(t.ctx))
		return err
	}
	var wait sync.WaitGroup
	errs := make(chan error, clients*transfers)
	for n := range clients {
		own := t.client()
		wait.Go(func() {
			for i := range transfers {
				errs <- move(own, t.key(fmt.Sprint((n+i)%accounts)), t.key(fmt.Sprint((n+2*i+1)%accounts)))
			}
		})
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		t.ok("transfer", err)
	}
	t.equal("the sum", sum(t, c), accounts*each)
	_, err := c.Put(t.ctx, t.key("0"), "0")
	t.ok("put", err)
	t.is("a changed account changes the sum", sum(t, c) != accounts*each)
	_, err = concurrency.NewSTM(c, func(s concurrency.STM) error { return context.Canceled }, concurrency.WithAbortContext(t.ctx))
	t.is("a transaction that gives up says so", errors.Is(err, context.Canceled))
}

func sum(t *trial, c *clientv3.Client) int {
	all, err := c.Get(t.ctx, t.key(""), clientv3.WithPrefix())
	t.ok("get", err)
	sum := 0
	for _, kv := range all.Kvs {
		n := 0
		fmt.Sscan(string(kv.Value), &n)
		sum += n
	}
	return sum
}
