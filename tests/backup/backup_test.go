package backup

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

const (
	writers       = 6
	keysPerWriter = 20
	fixedKeys     = 500
	fillers       = 25
	longBytes     = 5 << 20
)

// writer writes its keys in order, round after round. A key that cannot be written ends it.
type writer struct {
	id     int
	rounds atomic.Int64 // that are acknowledged whole
	failed error
}

func (w *writer) key(i int) []byte { return fmt.Appendf(nil, "{writer-%d}-%02d", w.id, i) }

func (w *writer) run(ctx context.Context, c *client.Client) {
	for round := int64(1); ctx.Err() == nil; round++ {
		for i := range keysPerWriter {
			value := strconv.AppendInt(nil, round, 10)
			if _, err := c.Put(context.Background(), 0, w.key(i), value, client.PutOptions{}); err != nil {
				w.failed = err
				return
			}
		}
		w.rounds.Store(round)
	}
}

// look finds a row, in a cluster or in a backup.
type look func(key []byte) (api.Item, error)

func lookInto(t *testing.T, c *client.Client) look {
	return func(key []byte) (api.Item, error) { return c.Get(t.Context(), 0, key) }
}

// check is invariant BT1.
func (w *writer) check(t *testing.T, get look, before, after int64) {
	t.Helper()
	last, steps := int64(0), 0
	for i := range keysPerWriter {
		item, err := get(w.key(i))
		if err != nil {
			t.Fatal(err)
		}
		round, err := strconv.ParseInt(string(item.Value), 10, 64)
		if err != nil || round < before || round > after {
			t.Fatalf("%s is %q, want %d to %d", w.key(i), item.Value, before, after)
		}
		if i > 0 && round != last {
			steps++
			if round != last-1 || steps > 1 {
				t.Fatalf("%s is %d, and the key before it is %d: no moment of the writer", w.key(i), round, last)
			}
		}
		last = round
	}
}

func cli(t *testing.T, c *cluster.Cluster, secure *cluster.Secure, args ...string) (string, int) {
	t.Helper()
	args = append([]string{"--addr", c.Nodes[0].GRPC, "--timeout", "20s"}, args...)
	if secure != nil {
		args = append([]string{"--tls-ca", secure.File(cluster.CAFile), "--password-file", secure.File(cluster.Passwords)}, args...)
	}
	cmd := exec.CommandContext(t.Context(), cluster.Binary(t, "lightning-cli"), args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func connect(t *testing.T, c *cluster.Cluster, secure *cluster.Secure) *client.Client {
	t.Helper()
	o := client.Options{DefaultTimeout: 30 * time.Second}
	for _, n := range c.Nodes {
		o.Addresses = append(o.Addresses, n.GRPC)
	}
	if secure != nil {
		o.Credentials, o.Password = credentials.NewTLS(secure.TLS()), secure.Password
	}
	sdk, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sdk.Close() })
	return sdk
}

func fixed(i int) ([]byte, []byte, uint64) {
	key := fmt.Appendf(nil, "fixed-%04d", i)
	expiry := uint64(0)
	if i%5 == 0 {
		expiry = 4_000_000_000_000 + uint64(i)
	}
	return key, bytes.Repeat(key, i%40), expiry
}

