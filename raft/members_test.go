package raft

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// order gives an order to whoever leads until it is carried out, as the master does.
func (c *testCluster) order(what string, do func(context.Context, *Group) (api.Index, error)) api.Index {
	c.t.Helper()
	ctx := within(c.t, patience)
	var index api.Index
	testkit.Eventually(c.t, patience, func() bool {
		for _, name := range c.names {
			n := c.nodes[name]
			if n.host == nil || n.groups[7] == nil || !n.groups[7].IsReadyLeader() {
				continue
			}
			at, err := do(ctx, n.groups[7])
			index = at
			var e *api.Error
			if err != nil && !errors.As(err, &e) {
				c.t.Fatalf("%s: an error of type %T: %v", what, err, err)
			}
			if err != nil {
				c.t.Logf("%s: %v", what, err)
			}
			return err == nil
		}
		return false
	}, "%s", what)
	return index
}

func (c *testCluster) addLearner(name string) api.Index {
	return c.order("add "+name, func(ctx context.Context, g *Group) (api.Index, error) { return g.AddLearner(ctx, replicaOn(name), 0) })
}

func (c *testCluster) promote(name string) api.Index {
	return c.order("promote "+name, func(ctx context.Context, g *Group) (api.Index, error) { return g.Promote(ctx, replicaOn(name), 0) })
}

func (c *testCluster) remove(name string, keep int) api.Index {
	return c.order("remove "+name, func(ctx context.Context, g *Group) (api.Index, error) {
		return g.Remove(ctx, replicaOn(name), 0, keep)
	})
}

// TestAGroupMovesToOtherNodes (R18): three replicas become three others, one change at a time, and every order may be
// given again without effect.
func TestAGroupMovesToOtherNodes(t *testing.T) {
	c := newTestCluster(t, 6, func(c *testCluster) { c.founders = 3 })
	c.write(7, "k", "0")
	for i := range 3 {
		in, out := fmt.Sprintf("n%d", i+4), fmt.Sprintf("n%d", i+1)
		added := c.addLearner(in)
		if again := c.addLearner(in); again != added {
			t.Errorf("adding %s again gives the membership of entry %d, not %d", in, again, added)
		}
		promoted := c.promote(in)
		if again := c.promote(in); again != promoted {
			t.Errorf("promoting %s again gives the membership of entry %d, not %d", in, again, promoted)
		}
		removed := c.remove(out, 2)
		if again := c.remove(out, 2); again != removed {
			t.Errorf("removing %s again gives the membership of entry %d, not %d", out, again, removed)
		}
		c.write(7, "k", fmt.Sprint(i+1), "n4", "n5", "n6", "n3", "n2")
	}
	m, err := c.leader(7).groups[7].Membership(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Configuration.Servers) != 3 || len(m.Configuration.Voters()) != 3 || m.Changing {
		t.Errorf("the membership is %+v", m)
	}
	for _, name := range []string{"n4", "n5", "n6"} {
		if _, ok := m.Configuration.find(replicaOn(name)); !ok {
			t.Errorf("%s is no member of %+v", name, m.Configuration)
		}
		n := c.nodes[name]
		testkit.Eventually(t, patience, func() bool { return n.machines[7].get("k") == "3" }, "%s lacks the last write", name)
	}
}

// TestALearnerThatLagsDoesNotVote (R18).
func TestALearnerThatLagsDoesNotVote(t *testing.T) {
	c := newTestCluster(t, 4, func(c *testCluster) { c.founders = 3 })
	c.isolate(c.nodes["n4"])
	c.addLearner("n4")
	c.write(7, "k", "1")
	g := c.leader(7).groups[7]
	if _, err := g.Promote(within(t, patience), replicaOn("n4"), 0); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("promoting a learner that was never heard of: %v", err)
	}
	if _, err := g.Promote(within(t, patience), replicaOn("n9"), 0); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("promoting a stranger: %v", err)
	}
	c.rejoin(c.nodes["n4"])
	c.promote("n4")
	c.converge(7, "k", "1")
}

// TestAChangeKeepsAMajorityThatAnswers (R18).
func TestAChangeKeepsAMajorityThatAnswers(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "k", "1")
	lead := c.leader(7)
	dead, alive := c.others(lead)[0], c.others(lead)[1]
	c.isolate(dead)
	g := lead.groups[7]
	testkit.Eventually(t, patience, func() bool {
		_, ok := g.current.Load().healthy(replicaOn(dead.name).String())
		return !ok
	}, "the dead one is not noticed")
	ctx := within(t, patience)
	if _, err := g.Remove(ctx, replicaOn(alive.name), 0, 2); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("removing one of two that answer: %v", err)
	}
	if _, err := g.Remove(ctx, replicaOn(dead.name), 0, 3); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("removing one where three must remain: %v", err)
	}
	index, err := g.Remove(ctx, replicaOn(dead.name), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.AddLearner(ctx, replicaOn("n9"), index-1); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("a change of a membership that is over: %v", err)
	}
	c.write(7, "k", "2", lead.name, alive.name)
}
