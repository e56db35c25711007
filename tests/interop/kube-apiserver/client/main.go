// A stock client of a Kubernetes API server: creates objects, watches, pages and updates them while the store below the
// server is killed and comes back, and says whether anything was lost. It prints a line where its caller may act.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const workers = 20

func main() {
	server := flag.String("server", "", "URL of the API server")
	token := flag.String("token", "", "bearer token")
	objects := flag.Int("objects", 5000, "objects")
	flag.Parse()
	config := &rest.Config{Host: *server, BearerToken: *token, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	client, err := kubernetes.NewForConfig(config)
	check(err)
	trial := &trial{maps: client.CoreV1().ConfigMaps("default"), objects: *objects, figures: map[string]float64{}}
	trial.waitForNamespace(client)
	trial.run()
}

type trial struct {
	maps    typed.ConfigMapInterface
	objects int
	figures map[string]float64
}

func (t *trial) run() {
	seen := watch(t.maps, "")
	t.timed("create_s", func() {
		t.each(func(number int) error {
			_, err := t.maps.Create(context.Background(), object(number, "1"), metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
	})
	t.timed("list_pages_s", func() { t.expect(t.pages(), "1") })
	t.timed("list_s", func() {
		listed, err := t.maps.List(context.Background(), metav1.ListOptions{})
		check(err)
		t.expect(listed.Items, "1")
	})
	var updated atomic.Int64
	t.timed("update_s", func() {
		t.each(func(number int) error {
			current, err := t.maps.Get(context.Background(), name(number), metav1.GetOptions{})
			if err != nil {
				return err
			}
			if current.Data["v"] != "2" {
				current.Data["v"] = "2"
				if _, err = t.maps.Update(context.Background(), current, metav1.UpdateOptions{}); err != nil {
					return err
				}
			}
			if updated.Add(1) == int64(t.objects/2) {
				fmt.Println("half of the objects are updated")
			}
			return nil
		})
	})
	listed := t.pages()
	t.expect(listed, "2")
	seen.waitFor(listed)
	t.timed("storm_s", t.storm)
	check(json.NewEncoder(os.Stdout).Encode(t.figures))
}

// Every watcher is told of every change.
func (t *trial) storm() {
	const watchers, changes = 50, 200
	var all []*watcher
	listed, err := t.maps.List(context.Background(), metav1.ListOptions{Limit: 1})
	check(err)
	for range watchers {
		all = append(all, watch(t.maps, listed.ResourceVersion))
	}
	last := t.pages()[:changes]
	var wait sync.WaitGroup
	for i := range last {
		wait.Add(1)
		go func() {
			defer wait.Done()
			retry(func() error {
				current, err := t.maps.Get(context.Background(), last[i].Name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				current.Data["v"] = "3"
				current, err = t.maps.Update(context.Background(), current, metav1.UpdateOptions{})
				if err == nil {
					last[i] = *current
				}
				return err
			})
		}()
	}
	wait.Wait()
	for _, one := range all {
		one.waitFor(last)
	}
}

func (t *trial) pages() []corev1.ConfigMap {
	var all []corev1.ConfigMap
	options := metav1.ListOptions{Limit: 500}
	for {
		var page *corev1.ConfigMapList
		retry(func() (err error) {
			page, err = t.maps.List(context.Background(), options)
			return err
		})
		all = append(all, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return all
		}
	}
}

func (t *trial) expect(listed []corev1.ConfigMap, version string) {
	names := map[string]bool{}
	for _, one := range listed {
		if one.Data["v"] == version {
			names[one.Name] = true
		}
	}
	for number := range t.objects {
		if !names[name(number)] {
			log.Fatalf("%s is not there with %s", name(number), version)
		}
	}
}

func (t *trial) each(do func(int) error) {
	var next atomic.Int64
	var wait sync.WaitGroup
	for range workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for number := int(next.Add(1)) - 1; number < t.objects; number = int(next.Add(1)) - 1 {
				retry(func() error { return do(number) })
			}
		}()
	}
	wait.Wait()
}

func (t *trial) timed(figure string, do func()) {
	began := time.Now()
	do()
	t.figures[figure] = time.Since(began).Seconds()
}

func (t *trial) waitForNamespace(client *kubernetes.Clientset) {
	retry(func() error {
		_, err := client.CoreV1().Namespaces().Get(context.Background(), "default", metav1.GetOptions{})
		return err
	})
}

func name(number int) string { return fmt.Sprintf("object-%05d", number) }

func object(number int, version string) *corev1.ConfigMap {
	pad := make([]byte, 800)
	for i := range pad {
		pad[i] = 'p'
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name(number)},
		Data:       map[string]string{"v": version, "pad": string(pad)},
	}
}

// What fails while the store is away is tried again; what never goes well ends the trial.
func retry(do func() error) {
	var err error
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	log.Fatalf("it does not go well for a minute: %v", err)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
