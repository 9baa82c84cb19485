package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

var testStateAt9 = State{Index: 9, Term: 4, Configuration: Configuration{Index: 3, Servers: []Server{
	{Replica: ReplicaID{Node: "n1", Incarnation: 1}, Voter: true}, {Replica: ReplicaID{Node: "n2", Incarnation: 300}},
}}}

// checkpointStream writes files into a directory and returns them as a snapshot stream.
func checkpointStream(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll("checkpoint"); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		f, err := fsys.Create("checkpoint/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := newSnapshotSource(fsys, "checkpoint", testStateAt9)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != s.size {
		t.Fatalf("announced %d bytes, streamed %d", s.size, len(b))
	}
	return b
}

var checkpointFiles = map[string][]byte{"MANIFEST": []byte("tables"), "000001.tbl": bytes.Repeat([]byte("row"), 5000), "empty": nil}

// receive writes a stream in pieces of the given size.
func receive(fsys vfs.FS, stream []byte, piece int) (*snapshotWriter, error) {
	w, err := newSnapshotWriter(fsys, "received")
	if err != nil {
		return nil, err
	}
	for part := range slices.Chunk(stream, piece) {
		if _, err := w.Write(part); err != nil {
			return w, err
		}
	}
	return w, w.finish()
}

func TestASnapshotArrivesAsItWasSentAndIsDurable(t *testing.T) {
	stream := checkpointStream(t, checkpointFiles)
	for _, piece := range []int{1, 7, 4096, len(stream)} {
		fsys := vfs.NewMem()
		w, err := receive(fsys, stream, piece)
		if err != nil {
			t.Fatalf("pieces of %d: %v", piece, err)
		}
		if got := w.header.state; got.Index != 9 || got.Term != 4 || !slices.Equal(got.Configuration.Servers, testStateAt9.Configuration.Servers) {
			t.Fatalf("state = %+v", got)
		}
		crashed := fsys.CrashClone(vfs.CrashOptions{})
		for name, want := range checkpointFiles {
			got, err := vfs.ReadFile(crashed, "received/"+name)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s after a crash: %d bytes, %v", name, len(got), err)
			}
		}
	}
}

// TestNoDamagedSnapshotIsAccepted (R9) changes every byte of a stream, and cuts it everywhere.
func TestNoDamagedSnapshotIsAccepted(t *testing.T) {
	stream := checkpointStream(t, map[string][]byte{"a": []byte("some bytes"), "b": nil})
	for i := range stream {
		damaged := bytes.Clone(stream)
		damaged[i] ^= 0x20
		if _, err := receive(vfs.NewMem(), damaged, 16); err == nil {
			t.Fatalf("accepted with byte %d changed", i)
		}
		if _, err := receive(vfs.NewMem(), stream[:i], 16); err == nil {
			t.Fatalf("accepted with %d of %d bytes", i, len(stream))
		}
	}
	if _, err := receive(vfs.NewMem(), append(bytes.Clone(stream), 0), 16); err == nil {
		t.Fatal("accepted with a byte too many")
	}
}

func TestASnapshotCannotNameFilesElsewhere(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "../x", "a\\b", "a\x00", string(make([]byte, 256))} {
		h := snapshotHeader{state: testStateAt9, files: []snapshotFile{{name: name}}}
		if _, err := receive(vfs.NewMem(), h.encode(), 1<<20); err == nil {
			t.Errorf("accepted the file name %q", name)
		}
	}
}

func FuzzSnapshotStream(f *testing.F) {
	h := snapshotHeader{state: testStateAt9, files: []snapshotFile{{name: "a", size: 3}}}
	f.Add(append(h.encode(), "abc1234"...))
	f.Add([]byte(snapshotMagic))
	f.Fuzz(func(t *testing.T, stream []byte) {
		fsys := vfs.NewMem()
		w, err := receive(fsys, stream, 64)
		if err != nil {
			return
		}
		source, err := newSnapshotSource(fsys, "received", w.header.state)
		if err != nil {
			t.Fatal(err)
		}
		again, err := io.ReadAll(source)
		if err != nil || int64(len(again)) != source.size {
			t.Fatalf("an accepted snapshot cannot be sent on: %v", err)
		}
	})
}

