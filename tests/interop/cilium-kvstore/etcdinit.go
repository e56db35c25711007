package main

import (
	"fmt"
	"io"
	"log/slog"

	etcdinit "github.com/cilium/cilium/pkg/kvstore/etcdinit"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The users and roles of a clustermesh etcd, made by Cilium's own initialisation. It ends with nobody let in without a
// certificate, so it comes last; a user with a password, whom it knows nothing of, looks at what it made.
func users(s *shop) {
	open := s.etcd("", "")
	_, err := open.UserAdd(s.ctx, "inspector", "let me in")
	s.is("add a user with a password", true, err)
	// The role is not there: it is root's.
	_, err = open.UserGrantRole(s.ctx, "inspector", "root")
	s.is("grant root's role before it is made", true, err)
	_, err = open.Put(s.ctx, "cilium/state/nodes/v1/west/node", "x")
	s.is("put", true, err)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	s.is("etcdinit", true, etcdinit.ClusterMeshEtcdInit(s.ctx, quiet, open, "west"))

	_, err = open.Get(s.ctx, "cilium/state/nodes/v1/west/node")
	s.is("nobody is let in", err != nil && err.Error() == "etcdserver: user name is empty", nil)
	_, err = clientv3.New(s.config("remote", "x"))
	s.is("a user without a password has none to give", err != nil, nil)
	inspector := s.etcd("inspector", "let me in")
	list, err := inspector.UserList(s.ctx)
	s.is("list users", fmt.Sprint(list.Users) == "[admin-west inspector local-west remote root]", err)
	roles, err := inspector.RoleList(s.ctx)
	s.is("root's role is not among the roles", fmt.Sprint(roles.Roles) == "[local remote]", err)
	_, err = inspector.RoleGet(s.ctx, "root")
	s.is("nor found", err != nil && err.Error() == "etcdserver: role name not found", nil)
	for user, expected := range map[string]string{
		"root": "[root]", "admin-west": "[root]", "local-west": "[local]", "remote": "[remote]",
	} {
		got, err := inspector.UserGet(s.ctx, user)
		s.is("the roles of "+user, fmt.Sprint(got.Roles) == expected, err)
	}
	for role, expected := range map[string]string{
		"local": "READ cilium/.heartbeat cilium/.heartbeau; READ cilium/cache/ cilium/cache0; " +
			"READ cilium/cluster-config/ cilium/cluster-config0; READ cilium/synced/ cilium/synced0; ",
		"remote": "READ cilium/.heartbeat cilium/.heartbeau; READ cilium/cluster-config/west ; " +
			"READ cilium/state/ cilium/state0; READ cilium/synced/west/ cilium/synced/west0; ",
	} {
		got, err := inspector.RoleGet(s.ctx, role)
		s.is("get role "+role, true, err)
		shown := ""
		for _, permission := range got.Perm {
			shown += fmt.Sprintf("%s %s %s; ", permission.PermType, permission.Key, permission.RangeEnd)
		}
		s.is("what "+role+" may: "+shown, shown == expected, nil)
	}
	// What a reader of the mesh may is seen with a password in place of its certificate.
	_, err = inspector.UserAdd(s.ctx, "remote-east", "p")
	s.is("add a reader", true, err)
	_, err = inspector.UserGrantRole(s.ctx, "remote-east", "remote")
	s.is("grant", true, err)
	reader := s.etcd("remote-east", "p")
	nodes, err := reader.Get(s.ctx, "cilium/state/nodes/v1/", clientv3.WithPrefix())
	s.is("it reads the state", len(nodes.Kvs) == 1, err)
	_, err = reader.Get(s.ctx, "cilium/.heartbeat", clientv3.WithPrefix())
	s.is("it reads the heartbeat", true, err)
	for _, refused := range []func() error{
		func() error { _, err := reader.Get(s.ctx, "cilium/cache/", clientv3.WithPrefix()); return err },
		func() error { _, err := reader.Get(s.ctx, "cilium/state/", clientv3.WithFromKey()); return err },
		func() error { _, err := reader.Put(s.ctx, "cilium/state/nodes/v1/west/node", "y"); return err },
		func() error { _, err := reader.UserList(s.ctx); return err },
	} {
		err := refused()
		s.is("what is not its own is refused", err != nil && err.Error() == "etcdserver: permission denied", nil)
	}
}

func (s *shop) config(user, password string) clientv3.Config {
	return clientv3.Config{Endpoints: []string{s.endpoint}, Username: user, Password: password, Context: s.ctx}
}

func (s *shop) etcd(user, password string) *clientv3.Client {
	client, err := clientv3.New(s.config(user, password))
	s.is("connect as "+user, client != nil, err)
	return client
}
