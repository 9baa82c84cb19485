package raft

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestASharedLogIsBoundedByBytes: with thresholds in entries that are never reached, a log above
// its limit makes the group that pins it flush and cut, and the group goes on (R4).
func TestASharedLogIsBoundedByBytes(t *testing.T) {
	storages := make(map[string]*NodeStorage)
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.groups = []GroupID{7, 8}
		c.setting = func(n *testNode) {
			s, err := NewNodeStorage(NodeStorageOptions{
				Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System(), SegmentBytes: 64 << 10, MaxBytes: 256 << 10,
			})
			if err != nil {
				c.t.Fatal(err)
			}
			n.storage, storages[n.name] = s, s
		}
	})
	c.write(8, "idle", "1")
	leader := c.leader(7)
	value := strings.Repeat("v", 4<<10)
	var proposals []*Proposal
	for i := range 400 { // 1.6 MB
		proposals = append(proposals, leader.groups[7].Propose([]byte(fmt.Sprintf("k%d=%s", i, value))))
	}
	for _, p := range proposals {
		_, _, _ = p.Wait(within(t, patience)) // some may fail on a busy machine
	}
	const limit = 512 << 10 // and not 1.6 MB
	for i := 0; ; i++ {
		c.write(7, fmt.Sprint("more", i), value)
		bounded := true
		for _, n := range c.nodes {
			bounded = bounded && storages[n.name].shared.Size() <= limit && n.groups[7].Status().FirstLog > 100
		}
		if bounded {
			break
		}
		if i > 500 {
			t.Fatal("the logs are not cut")
		}
	}
	c.write(7, "a", "end")
	c.converge(7, "a", "end")
	for _, n := range c.nodes {
		n.crash()
	}
	for _, name := range c.names {
		c.nodes[name].start()
	}
	c.write(7, "a", "again")
	c.converge(7, "a", "again")
	c.converge(8, "idle", "1")
}
