package backup

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/backup"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
)

// faults happen to a shard each, when the first rows of it have come.
type faults struct {
	mu   sync.Mutex
	todo map[api.ShardID]func()
	// tries counts how often each shard began.
	tries map[api.ShardID]int
}

// faultySink is a Sink that lets the fault of its shard happen.
type faultySink struct {
	backup.Sink
	faults *faults
	shard  api.ShardID
}

func (s *faultySink) Begin(c backup.Cut) error {
	s.shard = c.Shard
	s.faults.mu.Lock()
	s.faults.tries[c.Shard]++
	s.faults.mu.Unlock()
	return s.Sink.Begin(c)
}

func (s *faultySink) Block(records []byte) error {
	s.faults.mu.Lock()
	happens := s.faults.todo[s.shard]
	delete(s.faults.todo, s.shard)
	s.faults.mu.Unlock()
	if happens != nil {
		happens()
	}
	return s.Sink.Block(records)
}

// source reads as lightning-cli does.
func source(c *client.Client, f *faults) backup.Source {
	return func(ctx context.Context, slot api.Slot, to backup.Sink) (rows, bytes uint64, err error) {
		sink := &faultySink{Sink: to, faults: f}
		end, err := c.BackupShard(ctx, slot, func(cut *pb.BackupCut) error {
			return sink.Begin(backup.Cut{
				Shard: api.ShardID(cut.GetShardId()), Arc: router.Arc{Start: cut.GetStartSlot(), End: cut.GetEndSlot()}, Epoch: cut.GetEpoch(),
				Index: cut.GetAppliedIndex(), TimeMillis: cut.GetShardTimeMs(),
			})
		}, sink.Block)
		return end.GetRows(), end.GetBytes(), err
	}
}

