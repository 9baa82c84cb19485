package raft

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestAFoundedReplicaKeepsItsTermAndItsVote (R21), and one that has a log is left alone.
func TestAFoundedReplicaKeepsItsTermAndItsVote(t *testing.T) {
	storage, err := NewNodeStorage(NodeStorageOptions{Dir: t.TempDir(), FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	defer storage.Close()
	log, err := storage.Open(9, 1)
	if err != nil {
		t.Fatal(err)
	}
	installed := 0
	install := func() error { installed++; return nil }
	for i, c := range []struct{ before, state, want uint64 }{{0, 3, 3}, {3, 3, 3}, {3, 5, 5}, {8, 5, 8}} {
		if c.before > 0 {
			if err := log.SetUint64([]byte(keyCurrentTerm), c.before); err != nil {
				t.Fatal(err)
			}
			if err := log.Set([]byte(keyLastVoteCand), []byte("n2#1")); err != nil {
				t.Fatal(err)
			}
		}
		if done, err := found(log, State{Index: 40, Term: api.Term(c.state)}, install); !done || err != nil || installed != i+1 {
			t.Fatalf("%+v: founded %t, %v", c, done, err)
		}
		if term, err := log.GetUint64([]byte(keyCurrentTerm)); err != nil || term != c.want {
			t.Errorf("%+v: the term is %d, %v", c, term, err)
		}
		if vote, err := log.Get([]byte(keyLastVoteCand)); c.before > 0 && (err != nil || string(vote) != "n2#1") {
			t.Errorf("%+v: the vote is %q, %v", c, vote, err)
		}
	}
	failing := errors.New("no room")
	if _, err := found(log, State{Index: 40, Term: 5}, func() error { return failing }); !errors.Is(err, failing) {
		t.Errorf("an installation that failed: %v", err)
	}
	if err := log.StoreLog(&hraft.Log{Index: 1, Term: 8, Type: hraft.LogCommand}); err != nil {
		t.Fatal(err)
	}
	if done, err := found(log, State{Index: 40, Term: 9}, install); done || err != nil || installed != 4 {
		t.Errorf("a replica with a log was founded: %v", err)
	}
}

// TestAFoundedGroupBeginsWithItsState (R21): two of three replicas have it; the third one began empty, got the state as a
// snapshot, and votes. A replica that runs or was discarded is not founded.
func TestAFoundedGroupBeginsWithItsState(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) { c.groups = nil })
	state := State{Index: 40, Term: 3, Configuration: Configuration{Index: 40}}
	for _, name := range c.names {
		state.Configuration.Servers = append(state.Configuration.Servers, Server{Replica: replicaOn(name), Voter: true})
	}
	for _, name := range c.names {
		n := c.nodes[name]
		if name != "n3" {
			founded, err := n.host.Found(9, 1, state, func() error { return writeState(n.disk, "machine-9", state) })
			if !founded || err != nil {
				t.Fatalf("%s: founded %t, %v", name, founded, err)
			}
		}
		m, err := openTestMachine(n.disk, "machine-9")
		if err != nil {
			t.Fatal(err)
		}
		g, err := n.host.Start(GroupOptions{ID: 9, Incarnation: 1, StateMachine: m, Tick: func() []byte { return []byte("tick=x") }})
		if err != nil {
			t.Fatal(err)
		}
		n.machines[9], n.groups[9] = m, g
		if founded, err := n.host.Found(9, 1, state, func() error { panic("it runs") }); founded || err != nil {
			t.Fatalf("%s runs: founded %t, %v", name, founded, err)
		}
	}
	c.write(9, "k", "1")
	c.converge(9, "k", "1")
	c.converge(9, "inherited", "yes")
	leader := c.leader(9)
	if s := leader.groups[9].Status(); s.Term <= state.Term || s.FirstLog != state.Index+1 {
		t.Errorf("the leader is %+v", s)
	}
	// With the third one a majority is left when one of the others is gone.
	gone := c.others(c.nodes["n3"])[0]
	gone.crash()
	rest := []string{"n3"}
	for _, o := range c.others(gone) {
		if o.name != "n3" {
			rest = append(rest, o.name)
		}
	}
	c.write(9, "k", "2", rest...)
	n3 := c.nodes["n3"]
	testkit.Eventually(t, patience, func() bool { return n3.machines[9].get("k") == "2" }, "n3 does not follow")
	if err := n3.groups[9].Close(); err != nil {
		t.Fatal(err)
	}
	if err := n3.host.Discard(9, 1); err != nil {
		t.Fatal(err)
	}
	if founded, err := n3.host.Found(9, 1, state, func() error { panic("it was discarded") }); founded || err != nil {
		t.Errorf("a discarded replica: founded %t, %v", founded, err)
	}
}

