package main

import (
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// The last of all: while they run, nobody else is let in.
var authChecks = []check{
	{"auth", auth},
}

var ctlAuthChecks = []check{
	{"ctl-auth", ctlAuth},
}

// user is a client with a name and a password.
func (t *trial) user(name, password string) *clientv3.Client {
	client, err := t.login(name, password)
	t.ok("log in as "+name, err)
	return client
}

func (t *trial) login(name, password string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{t.endpoint},
		DialTimeout: 5 * time.Second,
		Username:    name,
		Password:    password,
		Logger:      zap.NewNop(),
	})
}

func auth(t *trial) {
	open := t.client()
	_, err := open.AuthEnable(t.ctx)
	t.refused("enable without root", err, "root user does not exist")
	_, err = open.UserAdd(t.ctx, "root", "r")
	t.ok("add root", err)
	_, err = open.AuthEnable(t.ctx)
	t.refused("enable without root's role", err, "root user does not have root role")
	_, err = open.UserGrantRole(t.ctx, "root", "root")
	t.ok("grant a role that was not made", err)
	_, err = open.UserAdd(t.ctx, "alice", "a")
	t.ok("add alice", err)
	_, err = open.UserAdd(t.ctx, "alice", "b")
	t.refused("add alice again", err, "user name already exists")
	_, err = open.RoleAdd(t.ctx, "own")
	t.ok("add a role", err)
	_, err = open.RoleGrantPermission(t.ctx, "own", t.key(""), clientv3.GetPrefixRangeEnd(t.key("")), clientv3.PermissionType(clientv3.PermReadWrite))
	t.ok("grant keys", err)
	_, err = open.UserGrantRole(t.ctx, "alice", "own")
	t.ok("grant the role", err)
	_, err = open.AuthEnable(t.ctx)
	t.ok("enable", err)

	root := t.user("root", "r")
	defer func() {
		root.AuthDisable(t.ctx)
		for _, name := range []string{"alice", "root"} {
			open.UserDelete(t.ctx, name)
		}
		open.RoleDelete(t.ctx, "own")
	}()
	_, err = open.Get(t.ctx, t.key("k"))
	t.refused("get by nobody", err, "user name is empty")
	_, err = t.login("alice", "b")
	t.refused("a wrong password", err, "authentication failed")
	alice := t.user("alice", "a")
	_, err = alice.Put(t.ctx, t.key("k"), "1")
	t.ok("put of her own", err)
	_, err = alice.Put(t.ctx, "interop/other", "1")
	t.refused("put of others", err, "permission denied")
	_, err = alice.Get(t.ctx, t.key(""), clientv3.WithFromKey())
	t.refused("get of everything behind", err, "permission denied")
	_, err = alice.Txn(t.ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet("interop/other")}, nil)).Commit()
	t.refused("a nested get of others", err, "permission denied")
	_, err = alice.UserList(t.ctx)
	t.refused("list users", err, "permission denied")
	granted, err := alice.Grant(t.ctx, 100)
	t.ok("grant a lease", err)
	_, err = root.Put(t.ctx, "interop/other", "2", clientv3.WithLease(granted.ID))
	t.ok("root ties a key of others to it", err)
	_, err = alice.Revoke(t.ctx, granted.ID)
	t.refused("revoke what holds a key of others", err, "permission denied")

	// A token is renewed by itself: the password changes, and with it the token.
	_, err = root.UserChangePassword(t.ctx, "root", "r2")
	t.ok("change the password", err)
	root = t.user("root", "r2")

	events := alice.Watch(t.ctx, t.key(""), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	created := <-events
	t.is("a watch of her own", created.Created && created.Err() == nil)
	denied := <-alice.Watch(t.ctx, "interop/other")
	t.is("a watch of others is refused", denied.Canceled && strings.Contains(denied.Err().Error(), "permission denied"))
	_, err = alice.Put(t.ctx, t.key("k"), "2")
	t.ok("put", err)
	t.equal("events", len((<-events).Events), 1)
	_, err = root.UserRevokeRole(t.ctx, "alice", "own")
	t.ok("take her role", err)
	_, err = alice.Get(t.ctx, t.key("k"))
	t.refused("get of what was her own", err, "permission denied")
}

func ctlAuth(t *trial) {
	t.prints("User root created", "user", "add", "root", "--new-user-password=r")
	t.prints("User alice created", "user", "add", "alice:a")
	t.prints("User remote created", "user", "add", "remote", "--no-password")
	t.prints("Role own created", "role", "add", "own")
	t.prints("Role own updated", "role", "grant-permission", "own", "readwrite", t.key(""), "--prefix=true")
	t.prints("Role own updated", "role", "grant-permission", "own", "read", "k")
	t.prints("Role own is granted to user alice", "user", "grant-role", "alice", "own")
	end := strings.TrimSuffix(t.key(""), "/") + "0"
	range_ := "\t[" + t.key("") + ", " + end + ") (prefix " + t.key("") + ")"
	t.prints("Role own\nKV Read:\n"+range_+"\n\tk\nKV Write:\n"+range_, "role", "get", "own")
	t.prints("User: alice\nRoles: own", "user", "get", "alice")
	t.prints("Authentication Enabled", "auth", "enable")
	as := func(user string, args ...string) []string { return append(args, "--user", user) }
	t.prints("alice\nremote\nroot", as("root:r", "user", "list")...)
	status, err := t.ctl(as("root:r", "auth", "status")...)
	t.ok("auth status", err)
	t.is("it asks", strings.Contains(status, "Authentication Status: true"))
	t.prints("OK", as("alice:a", "put", t.key("k"), "v")...)
	t.prints(t.key("k")+"\nv", as("alice:a", "get", t.key("k"))...)
	_, err = t.ctl(as("alice:a", "get", "elsewhere")...)
	t.refused("get elsewhere", err, "permission denied")
	_, err = t.ctl(as("alice:b", "get", t.key("k"))...)
	t.refused("a wrong password", err, "authentication failed")
	_, err = t.ctl("get", t.key("k"))
	t.refused("nobody", err, "user name is empty")
	_, err = t.ctl(as("alice:a", "snapshot", "save", "/dev/null/x")...)
	t.refused("a snapshot by alice", err, "")
	out, err := t.ctlWith("a2\n", as("root:r", "user", "passwd", "alice", "--interactive=false")...)
	t.ok("change a password", err)
	t.equal("what it printed", out, "Password updated")
	t.prints(t.key("k")+"\nv", as("alice:a2", "get", t.key("k"))...)
	t.prints("Role own is revoked from user alice", as("root:r", "user", "revoke-role", "alice", "own")...)
	_, err = t.ctl(as("alice:a2", "get", t.key("k"))...)
	t.refused("get without the role", err, "permission denied")
	t.prints("User alice deleted", as("root:r", "user", "delete", "alice")...)
	t.prints("Role own deleted", as("root:r", "role", "delete", "own")...)
	_, err = t.ctl(as("root:r", "user", "delete", "root")...)
	t.refused("delete root", err, "invalid auth management")
	t.prints("Authentication Disabled", as("root:r", "auth", "disable")...)
}