// backUpUnderFaults backs a cluster of five nodes and two shards up, while writers are at work. One shard loses its leader by a
// kill, and that of the other moves to a node without it, each while its rows are on their way. A backup that fails must be none, and the
// next one is tried; one that succeeds must be right.
func backUpUnderFaults(t *testing.T, c *cluster.Cluster, secure *cluster.Secure, sdk *client.Client) {
	t.Helper()
	if out, code := cli(t, c, secure, "rebalance", "pause"); code != 0 {
		t.Fatalf("pause: exit code %d: %s", code, out)
	}
	killed := api.ShardID(c.Table().ShardOf(router.Slot(0, []byte("long"))).ID)
	moved := 3 - killed
	fillBoth(t, c, sdk)
	began := time.Now()
	f := &faults{tries: map[api.ShardID]int{}, todo: map[api.ShardID]func(){
		killed: func() { leaderOf(t, c, killed).Kill() },
		moved:  func() { moveLeader(t, c, secure, moved) },
	}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	list := make([]*writer, writers)
	for i := range list {
		list[i] = &writer{id: 100 + i}
		writing.Go(func() { list[i].run(ctx, sdk) })
	}
	cluster.Eventually(t, 2*time.Minute, "a round of each writer", func() error {
		if i := slices.IndexFunc(list, func(w *writer) bool { return w.rounds.Load() == 0 }); i >= 0 {
			return fmt.Errorf("writer %d has written no round", i)
		}
		return nil
	})
	rounds := func() (now []int64) {
		for _, w := range list {
			now = append(now, w.rounds.Load())
		}
		return now
	}
	for try := 1; ; try++ {
		dir := filepath.Join(t.TempDir(), strconv.Itoa(try))
		before := rounds()
		_, err := backup.Write(t.Context(), vfs.OS(), dir, source(sdk, f), backup.Options{ID: backup.ID{byte(try)}, Cluster: "five"})
		after := rounds()
		if err != nil && try < 4 {
			refused(t, dir, err)
			continue
		}
		stop()
		writing.Wait()
		if err != nil {
			t.Fatal(err)
		}
		get := lookIntoBackup(t, dir)
		checkFixed(t, get)
		for i, w := range list {
			w.check(t, get, before[i], after[i]+1) // one may be under way
		}
		t.Logf("backup %d is right; shard %d lost its leader, %d moved; tries of each: %v; rounds %v to %v; all after %s",
			try, killed, moved, f.tries, before, after, time.Since(began).Round(time.Millisecond))
		if len(f.todo) > 0 || f.tries[killed] < 2 {
			t.Errorf("shards %v had no fault, and the one whose leader was killed began %d times", f.todo, f.tries[killed])
		}
		return
	}
}

// fillBoth gives both shards more than the network holds for a client that waits.
func fillBoth(t *testing.T, c *cluster.Cluster, sdk *client.Client) {
	t.Helper()
	table, filled := c.Table(), map[api.ShardID]int{}
	for i := 0; len(filled) < 2 || i < 8; i++ {
		key := fmt.Appendf(nil, "bulk-%d", i)
		if filled[table.ShardOf(router.Slot(0, key)).ID]++; filled[table.ShardOf(router.Slot(0, key)).ID] > 4 {
			continue
		}
		if _, err := sdk.Put(t.Context(), 0, key, long(), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func leaderOf(t *testing.T, c *cluster.Cluster, shard api.ShardID) (leader *cluster.Node) {
	t.Helper()
	cluster.Eventually(t, time.Minute, "a leader", func() error {
		if leader = c.Leaders(t.Context())[uint64(shard)]; leader == nil {
			return fmt.Errorf("shard %d has no leader", shard)
		}
		return nil
	})
	return leader
}

// moveLeader moves the replica that leads to a node without one, and waits until the shard is not where it was.
func moveLeader(t *testing.T, c *cluster.Cluster, secure *cluster.Secure, shard api.ShardID) {
	t.Helper()
	from := leaderOf(t, c, shard)
	holds := func() (names []string, err error) {
		status, err := from.Status(t.Context())
		if err != nil {
			return nil, err
		}
		m := status.GetMap()
		for _, s := range m.GetShards() {
			for _, r := range s.GetReplicas() {
				i := slices.IndexFunc(m.GetNodes(), func(n *pb.Node) bool { return n.GetId() == r.GetNodeId() })
				if s.GetId() == uint64(shard) && i >= 0 {
					names = append(names, m.GetNodes()[i].GetName())
				}
			}
		}
		return names, nil
	}
	names, err := holds()
	if err != nil {
		t.Fatal(err)
	}
	running := c.Running()
	at := slices.IndexFunc(running, func(n *cluster.Node) bool { return !slices.Contains(names, n.Name) })
	if at < 0 {
		t.Fatalf("every node that runs holds shard %d", shard)
	}
	to := running[at].Name
	cluster.Eventually(t, time.Minute, "the order to move", func() error {
		if out, code := cli(t, c, secure, "shard", "move", fmt.Sprint(shard), from.Name, to); code != 0 {
			return errors.New(out)
		}
		return nil
	})
	cluster.Eventually(t, 2*time.Minute, "the end of the move", func() error {
		if names, err := holds(); err != nil || slices.Contains(names, from.Name) || !slices.Contains(names, to) {
			return fmt.Errorf("shard %d is on %v, %w", shard, names, err)
		}
		return nil
	})
}

// refused is what a backup that failed must be.
func refused(t *testing.T, dir string, err error) {
	t.Helper()
	t.Logf("a backup failed: %v", err)
	if !strings.Contains(err.Error(), dir) {
		t.Errorf("the error does not say what to do with %s", dir)
	}
	var damaged *backup.DamagedError
	if _, verdict := backup.Verify(t.Context(), vfs.OS(), dir, nil); !errors.As(verdict, &damaged) {
		t.Fatalf("a backup that failed is taken for one: %v", verdict)
	}
}

// lookIntoBackup reads a backup.
func lookIntoBackup(t *testing.T, dir string) look {
	t.Helper()
	b, err := backup.Verify(t.Context(), vfs.OS(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*api.Item{}
	for i := range b.Shards {
		var last *api.Item
		err := b.Rows(&b.Shards[i], func(block []byte) error {
			return record.Each(block, func(r *record.Record) error {
				if r.Kind == record.Piece {
					last.Value = append(last.Value, r.Value...)
					return nil
				}
				last = &api.Item{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value), ExpiryMillis: r.ExpiryMillis, Found: true}
				if found[string(r.Key)] != nil {
					return fmt.Errorf("%q is in the backup twice", r.Key)
				}
				found[string(r.Key)] = last
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return func(key []byte) (api.Item, error) {
		if item := found[string(key)]; item != nil {
			return *item, nil
		}
		return api.Item{Key: key}, nil
	}
}
