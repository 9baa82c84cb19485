package server

import (
	"errors"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/shard"
)

func TestABackupIsStreamedByTheLeaderAndTheOthersSayWhoThatIs(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	for _, node := range nodeNames {
		var cut shard.Cut
		keys := ""
		err := c.servers[node].Backup(t.Context(), 7, func(c shard.Cut) error { cut = c; return nil }, func(r *record.Record) error {
			keys += string(r.Key)
			return nil
		})
		if node == "a" {
			if err != nil || keys != "k" || cut.Shard != 1 || !cut.Arc.Contains(7) {
				t.Errorf("the leader: %q of %+v, %v", keys, cut, err)
			}
			continue
		}
		var refusal *api.Error
		if !errors.As(err, &refusal) || refusal.Code != api.CodeNotLeader || refusal.Leader != "a" || keys != "" || cut.Shard != 0 {
			t.Errorf("%s: %q of %+v, %v", node, keys, cut, err)
		}
	}
	c.mu.Lock()
	c.hosts[1] = nodeNames[:2]
	c.mu.Unlock()
	if err := c.servers["c"].Backup(t.Context(), 7, nil, nil); !errors.Is(err, api.ErrNotLeader) {
		t.Errorf("a node without the shard: %v", err)
	}
}
