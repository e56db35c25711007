package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

var ctlChecks = []check{
	{"ctl-kv", ctlKV},
	{"ctl-txn", ctlTxn},
	{"ctl-watch", ctlWatch},
	{"ctl-lease", ctlLease},
	{"ctl-compaction", ctlCompaction},
	{"ctl-endpoint", ctlEndpoint},
	{"ctl-snapshot", ctlSnapshot},
	{"ctl-lock", ctlLock},
	{"ctl-elect", ctlElect},
}

// ctl runs etcdctl and returns what it printed, without the last line break.
func (t *trial) ctl(args ...string) (string, error) {
	return t.ctlWith("", args...)
}

func (t *trial) ctlWith(input string, args ...string) (string, error) {
	command := t.command(args...)
	command.Stdin = strings.NewReader(input)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, said.String())
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

func (t *trial) command(args ...string) *exec.Cmd {
	command := exec.CommandContext(t.ctx, t.etcdctl, append([]string{"--endpoints", t.endpoint}, args...)...)
	return command
}

// prints is what a command printed exactly.
func (t *trial) prints(expected string, args ...string) {
	out, err := t.ctl(args...)
	t.ok(strings.Join(args, " "), err)
	t.equal("what etcdctl "+strings.Join(args, " ")+" printed", out, expected)
}

// object is what a command printed as JSON.
func (t *trial) object(into any, args ...string) {
	out, err := t.ctl(append(args, "-w", "json")...)
	t.ok(strings.Join(args, " "), err)
	t.ok("parse what etcdctl printed", json.Unmarshal([]byte(out), into))
}

func ctlKV(t *trial) {
	k := t.key
	t.prints("OK", "put", k("a"), "1")
	t.prints("OK\n"+k("a")+"\n1", "put", "--prev-kv", k("a"), "2")
	t.prints("OK", "put", k("b"), "3")
	t.prints("OK", "put", "--ignore-value", k("b"))
	t.prints("OK", "put", k("c"), "0")
	t.prints("2\n3\n0", "get", k(""), "--prefix", "--print-value-only")
	t.prints("0\n2\n3", "get", k(""), "--prefix", "--print-value-only", "--sort-by=value")
	t.prints("0\n3", "get", k(""), "--prefix", "--print-value-only", "--order=DESCEND", "--sort-by=key", "--limit=2")
	t.prints(k("b")+"\n\n"+k("c"), "get", k("b"), k("d"), "--keys-only")
	t.prints("", "get", k("nothing"))
	counted, err := t.ctl("get", k(""), "--prefix", "--count-only", "-w", "fields")
	t.ok("count", err)
	t.is("three are counted", strings.Contains(counted, "\"Count\" : 3"))
	var found struct {
		Header struct{ Revision int64 }
		Kvs    []struct{ Mod_Revision, Version int64 }
	}
	t.object(&found, "get", k("b"), "--consistency=s")
	t.equal("version", found.Kvs[0].Version, 2)
	old := fmt.Sprint("--rev=", found.Kvs[0].Mod_Revision-1)
	t.prints("3", "get", k("b"), "--print-value-only", old)
	t.prints("", "get", k("c"), "--print-value-only", old)
	t.prints("0", "get", k("a"), "--from-key", "--print-value-only", fmt.Sprint("--min-mod-rev=", found.Kvs[0].Mod_Revision+1))
	t.prints("1\n"+k("a")+"\n2", "del", k("a"), "--prev-kv")
	t.prints("2", "del", k(""), "--prefix")
	t.prints("0", "del", k("b"), k("c"))
	_, err = t.ctl("put", "", "1")
	t.refused("an empty key", err, "key is not provided")
	_, err = t.ctl("put", "--ignore-value", k("gone"))
	t.refused("the value of no key", err, "key not found")
}

