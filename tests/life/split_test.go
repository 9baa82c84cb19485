package life

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/shard"
	"github.com/lightning-db/lightning/tests/cluster"
)

const (
	rowCount = 2000
	rowBytes = 200
	// scanPage is small, so that a scan goes on over splits.
	scanPage  = 50
	scanPause = 20 * time.Millisecond
)

func rowKey(i int) []byte { return fmt.Appendf(nil, "row-%05d", i) }

// putRows puts rows that stay as they are.
func (f *fleet) putRows() {
	f.t.Helper()
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := w; i < rowCount; i += 8 {
				if _, err := f.sdk.Put(f.t.Context(), 0, rowKey(i), bytes.Repeat(rowKey(i), rowBytes/9), client.PutOptions{}); err != nil {
					f.t.Errorf("put row %d: %v", i, err)
					return
				}
			}
		})
	}
	writers.Wait()
}

// scanners read all rows again and again, whatever is split meanwhile.
type scanners struct {
	t    *testing.T
	done atomic.Int64
}

// whole reads the rows by a scan of the SDK, which yields each once and in order.
func (s *scanners) whole(ctx context.Context, sdk *client.Client) {
	for turn := 0; ctx.Err() == nil && !s.t.Failed(); turn++ {
		r := api.PrefixRange([]byte("row-"))
		r.Reverse = turn%2 == 1
		next := 0
		for item, err := range sdk.Scan(context.Background(), r) {
			if err != nil {
				s.t.Errorf("scan %d after %d rows: %v", turn, next, err)
				return
			}
			want := rowKey(next)
			if r.Reverse {
				want = rowKey(rowCount - 1 - next)
			}
			if !bytes.Equal(item.Key, want) {
				s.t.Errorf("scan %d brings %s, the next row is %s", turn, item.Key, want)
				return
			}
			next++
		}
		if next != rowCount {
			s.t.Errorf("scan %d brought %d of %d rows", turn, next, rowCount)
			return
		}
		s.done.Add(1)
		cluster.Wait(ctx, scanPause)
	}
}

// cursors reads the rows by SCAN, which may bring a key twice and misses none.
func (s *scanners) cursors(ctx context.Context, rdb *redis.Client) {
	for ctx.Err() == nil && !s.t.Failed() {
		seen := make(map[string]bool)
		for cursor := uint64(0); ; {
			keys, next, err := rdb.Scan(context.Background(), cursor, "row-*", scanPage).Result()
			if err != nil {
				s.t.Errorf("SCAN after %d rows: %v", len(seen), err)
				return
			}
			for _, key := range keys {
				seen[key] = true
			}
			if cursor = next; cursor == 0 {
				break
			}
		}
		if len(seen) != rowCount {
			s.t.Errorf("SCAN brought %d of %d rows", len(seen), rowCount)
			return
		}
		s.done.Add(1)
		cluster.Wait(ctx, scanPause)
	}
}

// more waits for some more scans.
func (s *scanners) more(count int64) {
	s.t.Helper()
	want := s.done.Load() + count
	cluster.Eventually(s.t, recovery, "scans are complete", func() error {
		if s.t.Failed() {
			s.t.FailNow()
		}
		if n := s.done.Load(); n < want {
			return fmt.Errorf("%d of %d", n, want)
		}
		return nil
	})
}

// splitShard orders a split and does something at once; it waits until the map has another shard.
func (f *fleet) splitShard(id api.ShardID, meanwhile func()) {
	f.t.Helper()
	before := len(f.Table().Shards())
	f.order("shard", "split", fmt.Sprint(id))
	meanwhile()
	cluster.Eventually(f.t, recovery, "the split is done", func() error {
		if shards := f.Table().Shards(); len(shards) != before+1 {
			s, err := f.status()
			return fmt.Errorf("%d shards, %v: %w", len(shards), s, err)
		}
		return nil
	})
	f.shards++
}

