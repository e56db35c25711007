package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cilium/cilium/pkg/allocator"
	"github.com/cilium/cilium/pkg/identity/key"
	"github.com/cilium/cilium/pkg/labels"
)

// taker takes identities as fast as it can: one allocator asked by several, or several allocators, each of a node of its
// own, that all ask for the same.
type taker struct {
	options
	ctx   context.Context
	nodes []*allocator.Allocator
}

func newTaker(ctx context.Context, o options, log *slog.Logger) (part, error) {
	t := &taker{options: o, ctx: ctx}
	for node := range max(o.number, 1) {
		client, err := dial(ctx, log, o)
		if err != nil {
			return nil, err
		}
		identities, _, err := newAllocator(ctx, log, client, o, fmt.Sprintf("172.20.8.%d", node+1))
		if err != nil {
			return nil, err
		}
		t.nodes = append(t.nodes, identities)
	}
	return t, nil
}

// takenLabels are about 200 bytes.
func takenLabels(run string, number int) *key.GlobalIdentity {
	set := map[string]string{
		"k8s:app": fmt.Sprintf("app-%s-%06d", run, number),
		"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": "shop",
		"k8s:io.cilium.k8s.policy.cluster":                               "east",
		"k8s:io.cilium.k8s.policy.serviceaccount":                        "default",
		"k8s:io.kubernetes.pod.namespace":                                "shop",
	}
	return &key.GlobalIdentity{LabelArray: labels.Map2Labels(set, "").LabelArray()}
}

// do knows "take RUN COUNT WORKERS": label sets of this run by several workers; with several nodes each of them takes all
// of them by itself.
func (t *taker) do(command string) error {
	var run string
	var count, workers int
	if _, err := fmt.Sscanf(command, "take %s %d %d", &run, &count, &workers); err != nil {
		return err
	}
	started := time.Now()
	var group sync.WaitGroup
	failures := make(chan error, len(t.nodes)*workers)
	for _, node := range t.nodes {
		for worker := range workers {
			group.Go(func() {
				for number := worker; number < count; number += workers {
					if _, _, _, err := node.Allocate(t.ctx, takenLabels(run, number)); err != nil {
						failures <- err
						return
					}
				}
			})
		}
	}
	group.Wait()
	close(failures)
	taken := count * len(t.nodes)
	fmt.Printf(`{"taken":%d,"seconds":%.4f,%s}`+"\n", taken, time.Since(started).Seconds(), costs())
	return <-failures
}