func ctlTxn(t *trial) {
	k := t.key("k")
	script := fmt.Sprintf("version(%q) = \"0\"\n\nput %s 1\n\nget %s\ndel %s\n\n", k, k, k, k)
	out, err := t.ctlWith(script, "txn")
	t.ok("txn", err)
	t.equal("the first", out, "SUCCESS\n\nOK")
	out, err = t.ctlWith(script, "txn")
	t.ok("txn", err)
	t.equal("the second", out, "FAILURE\n\n"+k+"\n1\n\n1")
	_, err = t.ctlWith(fmt.Sprintf("\nput %s 1\nput %s 2\n\n\n", k, k), "txn")
	t.refused("one key twice", err, "duplicate key")
}

func ctlWatch(t *trial) {
	var put struct{ Header struct{ Revision int64 } }
	t.object(&put, "put", t.key("a"), "1")
	t.prints("OK", "put", t.key("a"), "2")
	t.prints("1", "del", t.key("a"))
	watch := t.command("watch", t.key("a"), "--prev-kv", fmt.Sprint("--rev=", put.Header.Revision))
	out, err := watch.StdoutPipe()
	t.ok("pipe", err)
	t.ok("watch", watch.Start())
	a := t.key("a")
	expected := "PUT\n" + a + "\n1\nPUT\n" + a + "\n1\n" + a + "\n2\nDELETE\n" + a + "\n2\n" + a + "\n\n"
	printed := make([]byte, len(expected))
	for read := 0; read < len(printed); {
		n, err := out.Read(printed[read:])
		t.ok("read what watch prints", err)
		read += n
	}
	t.equal("events", string(printed), expected)
	t.ok("end the watch", watch.Process.Kill())
	t.is("it ran until then", watch.Wait() != nil)
}

func ctlLease(t *trial) {
	var grant struct{ ID int64 }
	t.object(&grant, "lease", "grant", "500")
	id := fmt.Sprintf("%016x", grant.ID)
	t.prints("OK", "put", t.key("a"), "1", "--lease="+id)
	t.prints("OK", "put", t.key("a"), "2", "--ignore-lease")
	var left struct {
		TTL     int64
		Granted int64 `json:"granted-ttl"`
		Keys    []string
	}
	t.object(&left, "lease", "timetolive", id, "--keys")
	t.is("remaining is at most what was granted", left.TTL > 490 && left.TTL <= 500)
	t.equal("keys", len(left.Keys), 1)
	list, err := t.ctl("lease", "list")
	t.ok("lease list", err)
	t.is("it is listed", strings.Contains(list, id))
	t.prints(fmt.Sprintf("lease %s keepalived with TTL(500)", id), "lease", "keep-alive", "--once", id)
	t.prints(fmt.Sprintf("lease %s revoked", id), "lease", "revoke", id)
	t.prints("", "get", t.key("a"))
	t.prints(fmt.Sprintf("lease %s already expired", id), "lease", "timetolive", id)
	_, err = t.ctl("lease", "revoke", id)
	t.refused("a lease that is gone", err, "requested lease not found")
	list, err = t.ctl("lease", "list")
	t.ok("lease list", err)
	t.is("it is not listed", !strings.Contains(list, id))
}

func ctlCompaction(t *trial) {
	var put struct{ Header struct{ Revision int64 } }
	t.object(&put, "put", t.key("a"), "1")
	revision := fmt.Sprint(put.Header.Revision)
	t.prints("compacted revision "+revision, "compaction", revision, "--physical")
	t.prints("1", "get", t.key("a"), "--print-value-only", "--rev="+revision)
	_, err := t.ctl("compaction", revision)
	t.refused("the same again", err, "required revision has been compacted")
	_, err = t.ctl("get", t.key("a"), fmt.Sprint("--rev=", put.Header.Revision-1))
	t.refused("a compacted revision", err, "required revision has been compacted")
	_, err = t.ctl("compaction", fmt.Sprint(put.Header.Revision+100))
	t.refused("a revision to come", err, "required revision is a future revision")
}

