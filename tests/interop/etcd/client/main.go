// Stock etcd clients against one server: etcdctl, and clientv3 with its concurrency package.
//
// Each check begins with a key space of its own, counts what it saw, and has a twin: what must not be there, must be
// refused, or must wait.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	endpoint := flag.String("endpoint", "", "URL of the server")
	etcdctl := flag.String("etcdctl", "", "path of etcdctl; its checks are left out without")
	only := flag.String("only", "", "run only checks whose name contains this")
	flag.Parse()
	if *endpoint == "" {
		fmt.Fprintln(os.Stderr, "-endpoint is missing")
		os.Exit(2)
	}
	checks := clientChecks
	if *etcdctl != "" {
		checks = append(checks, ctlChecks...)
	}
	checks = append(checks, authChecks...)
	if *etcdctl != "" {
		checks = append(checks, ctlAuthChecks...)
	}
	ran, seen, failed := 0, 0, 0
	for _, check := range checks {
		if !strings.Contains(check.name, *only) {
			continue
		}
		ran++
		it := &trial{name: check.name, endpoint: *endpoint, etcdctl: *etcdctl}
		it.run(check.body)
		seen += it.seen
		if it.failure != "" {
			failed++
			fmt.Printf("FAIL %s after %d: %s\n", it.name, it.seen, it.failure)
			continue
		}
		fmt.Printf("pass %s: %d seen\n", it.name, it.seen)
	}
	fmt.Printf("%d checks of stock clients, %d things seen, %d failed\n", ran, seen, failed)
	if failed > 0 || ran == 0 {
		os.Exit(1)
	}
}
