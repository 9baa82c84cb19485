package raft

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestWhatAReplicaHadBelowItsSnapshotReachesNobody (R17): of five voters, four replace what a leader that was cut off has
// left on the fifth. That one gets a snapshot and then leads, while another lacks what took the place of those entries:
// it must get a snapshot as well, and not the entries that nobody committed. The library begins to replicate before it
// stores the first entry of the term, which is what drops the rest of the log; here that takes as long as it needs.
func TestWhatAReplicaHadBelowItsSnapshotReachesNobody(t *testing.T) {
	var lost atomic.Int64
	slow := slowLeader{release: make(chan struct{})}
	c := newTestCluster(t, 5, func(c *testCluster) {
		c.timing = Timing{TrailingLogs: 1}
		c.setting = slow.configure
		c.onApply = func(entries []Entry) {
			for _, e := range entries {
				if strings.HasPrefix(string(e.Data), "lost=") {
					lost.Add(1)
				}
			}
		}
	})
	t.Cleanup(slow.end)
	c.write(7, "k", "1")
	c.converge(7, "k", "1")
	leader := c.leader(7)
	others := c.others(leader)
	odd, late, rest := others[0], others[1], append(others[2:], leader)
	odd.crash()
	late.crash()
	through := odd.appendLost(t, 2)
	c.writeUnderANewTerm(t, names(rest))
	c.timing.TrailingLogs = 0 // the default: odd cuts none of its log by itself
	odd.start()
	group := odd.groups[7]
	testkit.Eventually(t, patience, func() bool { return group.Status().SnapshotsInstalled > 0 && group.Status().Commit > through }, "no snapshot arrives")
	if first := group.Status().FirstLog; first != 0 && first <= through {
		t.Errorf("the log begins at %d, what was lost ends at %d", first, through)
	}
	for _, n := range rest {
		c.net.Cut(late.name, n.name)
	}
	late.start()
	testkit.Eventually(t, patience, func() bool { return odd.host.mux.Connected(api.NodeID(late.name)) }, "not connected")
	slow.group.Store(group)
	c.giveTo(odd, rest)
	// On a machine that is too busy for that, another takes over from a leader that does not store anything.
	anotherLeads := func(n *testNode) bool { return n.groups[7].leads() }
	testkit.Eventually(t, patience, func() bool {
		return lost.Load() > 0 || late.groups[7].Status().SnapshotsInstalled > 0 || slices.ContainsFunc(rest, anotherLeads)
	}, "nothing happens")
	slow.end()
	c.rejoin(late)
	c.write(7, "k", "end")
	c.converge(7, "k", "end")
	if n := lost.Load(); n > 0 {
		t.Errorf("%d entries were applied that nobody had committed", n)
	}
}

// slowLeader is a group whose replica stores nothing while it leads, until that is released.
type slowLeader struct {
	group   atomic.Pointer[Group]
	release chan struct{}
	once    sync.Once
}

func (s *slowLeader) configure(n *testNode) {
	storage, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		n.cluster.t.Fatal(err)
	}
	n.storage = &faultStorage{
		Storage: storage,
		read:    func(uint64) error { return nil },
		write: func(what string) error {
			g := s.group.Load()
			if what == "entries" && g != nil && n.groups[7] == g && g.leads() {
				<-s.release
			}
			return nil
		},
	}
}

func (s *slowLeader) end() { s.once.Do(func() { close(s.release) }) }

func (g *Group) leads() bool { return g.current.Load().raft.State() == hraft.Leader }

// writeUnderANewTerm changes the leader among the nodes that run, writes, and cuts their logs behind that.
func (c *testCluster) writeUnderANewTerm(t *testing.T, running []string) {
	t.Helper()
	_, before := c.leader(7, running...).groups[7].Leader()
	testkit.Eventually(t, patience, func() bool {
		leader := c.leader(7, running...)
		if _, term := leader.groups[7].Leader(); term > before {
			return true
		}
		_ = leader.groups[7].TransferLeadership(within(t, patience)) // is tried again
		return false
	}, "no new term begins")
	for i := range 20 {
		c.write(7, "k", fmt.Sprint(i), running...)
	}
	for _, name := range running {
		n := c.nodes[name]
		testkit.Eventually(t, patience, func() bool { return n.machines[7].get("k") == "19" }, "not applied")
		if err := n.groups[7].Snapshot(); err != nil {
			t.Fatal(err)
		}
	}
}

