package meta

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// leads is the raft group of the node that leads the meta group.
func (c *cluster) leads() *raft.Group {
	c.t.Helper()
	var leader *raft.Group
	testkit.Eventually(c.t, patience, func() bool {
		for _, n := range c.nodes {
			if n.stop == nil {
				continue
			}
			if g, ok := n.host.Group(raft.MetaGroup); ok && g.IsReadyLeader() {
				leader = g
				return true
			}
		}
		return false
	}, "a leader of the meta group")
	return leader
}

// order gives an order to whoever leads until it is carried out.
func (c *cluster) order(what string, do func(context.Context, *raft.Group) error) {
	c.t.Helper()
	var last error
	testkit.Eventually(c.t, patience, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		last = do(ctx, c.leads())
		return last == nil
	}, what)
	if last != nil {
		c.t.Fatalf("%s: %v", what, last)
	}
}

// hold opens the replica of the map that the map gives to a node.
func (n *clusterNode) hold() {
	n.c.t.Helper()
	var mine *pb.Replica
	testkit.Eventually(n.c.t, patience, func() bool {
		mine = MapReplica(n.follower.Map(), string(n.id))
		return mine != nil
	}, "a map that gives a replica to "+string(n.id))
	var err error
	n.meta, err = Open(n.host, Options{
		Dir: n.dir + "/meta" + string(n.id), FS: vfs.OS(), Self: n.id, Cluster: n.c.pledge, Incarnation: mine.Incarnation, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		n.c.t.Fatal(err)
	}
	n.follower.Attach(n.meta)
}

// replace gives the place of a holder to another node.
func (c *cluster) replace(from, to api.NodeID) {
	c.t.Helper()
	var learner raft.ReplicaID
	c.order("reserve an incarnation", func(ctx context.Context, g *raft.Group) error {
		leader := c.nodes[g.Status().Replica.Node].meta
		r, err := leader.Change(ctx, reserveCommand())
		learner = raft.ReplicaID{Node: to, Incarnation: r.GetIncarnation()}
		return err
	})
	c.order("add "+string(to), func(ctx context.Context, g *raft.Group) error {
		_, err := g.AddLearner(ctx, learner, 0)
		return err
	})
	c.nodes[to].hold()
	c.order("promote "+string(to), func(ctx context.Context, g *raft.Group) error {
		_, err := g.Promote(ctx, learner, 0)
		return err
	})
	c.order("remove "+string(from), func(ctx context.Context, g *raft.Group) error {
		m, err := g.Membership(ctx)
		if err != nil {
			return err
		}
		for _, s := range m.Configuration.Servers {
			if s.Replica.Node == from {
				_, err = g.Remove(ctx, s.Replica, 0, 2)
			}
		}
		return err
	})
}

// TestWhoWasAwayWhileAllHoldersChangedFindsTheNewOnes: a founder with its replica of the map, and a node without one, come back
// when not one of the holders that they know holds the map any more. Both learn the map, and the founder's replica elects nobody.
func TestWhoWasAwayWhileAllHoldersChangedFindsTheNewOnes(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	all := []api.NodeID{"a", "b", "c", "d", "e", "f", "g"}
	for _, id := range all[:3] {
		c.start(id)
	}
	for _, id := range all[:3] {
		c.nodes[id].register()
	}
	for _, id := range all[3:] {
		c.start(id).register()
	}
	c.awaitEqualMaps(func(m *pb.ClusterMap) bool { return hasShards(m) && len(m.Nodes) == len(all) })
	c.nodes["g"].shutdown()
	c.replace("b", "d")
	c.replace("c", "e")
	c.nodes["a"].shutdown()
	c.replace("a", "f")
	for _, id := range []api.NodeID{"b", "c"} { // removed, as the node does it
		n := c.nodes[id]
		n.follower.Detach()
		if err := n.meta.Close(); err != nil {
			t.Fatal(err)
		}
		n.meta = nil
	}
	c.start("a")
	c.start("g").register()
	m := c.awaitEqualMaps(func(m *pb.ClusterMap) bool {
		return len(m.MetaReplicas) == 3 && MapReplica(m, "d") != nil && MapReplica(m, "e") != nil && MapReplica(m, "f") != nil
	})
	if MapReplica(m, "a") != nil {
		t.Errorf("the map is held by %v", m.MetaReplicas)
	}
	c.nodes["a"].register()
	if leader := c.nodes["a"].meta.Leads(); leader {
		t.Error("a replica that was removed leads")
	}
}