func fill(t *testing.T, c *client.Client) {
	t.Helper()
	var writing sync.WaitGroup
	for worker := range fillers { // at a time, so that they share syncs
		writing.Go(func() {
			for i := worker; i < fixedKeys; i += fillers {
				key, value, expiry := fixed(i)
				o := client.PutOptions{}
				if expiry != 0 {
					o.Expiry = api.Expiry{Mode: api.ExpiryAt, Millis: expiry}
				}
				if _, err := c.Put(t.Context(), 0, key, value, o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	if _, err := c.Put(t.Context(), 0, []byte("long"), long(), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func long() []byte { return bytes.Repeat([]byte("0123456789abcdeX"), longBytes/16) }

func checkFixed(t *testing.T, get look) {
	t.Helper()
	for i := range fixedKeys {
		key, value, expiry := fixed(i)
		item, err := get(key)
		if err != nil || !item.Found || !bytes.Equal(item.Value, value) || item.ExpiryMillis != expiry {
			t.Fatalf("%s came back as %+v, %v", key, item, err)
		}
	}
	if item, err := get([]byte("long")); err != nil || !bytes.Equal(item.Value, long()) {
		t.Fatalf("the long value came back with %d bytes, %v", len(item.Value), err)
	}
}

func TestABackupUnderWritersIsAMomentOfEachAndGoesIntoClustersOfOtherSizes(t *testing.T) {
	cluster.Binary(t, "lightning-cli") // built before anybody writes
	began := time.Now()
	source := cluster.Start(t, cluster.Options{Args: append([]string{"--shards", "4"}, cluster.Patient...)})
	sdk := connect(t, source, nil)
	fill(t, sdk)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	list := make([]*writer, writers)
	for i := range list {
		list[i] = &writer{id: i}
		writing.Go(func() { list[i].run(ctx, sdk) })
	}
	cluster.Eventually(t, 2*time.Minute, "a round of each writer", func() error {
		for _, w := range list {
			if w.rounds.Load() == 0 {
				return fmt.Errorf("writer %d has written no round", w.id)
			}
		}
		return nil
	})
	dir := filepath.Join(t.TempDir(), "backup")
	before := make([]int64, writers)
	for i, w := range list {
		before[i] = w.rounds.Load()
	}
	out, code := cli(t, source, nil, "backup", dir)
	after := make([]int64, writers)
	for i, w := range list {
		after[i] = w.rounds.Load() + 1 // one may be under way
	}
	stop()
	writing.Wait()
	if code != 0 {
		t.Fatalf("backup: exit code %d: %s", code, out)
	}
	t.Logf("%srounds before %v, after %v", out, before, after)
	for _, w := range list {
		if w.failed != nil {
			t.Errorf("writer %d: %v", w.id, w.failed)
		}
	}
	if out, code := cli(t, source, nil, "backup", "verify", dir); code != 0 {
		t.Fatalf("verify: exit code %d: %s", code, out)
	}
	if out, code := cli(t, source, nil, "restore", dir); code != 2 || !strings.Contains(out, "not empty") {
		t.Errorf("restore into a cluster that is not empty: exit code %d: %s", code, out)
	}
	source.KillAll()
	t.Logf("backed up and verified after %s", time.Since(began).Round(time.Millisecond))
	check := func(t *testing.T, get look) {
		t.Helper()
		checkFixed(t, get)
		for i, w := range list {
			w.check(t, get, before[i], after[i])
		}
	}
	alone := cluster.Start(t, cluster.Options{Nodes: 1, Alone: true, Args: []string{"--shards", "3"}})
	refuseDamaged(t, alone, connect(t, alone, nil), dir)
	restoreInto(t, dir, alone, nil, check)
	restoreInto(t, dir, cluster.Start(t, cluster.Options{Args: append([]string{"--shards", "3"}, cluster.Patient...)}), nil, check)
	secure := cluster.NewSecure(t, cluster.NewAuthority(t))
	five := cluster.Options{Nodes: 5, Secure: secure, Args: append([]string{"--shards", "2"}, cluster.Patient...)}
	restoreInto(t, dir, cluster.Start(t, five), secure, check)
}

// restoreInto restores and leaves nothing running, unless the cluster is secure: then it is backed up again, under faults.
func restoreInto(t *testing.T, dir string, target *cluster.Cluster, secure *cluster.Secure, check func(*testing.T, look)) {
	t.Helper()
	began, nodes := time.Now(), len(target.Nodes)
	sdk := connect(t, target, secure)
	out, code := cli(t, target, secure, "restore", dir)
	if code != 0 {
		t.Fatalf("restore into %d nodes: exit code %d: %s", nodes, code, out)
	}
	t.Logf("%d nodes: %s", nodes, out)
	check(t, lookInto(t, sdk))
	if out, code := cli(t, target, secure, "restore", "--resume", dir); code != 0 || !strings.Contains(out, " 0 written") {
		t.Errorf("a restore that is repeated: exit code %d: %s", code, out)
	}
	t.Logf("%d nodes: restored and checked after %s", nodes, time.Since(began).Round(time.Millisecond))
	if secure != nil {
		backUpUnderFaults(t, target, secure, sdk)
	}
	target.KillAll()
}

// refuseDamaged damages one byte of a copy: nothing of it may be restored.
func refuseDamaged(t *testing.T, target *cluster.Cluster, sdk *client.Client, dir string) {
	t.Helper()
	damaged := filepath.Join(t.TempDir(), "damaged")
	if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(damaged, "*.rows"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	content, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 4
	if err := os.WriteFile(files[len(files)-1], content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, code := cli(t, target, nil, "restore", damaged)
	if code != 9 || !strings.Contains(out, filepath.Base(files[len(files)-1])+" at offset ") {
		t.Errorf("a damaged backup: exit code %d: %s", code, out)
	}
	for item, err := range sdk.Scan(t.Context(), api.Range{Limit: 1}) {
		t.Errorf("%q was restored out of a damaged backup, %v", item.Key, err)
	}
}
