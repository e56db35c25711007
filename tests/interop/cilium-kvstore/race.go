package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cilium/cilium/pkg/allocator"
	"github.com/cilium/cilium/pkg/identity/key"
	"github.com/cilium/cilium/pkg/kvstore"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/rate"
)

// racer takes and gives back identities as fast as it can, as one agent of several; or collects garbage, as an operator.
type racer struct {
	options
	ctx        context.Context
	log        *slog.Logger
	client     client
	identities *allocator.Allocator
	collector  *allocator.Allocator
	held       []*key.GlobalIdentity
	unused     map[string]uint64
	locks      map[string]*kvstore.Lock
}

// How many label sets a racer uses at a time.
const inUse = 30

func newRacer(ctx context.Context, o options, log *slog.Logger) (part, error) {
	r := &racer{options: o, ctx: ctx, log: log, unused: map[string]uint64{}, locks: map[string]*kvstore.Lock{}}
	var err error
	if r.client, err = dial(ctx, log, o); err != nil {
		return nil, err
	}
	r.identities, r.collector, err = newAllocator(ctx, log, r.client, o, fmt.Sprintf("172.20.9.%d", o.number))
	return r, err
}

// raceLabels are those of the fleet's pods with this label app.
func raceLabels(cluster string, app int) *key.GlobalIdentity {
	set := map[string]string{
		"k8s:app":                         fmt.Sprintf("app-%d", app),
		"k8s:io.kubernetes.pod.namespace": "demo",
		"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "demo",
		"k8s:io.cilium.k8s.policy.cluster":                               cluster,
		"k8s:io.cilium.k8s.policy.serviceaccount":                        fmt.Sprintf("sa-%d", app%7),
	}
	if app%10 == 9 {
		set["k8s:empty"], set["k8s:example.com/a.b_c-d"] = "", "x.y-1"
	}
	return &key.GlobalIdentity{LabelArray: labels.Map2Labels(set, "").LabelArray()}
}

// do knows "churn OPERATIONS SETS", "collect", "lock PATH" and "unlock PATH".
func (r *racer) do(command string) error {
	words := strings.Fields(command)
	switch {
	case len(words) == 3 && words[0] == "churn":
		var operations, sets int
		if _, err := fmt.Sscan(words[1]+" "+words[2], &operations, &sets); err != nil {
			return err
		}
		r.churn(operations, sets)
		return nil
	case command == "collect":
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		defer cancel()
		unused, stats, err := r.collector.RunGC(ctx, rate.NewLimiter(time.Second, 1000), r.unused)
		if err == nil {
			r.unused = unused
			fmt.Println("collected", "numbers", stats.Deleted)
		}
		return err
	case len(words) == 2 && words[0] == "lock":
		started := time.Now()
		lock, err := kvstore.LockPath(r.ctx, r.log, r.client, words[1])
		if err == nil {
			r.locks[words[1]] = lock
			fmt.Println("waited", "ms", time.Since(started).Milliseconds())
		}
		return err
	case len(words) == 2 && words[0] == "unlock":
		return r.locks[words[1]].Unlock(r.ctx)
	}
	return fmt.Errorf("there is no such command")
}

func (r *racer) churn(operations, sets int) {
	taken, failed := 0, 0
	for range operations {
		ctx, cancel := context.WithTimeout(r.ctx, 5*time.Second)
		if len(r.held) >= inUse {
			if _, err := r.identities.Release(ctx, r.held[0]); err != nil {
				failed++
			}
			r.held = r.held[1:]
		}
		labels := raceLabels(r.cluster, rand.IntN(sets)+1)
		if _, _, _, err := r.identities.Allocate(ctx, labels); err != nil {
			failed++
		} else {
			r.held = append(r.held, labels)
			taken++
		}
		cancel()
	}
	fmt.Println("did", "churn", taken, failed)
}