// TestAnEmptyReplicaThatHasLostNothingVotes (R19): of three replicas that a group is founded with two have its state, one of which
// dies before the third one has got it. The first one leads by the vote of the third one, which is never elected itself
// and remembers after a restart that it has run.
func TestAnEmptyReplicaThatHasLostNothingVotes(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) { c.groups = nil })
	state := State{Index: 40, Term: 3, Configuration: Configuration{Index: 40}}
	for _, name := range c.names {
		state.Configuration.Servers = append(state.Configuration.Servers, Server{Replica: replicaOn(name), Voter: true})
	}
	start := func(name string) {
		n := c.nodes[name]
		m, err := openTestMachine(n.disk, "machine-9")
		if err != nil {
			t.Fatal(err)
		}
		g, err := n.host.Start(GroupOptions{ID: 9, Incarnation: 1, VotesEmpty: true, StateMachine: m, Tick: func() []byte { return []byte("tick=x") }})
		if err != nil {
			t.Fatal(err)
		}
		n.machines[9], n.groups[9] = m, g
	}
	n1, n3 := c.nodes["n1"], c.nodes["n3"]
	start("n3")
	if ran, err := n3.host.Ran(9, 1); !ran || err != nil {
		t.Fatalf("it may vote, and is not known to have run: %v", err)
	}
	if i := n3.groups[9].current.Load(); !i.MayVote() || i.MayLead() {
		t.Fatalf("empty, it may vote: %t, and lead: %t", i.MayVote(), i.MayLead())
	}
	if err := n3.groups[9].Close(); err != nil {
		t.Fatal(err)
	}
	start("n3")
	if founded, err := n1.host.Found(9, 1, state, func() error { return writeState(n1.disk, "machine-9", state) }); !founded || err != nil {
		t.Fatalf("founded %t, %v", founded, err)
	}
	start("n1")
	c.write(9, "k", "1", "n1", "n3")
	testkit.Eventually(t, patience, func() bool { return n3.machines[9].get("inherited") == "yes" && n3.machines[9].get("k") == "1" }, "n3 does not get the state")
	if !n3.groups[9].current.Load().MayLead() {
		t.Error("with the state it may not lead")
	}
}

// writeState makes a testMachine that begins with a state.
func writeState(fsys vfs.FS, dir string, state State) error {
	b, err := json.Marshal(testState{State: state, Values: map[string]string{"inherited": "yes"}})
	if err != nil {
		return err
	}
	return errors.Join(fsys.MkdirAll(dir), vfs.WriteFileAtomic(fsys, dir, testStateFile, b))
}

// TestAGroupIsNotStartedBeforeItIsFounded: whoever sees the state on the disk while it is still being put in place waits.
func TestAGroupIsNotStartedBeforeItIsFounded(t *testing.T) {
	c := newTestCluster(t, 1, func(c *testCluster) { c.groups = nil })
	n := c.nodes["n1"]
	state := State{Index: 40, Term: 3, Configuration: Configuration{Index: 40, Servers: []Server{{Replica: replicaOn("n1"), Voter: true}}}}
	started := make(chan error, 1)
	founded, err := n.host.Found(9, 1, state, func() error {
		if err := writeState(n.disk, "machine-9", state); err != nil {
			return err
		}
		go func() {
			m, err := openTestMachine(n.disk, "machine-9")
			if err == nil {
				_, err = n.host.Start(GroupOptions{ID: 9, Incarnation: 1, StateMachine: m, Tick: func() []byte { return []byte("tick=x") }})
			}
			started <- err
		}()
		select {
		case err := <-started:
			t.Errorf("it was started while it was being founded, or refused: %v", err)
			started <- err
		case <-time.After(50 * time.Millisecond):
		}
		return nil
	})
	if !founded || err != nil {
		t.Fatalf("founded %t, %v", founded, err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}

// TestAGroupIsFoundedWhileTheHostCloses: its parent's replica, which the host waits for, is applying the split.
func TestAGroupIsFoundedWhileTheHostCloses(t *testing.T) {
	c := newTestCluster(t, 1, func(c *testCluster) { c.groups = nil })
	h := c.nodes["n1"].host
	closed := func(closed bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.mu.closed = closed
	}
	closed(true)
	defer closed(false)
	if founded, err := h.Found(9, 1, State{Index: 40, Term: 3}, func() error { return nil }); !founded || err != nil {
		t.Fatalf("founded %t, %v", founded, err)
	}
}