func TestAConfigurationIsReadBackAsItWas(t *testing.T) {
	c := testStateAt9.Configuration
	b := c.Marshal()
	if want := "\x01\x03\x02\x01\x01\x02n1\x00\xac\x02\x02n2"; string(b) != want {
		t.Fatalf("encoded as %q, the format is %q", b, want)
	}
	got, err := UnmarshalConfiguration(b)
	if err != nil || got.Index != c.Index || !slices.Equal(got.Servers, c.Servers) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		if _, err := UnmarshalConfiguration(b[:i]); err == nil {
			t.Fatalf("decoded from %d of %d bytes", i, len(b))
		}
	}
	back, err := configurationFromLibrary(3, c.toLibrary())
	if err != nil || !slices.Equal(back.Servers, c.Servers) {
		t.Fatalf("through the library: %+v, %v", back, err)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(testStateAt9.Configuration.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := UnmarshalConfiguration(b)
		if err == nil && !bytes.Equal(c.Marshal(), b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x", b, c, c.Marshal())
		}
	})
}

// newTestLog is a guarded log over an empty bolt file.
func newTestLog(t *testing.T, durable *api.Index) (*guardedLog, *[]error) {
	t.Helper()
	s, err := NewNodeStorage(NodeStorageOptions{Dir: t.TempDir(), FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Open(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var failures []error
	return newGuardedLog(l, func() api.Index { return *durable }, func(err error) { failures = append(failures, err) }), &failures
}

func fill(t *testing.T, g hraft.LogStore, term, first, last uint64) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := g.StoreLog(&hraft.Log{Index: i, Term: term, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNothingIsCutThatTheStateMachineNeeds (R4).
func TestNothingIsCutThatTheStateMachineNeeds(t *testing.T) {
	durable := api.Index(5)
	g, failures := newTestLog(t, &durable)
	fill(t, g.store, 1, 1, 10)
	pinned := g.pin(4)
	if err := g.DeleteRange(1, 5); err != nil {
		t.Fatal(err)
	}
	if first, _ := g.FirstIndex(); first != 4 {
		t.Fatalf("a snapshot on its way needs 4, the log begins at %d", first)
	}
	pinned.release()
	if err := g.DeleteRange(4, 5); err != nil {
		t.Fatal(err)
	}
	if err := g.DeleteRange(9, 10); err != nil {
		t.Fatalf("a suffix: %v", err)
	}
	if len(*failures) != 0 {
		t.Fatal(*failures)
	}
	if err := g.DeleteRange(6, 8); err != nil {
		t.Fatalf("everything beyond the state machine, which conflicts: %v", err)
	}
	fill(t, g, 1, 6, 8)
	durable = 7
	if err := g.DeleteRange(6, 8); err == nil || len(*failures) != 1 {
		t.Fatalf("cut behind the state machine: %v", err)
	}
	if err := g.StoreLogs([]*hraft.Log{{Index: 12, Term: 1}}); err == nil || len(*failures) != 2 {
		t.Fatalf("left a gap that the state machine does not hold: %v", err)
	}
}

// TestTheLogIsCutNoFurtherThanTheStateMachineHolds: the library counts entries of its own, which
// the state machine never sees, among what a snapshot holds. They stay a little longer (R4).
func TestTheLogIsCutNoFurtherThanTheStateMachineHolds(t *testing.T) {
	durable := api.Index(5)
	g, failures := newTestLog(t, &durable)
	fill(t, g.store, 1, 1, 10)
	for _, start := range []uint64{1, 6} {
		if err := g.DeleteRange(start, 6); err != nil || len(*failures) != 0 {
			t.Fatalf("%v, %v", err, *failures)
		}
		if first, _ := g.FirstIndex(); first != 6 {
			t.Fatalf("the log begins at %d", first)
		}
	}
}

// TestTheRepairOfALogLooksAgain: until the library has stopped, a newer leader may replace what
// conflicted and be told that its entries are stored.
func TestTheRepairOfALogLooksAgain(t *testing.T) {
	var durable api.Index
	l, _ := newTestLog(t, &durable)
	fill(t, l, 1, 1, 10)
	g := &Group{store: l.store, logger: testkit.Logger(t), applier: &applier{}, restarts: make(chan restart, 1)}
	i := &instance{group: g, raft: &hraft.Raft{}}
	for _, want := range []uint64{8, 4} {
		if err := i.AdmitSnapshot(5, 2); !errors.Is(err, errSnapshotConflicts) {
			t.Fatal(err)
		}
		if want == 8 {
			fill(t, l, 2, 5, 8)
		}
		if err := (<-g.restarts).repair(); err != nil {
			t.Fatal(err)
		}
		if last, _ := l.LastIndex(); last != want {
			t.Fatalf("the log ends at %d, want %d", last, want)
		}
		fill(t, l, 1, 5, 10)
	}
}

// TestALogThatConflictsWithASnapshotIsRepaired is hashicorp/raft issue 697: a follower whose log
// has another entry at the snapshot's index must still catch up.
func TestALogThatConflictsWithASnapshotIsRepaired(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.timing = Timing{SnapshotThreshold: 20, SnapshotInterval: 20 * time.Millisecond, TrailingLogs: 5}
	})
	c.write(7, "a", "1")
	c.converge(7, "a", "1")
	lagging := c.others(c.leader(7))[0]
	lagging.crash()
	// Entries of a term that nobody else has heard of, as a leader leaves them that was cut off.
	s, err := NewNodeStorage(NodeStorageOptions{Dir: lagging.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Open(7, 1)
	if err != nil {
		t.Fatal(err)
	}
	last, err := l.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 1, last+1, last+400)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		c.write(7, "a", fmt.Sprint(i), names(c.others(lagging))...)
	}
	leader := c.leader(7, names(c.others(lagging))...)
	testkit.Eventually(t, patience, func() bool { return leader.groups[7].Status().FirstLog > 50 }, "the log was not cut")
	lagging.start()
	c.write(7, "a", "end")
	c.converge(7, "a", "end")
	// The machine shows what is in a snapshot before that is in place.
	testkit.Eventually(t, patience, func() bool { return lagging.groups[7].Status().SnapshotsInstalled > 0 }, "no snapshot was installed")
	if err := lagging.groups[7].Status().Err; err != nil {
		t.Fatal(err)
	}
}

// TestASnapshotArrivesAtTheOnlyFollowerHoweverLongItTakes lets the transfer take longer than
// every timeout, with the third node down. A follower that answered no heartbeat meanwhile would
// cost the leader its office, and that the transfer, again and again.
func TestASnapshotArrivesAtTheOnlyFollowerHoweverLongItTakes(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.timing = Timing{SnapshotThreshold: 20, SnapshotInterval: 20 * time.Millisecond, TrailingLogs: 5}
	})
	c.write(7, "a", "1")
	leader := c.leader(7)
	lagging, dead := c.others(leader)[0], c.others(leader)[1]
	lagging.crash()
	for i := range 100 {
		c.write(7, "a", fmt.Sprint(i), leader.name, dead.name)
	}
	leader = c.leader(7, leader.name, dead.name)
	dead = c.nodes[names(slices.DeleteFunc(c.others(leader), func(n *testNode) bool { return n == lagging }))[0]]
	testkit.Eventually(t, patience, func() bool { return leader.groups[7].Status().FirstLog > 50 }, "the log was not cut")
	var once sync.Once
	lagging.disk.(*vfs.Mem).OnCall(func(op vfs.Op, name string) {
		if op == vfs.OpCreate && strings.Contains(name, "receive") && strings.HasSuffix(name, testStateFile) {
			once.Do(func() { <-time.After(3 * time.Second) })
		}
	})
	dead.crash()
	lagging.start()
	c.write(7, "a", "end", leader.name, lagging.name)
	lagging.disk.(*vfs.Mem).OnCall(nil)
	dead.start()
	c.converge(7, "a", "end")
}

// TestACandidateWhoseSnapshotIsPutInPlaceVotesForOthers: its leader sent it and died. The library remembers a leader
// with the snapshot and stays a candidate, one that refuses its vote because it has a leader, and gets no
// votes because its log is shorter.
func TestACandidateWhoseSnapshotIsPutInPlaceVotesForOthers(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.timing = Timing{SnapshotThreshold: 20, SnapshotInterval: 20 * time.Millisecond, TrailingLogs: 5}
	})
	c.write(7, "a", "1")
	lagging := c.others(c.leader(7))[0]
	lagging.crash()
	rest := c.others(lagging)
	for i := range 100 {
		c.write(7, "a", fmt.Sprint(i), names(rest)...)
	}
	testkit.Eventually(t, patience, func() bool {
		return rest[0].groups[7].Status().FirstLog > 50 && rest[1].groups[7].Status().FirstLog > 50
	}, "the logs were not cut")
	received, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	lagging.disk.(*vfs.Mem).OnCall(func(op vfs.Op, name string) {
		if op == vfs.OpSyncDir && strings.Contains(name, "receive") {
			once.Do(func() { close(received); <-release })
		}
	})
	lagging.start()
	<-received
	c.isolate(lagging)
	c.write(7, "a", "end", names(rest)...)
	leader := c.leader(7, names(rest)...)
	other := c.nodes[names(slices.DeleteFunc(rest, func(n *testNode) bool { return n == leader }))[0]]
	testkit.Eventually(t, patience, func() bool { return other.machines[7].get("a") == "end" }, "not applied")
	leader.crash()
	candidate := lagging.groups[7].current.Load().raft
	testkit.Eventually(t, patience, func() bool { return candidate.State() == hraft.Candidate }, "it waits for its leader")
	close(release)
	testkit.Eventually(t, patience, func() bool { return lagging.groups[7].Status().SnapshotsInstalled == 1 }, "it is not in place")
	c.rejoin(lagging)
	c.write(7, "a", "next", other.name)
	leader.start()
	c.converge(7, "a", "next")
}

func TestStagingLeftoversAreRemovedAtStart(t *testing.T) {
	c := newTestCluster(t, 1)
	n := c.nodes["n1"]
	n.crash()
	if err := n.disk.MkdirAll("raft/staging/7-1/receive-1"); err != nil {
		t.Fatal(err)
	}
	n.start()
	if left, err := n.disk.List("raft/staging/7-1"); err != nil || len(left) != 0 {
		t.Fatalf("left %v, %v", left, err)
	}
}

func TestASnapshotOlderThanTheStateIsRefused(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "a", "1")
	i := c.leader(7).groups[7].current.Load()
	applied := i.group.applier.applied.Load()
	if err := i.AdmitSnapshot(applied-1, 1); !errors.Is(err, errSnapshotOld) {
		t.Fatalf("older: %v", err)
	}
	if err := i.AdmitSnapshot(applied+100, 1); err != nil {
		t.Fatalf("newer: %v", err)
	}
	r := &receivedSnapshot{fs: vfs.NewMem(), dir: "x", state: State{Index: api.Index(applied - 1), Term: 1}}
	if err := i.group.applier.Restore(r); !errors.Is(err, errSnapshotOld) {
		t.Fatalf("restore: %v", err)
	}
}
