package main

import (
	_ "go.etcd.io/etcd/client/v3/concurrency"
)

func main() {}