// appendLost adds entries to the log of a node that is stopped, as a leader leaves them that is cut off.
func (n *testNode) appendLost(t *testing.T, count uint64) (through api.Index) {
	t.Helper()
	storage, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	log, err := storage.Open(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	last, err := log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var e hraft.Log
	if err := log.GetLog(last, &e); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if err := log.StoreLog(&hraft.Log{Index: last + 1 + i, Term: e.Term, Type: hraft.LogCommand, Data: []byte("lost=1")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := storage.Close(); err != nil {
		t.Fatal(err)
	}
	return api.Index(last + count)
}

// giveTo has the leadership transferred until n leads, ready or not.
func (c *testCluster) giveTo(n *testNode, running []*testNode) {
	c.t.Helper()
	testkit.Eventually(c.t, patience, func() bool {
		for _, o := range running {
			if n.groups[7].leads() || !o.groups[7].leads() {
				continue
			}
			if result, ok := o.groups[7].current.Load().transfer(n.groups[7].replica.String()); ok {
				<-result // is tried again
			}
		}
		return n.groups[7].leads()
	}, "%s does not lead", n.name)
}

// TestALogThatEndsBelowTheStateGoes (R17): at the installation of a snapshot, and at the next start if a crash came between.
func TestALogThatEndsBelowTheStateGoes(t *testing.T) {
	for _, x := range []struct{ last, durable, kept uint64 }{{5, 9, 0}, {9, 9, 9}, {12, 9, 12}, {0, 9, 0}} {
		durable := api.Index(0)
		g, failures := newTestLog(t, &durable)
		fill(t, g, 1, 1, x.last)
		durable = api.Index(x.durable)
		if err := g.dropPassed(); err != nil || len(*failures) > 0 {
			t.Fatalf("%+v: %v, %v", x, err, *failures)
		}
		if last, _ := g.LastIndex(); last != x.kept {
			t.Errorf("%+v: the log ends at %d", x, last)
		}
		// The library cuts by what it remembers of the log.
		if err := g.DeleteRange(0, max(x.last, 1)-1); err != nil || len(*failures) > 0 {
			t.Errorf("%+v: cut: %v, %v", x, err, *failures)
		}
	}
}

// TestNothingBelowTheStateIsStoredAgain (R17): a message that comes late, to a log that was dropped, is refused, and the
// group goes on; entries in the place of others that the state machine holds mean that something is wrong.
func TestNothingBelowTheStateIsStoredAgain(t *testing.T) {
	durable := api.Index(9)
	g, failures := newTestLog(t, &durable)
	for _, first := range []uint64{1, 8, 9} {
		entries := []*hraft.Log{{Index: first, Term: 1, Data: []byte("x")}, {Index: first + 1, Term: 1, Data: []byte("x")}}
		if err := g.StoreLogs(entries); !errors.Is(err, errStateHolds) || len(*failures) > 0 {
			t.Errorf("entries from %d on: %v, %v", first, err, *failures)
		}
	}
	if last, _ := g.LastIndex(); last != 0 {
		t.Errorf("the log ends at %d", last)
	}
	fill(t, g, 1, 10, 12)
	durable = 11
	if err := g.StoreLog(&hraft.Log{Index: 11, Term: 2}); err == nil || len(*failures) != 1 {
		t.Errorf("in the place of an entry that the state machine holds: %v, %v", err, *failures)
	}
}

// TestTheEndOfALogIsCutOnlyBehindTheState (R4), also if all of it is held by the state machine, which a prefix may be.
func TestTheEndOfALogIsCutOnlyBehindTheState(t *testing.T) {
	for _, cut := range []struct{ start, end uint64 }{{8, 10}, {10, 10}, {3, 4}} {
		durable := api.Index(0)
		g, failures := newTestLog(t, &durable)
		fill(t, g, 1, 1, 10)
		durable = 10
		if err := g.DeleteRange(cut.start, cut.end); err == nil || len(*failures) != 1 {
			t.Errorf("entries %d to %d: %v, %v", cut.start, cut.end, err, *failures)
		}
		if last, _ := g.LastIndex(); last != 10 {
			t.Errorf("the log ends at %d", last)
		}
	}
}

// TestAMessageIsTakenBehindAStateThatTheLogDoesNotReach (R17).
func TestAMessageIsTakenBehindAStateThatTheLogDoesNotReach(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "k", "1")
	i := c.leader(7).groups[7].current.Load()
	if err := i.group.Snapshot(); err != nil {
		t.Fatal(err)
	}
	state := i.group.opts.StateMachine.Durable()
	if index, _ := i.Passed(uint64(state.Index) - 1); index != 0 {
		t.Errorf("passed %d, which the log has", index)
	}
	durable := api.Index(0)
	short, _ := newTestLog(t, &durable)
	fill(t, short, 1, 1, uint64(state.Index)-1)
	other := &Group{store: short.store, opts: i.group.opts}
	if index, term := (&instance{group: other}).Passed(1); index != uint64(state.Index) || term != uint64(state.Term) {
		t.Errorf("passed %d of term %d, the state ends at %d of term %d", index, term, state.Index, state.Term)
	}
}

// TestAStateThatLacksWhatTheReplicaAcknowledgedIsNotTransplanted (R17): what was in its log is only in its state, once the
// log was dropped.
func TestAStateThatLacksWhatTheReplicaAcknowledgedIsNotTransplanted(t *testing.T) {
	for _, x := range []struct {
		last, held, index uint64
		ok                bool
	}{
		{last: 0, held: 9, index: 8}, {last: 0, held: 9, index: 9, ok: true}, {last: 0, held: 9, index: 12, ok: true},
		{last: 5, held: 9, index: 7}, {last: 9, held: 9, index: 7, ok: true}, {last: 12, held: 9, index: 7, ok: true},
	} {
		durable := api.Index(0)
		log, _ := newTestLog(t, &durable)
		if err := log.SetUint64([]byte(keyCurrentTerm), 2); err != nil {
			t.Fatal(err)
		}
		fill(t, log, 2, 1, x.last)
		err := joinable(log.store, State{Index: api.Index(x.index), Term: 2}, api.Index(x.held))
		if (err == nil) != x.ok {
			t.Errorf("%+v: %v", x, err)
		}
	}
}
