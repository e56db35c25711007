package main

import (
	"context"
	"log"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubewatch "k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
)

// A watch that goes on from the last it was told when it breaks: the server must not say that this is too old.
type watcher struct {
	mutex sync.Mutex
	last  map[string]string
}

func watch(maps typed.ConfigMapInterface, from string) *watcher {
	w := &watcher{last: map[string]string{}}
	if from == "" {
		retry(func() error {
			listed, err := maps.List(context.Background(), metav1.ListOptions{})
			if err == nil {
				from = listed.ResourceVersion
			}
			return err
		})
	}
	go func() {
		for {
			stream, err := maps.Watch(context.Background(), metav1.ListOptions{ResourceVersion: from, AllowWatchBookmarks: true})
			if err != nil {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			for event := range stream.ResultChan() {
				if event.Type == kubewatch.Error {
					log.Printf("a watch ended: %v", event.Object)
					break
				}
				object, ok := event.Object.(*corev1.ConfigMap)
				if !ok {
					continue
				}
				from = object.ResourceVersion
				if event.Type != kubewatch.Bookmark {
					w.mutex.Lock()
					w.last[object.Name] = object.ResourceVersion
					w.mutex.Unlock()
				}
			}
		}
	}()
	return w
}

// Waits until the watch told of each of these as it is.
func (w *watcher) waitFor(objects []corev1.ConfigMap) {
	var missing string
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(20 * time.Millisecond) {
		missing = ""
		w.mutex.Lock()
		for _, object := range objects {
			if w.last[object.Name] != object.ResourceVersion {
				missing = object.Name
				break
			}
		}
		w.mutex.Unlock()
		if missing == "" {
			return
		}
	}
	log.Fatalf("no watch event for %s as it is", missing)
}
