package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/shard"
	"github.com/lightning-db/lightning/tests/history"
)

func batchOf(in history.Input) api.Batch { return api.Batch{Ops: []api.Op{operation(in)}} }

// content is what a replica holds: up to where, and a digest of every row.
type content struct {
	at     engine.Position
	digest string
}

// checkReplicas compares the replicas of each shard, row by row, as their disks hold them.
func (c *Cluster) checkReplicas() error {
	for _, id := range c.shardIDs() {
		if err := within(20*time.Second, func() error { return c.compare(id) }); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) compare(id api.ShardID) error {
	var first *Node
	var want content
	for n, s := range c.replicas(id) {
		if err := s.Flush(); err != nil {
			return fmt.Errorf("flush shard %d on %s: %w", id, n.id, err)
		}
		got, err := n.content(s)
		if err != nil {
			return fmt.Errorf("read shard %d on %s: %w", id, n.id, err)
		}
		if first == nil {
			first, want = n, got
		}
		if got.at != want.at {
			return fmt.Errorf("shard %d is at %v on %s and at %v on %s", id, got.at, n.id, want.at, first.id)
		}
		if got.digest != want.digest {
			return fmt.Errorf("shard %d differs on %s and %s at %v", id, n.id, first.id, got.at)
		}
	}
	if first == nil {
		return fmt.Errorf("shard %d has no replica", id)
	}
	return nil
}

// content opens a copy of the replica's engine beside the running one.
func (n *Node) content(s *shard.Shard) (content, error) {
	n.Disk.mu.Lock()
	copied := n.Disk.mem.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
	n.Disk.mu.Unlock()
	dir := fmt.Sprintf("shards/%d-%d", s.ID(), s.Group().Replica().Incarnation)
	current, err := vfs.ReadFile(copied, dir+"/CURRENT")
	if err != nil {
		return content{}, err
	}
	var name string
	if _, err := fmt.Sscan(string(current), &name); err != nil {
		return content{}, err
	}
	db, err := engine.Open(dir+"/"+name, engine.Options{FS: copied, RetainVersions: true, CacheBytes: -1})
	if err != nil {
		return content{}, err
	}
	defer func() { _ = db.Close() }()
	return digest(db)
}

// digest hashes all rows. The version of a system row is that of the batch that wrote it, and replicas may have
// applied in other batches.
func digest(db *engine.DB) (content, error) {
	hash := sha256.New()
	snapshot := db.Snapshot()
	defer snapshot.Close()
	it := snapshot.NewIterator(engine.IteratorOptions{At: engine.MaxVersion})
	for ok := it.First(); ok; ok = it.Next() {
		row := it.Row()
		version := row.Version
		if row.Key[0] == 0 {
			version = 0
		}
		fmt.Fprintf(hash, "%x=%x@%d!%d\n", row.Key, row.Value, version, row.ExpiryMillis)
	}
	if err := it.Close(); err != nil {
		return content{}, err
	}
	return content{db.Applied(), hex.EncodeToString(hash.Sum(nil))}, nil
}
