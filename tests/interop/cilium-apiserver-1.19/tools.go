// Package tools pins Cilium's clustermesh-apiserver, which is built as it is.
package tools

import _ "github.com/cilium/cilium/clustermesh-apiserver/cmd"