func ctlEndpoint(t *trial) {
	var status []struct {
		Status struct {
			Version string
			Leader  uint64
			DbSize  int64
			Errors  []string
			Header  struct{ Member_ID uint64 }
		}
	}
	t.object(&status, "endpoint", "status")
	one := status[0].Status
	t.is("there is a version, a leader and a size", one.Version != "" && one.Leader == one.Header.Member_ID && one.DbSize > 0)
	var health []struct{ Health bool }
	t.object(&health, "endpoint", "health")
	t.is("it is healthy", health[0].Health)
	var hash []struct{ HashKV struct{ Hash uint32 } }
	t.object(&hash, "endpoint", "hashkv")
	before := hash[0].HashKV.Hash
	t.prints("OK", "put", t.key("a"), "1")
	t.object(&hash, "endpoint", "hashkv")
	t.is("another state has another hash", hash[0].HashKV.Hash != before)
	var members struct {
		Members []struct {
			ID         uint64
			ClientURLs []string
		}
	}
	t.object(&members, "member", "list")
	t.equal("members", len(members.Members), 1)
	t.equal("the member", members.Members[0].ID, one.Header.Member_ID)
	t.prints("", "alarm", "list")
	t.prints("", "alarm", "disarm")
	out, err := t.ctl("defrag")
	t.ok("defrag", err)
	t.is("it says so", strings.HasPrefix(out, "Finished defragmenting"))
	dead := *t
	dead.endpoint = "http://127.0.0.1:1"
	_, err = dead.ctl("endpoint", "health")
	t.refused("health of nobody", err, "unhealthy")
}

func ctlSnapshot(t *trial) {
	directory, err := os.MkdirTemp("", "interop")
	t.ok("make a directory", err)
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "snapshot")
	out, err := t.ctl("snapshot", "save", path)
	t.ok("snapshot save", err)
	t.is("it says so", strings.Contains(out, "Snapshot saved at "+path))
	saved, err := os.Stat(path)
	t.ok("look at the snapshot", err)
	t.equal("bytes after the last block (a checksum)", saved.Size()%512, 32)
	_, err = t.ctl("snapshot", "save", filepath.Join(directory, "no", "such", "folder"))
	t.is("a folder that is missing is an error", err != nil)
}

func ctlLock(t *trial) {
	out, err := t.ctl("lock", t.key("l"), "echo", "held")
	t.ok("lock", err)
	t.equal("what runs under the lock", out, "held")
	holder := t.command("lock", t.key("l"))
	pipe, err := holder.StdoutPipe()
	t.ok("pipe", err)
	t.ok("hold the lock", holder.Start())
	line := make([]byte, 256)
	n, err := pipe.Read(line)
	t.ok("wait for the lock", err)
	t.is("its key is printed", strings.HasPrefix(string(line[:n]), t.key("l")))
	second := *t
	second.ctx = t.soon()
	out, err = second.ctl("lock", t.key("l"), "echo", "held")
	t.is("a second waits", err != nil && out == "")
	t.ok("let go", holder.Process.Signal(os.Interrupt))
	holder.Wait()
}

func ctlElect(t *trial) {
	leader := t.command("elect", t.key("e"), "me")
	pipe, err := leader.StdoutPipe()
	t.ok("pipe", err)
	t.ok("campaign", leader.Start())
	line := make([]byte, 256)
	n, err := pipe.Read(line)
	t.ok("wait for the leadership", err)
	t.is("its key is printed", strings.HasPrefix(string(line[:n]), t.key("e")))
	listener := t.command("elect", "--listen", t.key("e"))
	heard, err := listener.StdoutPipe()
	t.ok("pipe", err)
	t.ok("listen", listener.Start())
	var said string
	for !strings.Contains(said, "me\n") {
		n, err = heard.Read(line)
		t.ok("hear the leader", err)
		said += string(line[:n])
	}
	second := *t
	second.ctx = t.soon()
	out, err := second.ctl("elect", t.key("e"), "you")
	t.is("a second waits", err != nil && out == "")
	t.ok("stop listening", listener.Process.Kill())
	listener.Wait()
	t.ok("resign", leader.Process.Signal(os.Interrupt))
	leader.Wait()
}