// TestShardsAreSplitUnderLoadAndNothingIsLost splits the one shard of a cluster, and its halves, while clients write, read and
// scan: at first nothing fails, and then the leader of the shard and the master are killed in the middle.
func TestShardsAreSplitUnderLoadAndNothingIsLost(t *testing.T) {
	f := newFleet(t, 1, cluster.Options{Args: cluster.Patient})
	f.putRows()
	l := f.load(seedOf(t))
	sdk := f.client(client.Options{DefaultTimeout: drainPatience})
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{f.Nodes[0].RESPCluster}, ReadTimeout: drainPatience, WriteTimeout: drainPatience})
	one := redis.NewClient(&redis.Options{Addr: f.Nodes[0].RESP, ReadTimeout: drainPatience, WriteTimeout: drainPatience})
	t.Cleanup(func() { _, _ = rdb.Close(), one.Close() })
	ctx, stop := context.WithCancel(context.Background())
	u, s := &unfailing{t: t}, &scanners{t: t}
	var working, scanning sync.WaitGroup
	defer working.Wait()
	defer stop()
	for i := range 2 {
		working.Go(func() {
			u.run(ctx, fmt.Sprint("sdk-", i), func(key, value string) error {
				_, err := sdk.Put(context.Background(), 0, []byte(key), []byte(value), client.PutOptions{})
				return err
			}, func(key string) (string, error) {
				item, err := sdk.Get(context.Background(), 0, []byte(key))
				return string(item.Value), err
			})
		})
		working.Go(func() {
			u.run(ctx, fmt.Sprint("redis-", i), func(key, value string) error {
				return rdb.Set(context.Background(), key, value, 0).Err()
			}, func(key string) (string, error) { return rdb.Get(context.Background(), key).Result() })
		})
	}
	working.Go(func() { s.cursors(ctx, one) })
	scans, stopScans := context.WithCancel(context.Background())
	defer scanning.Wait()
	defer stopScans()
	scanning.Go(func() { s.whole(scans, sdk) })
	u.more(100)
	s.more(2)
	f.splitShard(1, func() {})
	quiet, _ := l.worst()
	u.more(100)
	s.more(2)
	stop()
	working.Wait()

	f.splitShard(1, func() { f.killLeader(1) })
	s.more(2)
	f.splitShard(2, func() { f.killMaster() })
	s.more(2)
	killed, _ := l.worst()
	stopScans()
	scanning.Wait()
	l.judge()
	f.expectCounted(one)
	f.expectStrangersRefused()
	say(t, "4 shards out of 1, with the leader and the master killed in the second and third split: no answer of a shard for at most %s without kills and %s with them; "+
		"%d requests that must not fail, %d scans of %d rows", round(quiet), round(killed), u.done.Load(), s.done.Load(), rowCount)
}

func (f *fleet) killLeader(shard uint64) {
	f.t.Helper()
	if n := f.Leaders(f.t.Context())[shard]; n != nil {
		f.restartKilled(n)
	}
}

func (f *fleet) killMaster() {
	f.t.Helper()
	s, err := f.status()
	if err != nil {
		return // it is nobody's turn
	}
	for _, n := range s.Nodes {
		for _, x := range f.Nodes {
			if n.NodeId == s.MasterId && x.Name == n.Name {
				f.restartKilled(x)
			}
		}
	}
}

func (f *fleet) restartKilled(n *cluster.Node) {
	f.t.Helper()
	n.Kill()
	f.killed++
	n.Restart()
}

// expectCounted fails unless DBSIZE counts what a scan brings.
func (f *fleet) expectCounted(rdb *redis.Client) {
	f.t.Helper()
	keys := int64(0)
	for _, err := range f.sdk.Scan(f.t.Context(), api.Range{KeysOnly: true}) {
		if err != nil {
			f.t.Fatal(err)
		}
		keys++
	}
	if count, err := rdb.DBSize(f.t.Context()).Result(); err != nil || count != keys {
		f.t.Errorf("DBSIZE is %d (%v), a scan brings %d keys", count, err, keys)
	}
}

// expectStrangersRefused sends reads and writes of keys straight to the leaders of shards, as nodes with other maps would: only
// the shard that has a key takes it, and only at its epoch. What clients send reaches shards in no other way.
func (f *fleet) expectStrangersRefused() {
	f.t.Helper()
	table := f.Table()
	refused := 0
	for owner, key := range keysOf(table, f.shards) {
		for _, s := range table.Shards() {
			for epoch := api.Epoch(1); epoch <= s.Epoch+1; epoch++ {
				wrote := f.forward(s.ID, epoch, []byte(key))
				if right := s.ID == owner && epoch == s.Epoch; wrote != right {
					f.t.Errorf("shard %d, at epoch %d, takes a key of shard %d at epoch %d: %t", s.ID, s.Epoch, owner, epoch, wrote)
				} else if !right {
					refused++
				}
			}
		}
	}
	say(f.t, "%d writes of keys to shards that do not have them, or at other epochs, were refused", refused)
}

// forward sends a write to the leader of a shard and reports whether it was executed.
func (f *fleet) forward(id api.ShardID, epoch api.Epoch, key []byte) (wrote bool) {
	f.t.Helper()
	command := shard.EncodeCommand(shard.Command{Epoch: epoch, Batch: api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: key, Value: []byte("0")}}}})
	cluster.Eventually(f.t, recovery, "the leader of a shard answers", func() error {
		n := f.Leaders(f.t.Context())[uint64(id)]
		if n == nil {
			return fmt.Errorf("shard %d has no leader", id)
		}
		conn, err := cluster.Dial(n.GRPC)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		answer, err := peerv1.NewForwardClient(conn).Apply(f.t.Context(), &peerv1.ForwardApplyRequest{
			ShardId: uint64(id), Commands: [][]byte{command}, Checksums: []uint32{crc32.Checksum(command, crc32.MakeTable(crc32.Castagnoli))},
		})
		if err != nil {
			return api.FromStatus(err, true)
		}
		switch o := answer.Outcomes[0]; {
		case o.GetResult() != nil:
			wrote = true
		case o.GetFailure().GetDetail().GetCode() != string(api.CodeStaleMap):
			return fmt.Errorf("it answers %v", o.GetFailure())
		}
		return nil
	})
	return wrote
}
