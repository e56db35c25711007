package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// How long one check may take.
const patience = 30 * time.Second

type check struct {
	name string
	body func(*trial)
}

// trial is one run of a check.
type trial struct {
	name, endpoint, etcdctl string
	// How many expectations held.
	seen    int
	failure string
	ctx     context.Context
}

// giveUp ends a check at its first failure.
type giveUp struct{}

func (t *trial) run(body func(*trial)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t.ctx = ctx
	defer func() {
		if thrown := recover(); thrown != nil {
			if _, ours := thrown.(giveUp); !ours {
				panic(thrown)
			}
		}
	}()
	body(t)
	if t.seen == 0 {
		t.failure = "it saw nothing"
	}
}

func (t *trial) fail(format string, args ...any) {
	t.failure = fmt.Sprintf(format, args...)
	panic(giveUp{})
}

func (t *trial) equal(what string, found, expected any) {
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		t.fail("%s is %v, not %v", what, found, expected)
	}
	t.seen++
}

func (t *trial) is(what string, held bool) {
	if !held {
		t.fail("not so: %s", what)
	}
	t.seen++
}

func (t *trial) ok(what string, err error) {
	if err != nil {
		t.fail("%s: %v", what, err)
	}
	t.seen++
}

// refused is the twin of ok: an error that says this.
func (t *trial) refused(what string, err error, says string) {
	if err == nil {
		t.fail("%s was accepted", what)
	}
	if !strings.Contains(err.Error(), says) {
		t.fail("%s: %v, which does not say %q", what, err, says)
	}
	t.seen++
}

// key is in a key space of this check's own.
func (t *trial) key(name string) string {
	return "interop/" + t.name + "/" + name
}

// client is closed when the check ends.
func (t *trial) client() *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{t.endpoint},
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	})
	t.ok("connect", err)
	context.AfterFunc(t.ctx, func() { client.Close() })
	return client
}

// soon is a deadline for what must not happen.
func (t *trial) soon() context.Context {
	ctx, cancel := context.WithTimeout(t.ctx, 300*time.Millisecond)
	context.AfterFunc(t.ctx, cancel)
	return ctx
}
