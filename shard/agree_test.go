package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// S10.
func TestAMajorityDecidesWhoDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		sums    []int // 0: cannot tell
		found   bool
		dissent string
		split   bool
	}{
		"all agree":            {[]int{1, 1, 1}, true, "[]", false},
		"one differs":          {[]int{1, 2, 1}, true, "[n1]", false},
		"the first differs":    {[]int{2, 1, 1}, true, "[n0]", false},
		"one is silent":        {[]int{1, 0, 1}, true, "[]", false},
		"two are silent":       {[]int{1, 0, 0}, false, "[]", false},
		"two differ, no third": {[]int{1, 2, 0}, false, "[]", true},
		"all differ":           {[]int{1, 2, 3}, false, "[]", true},
		"two of two":           {[]int{1, 2}, false, "[]", true},
		"two of five":          {[]int{1, 2, 1, 2, 1}, true, "[n1 n3]", false},
		"two and two of five":  {[]int{1, 2, 1, 2, 0}, false, "[]", true},
		"one alone":            {[]int{1}, true, "[]", false},
	} {
		var reports []report
		for i, sum := range c.sums {
			reports = append(reports, report{raft.ReplicaID{Node: api.NodeID(fmt.Sprint("n", i))}, sum != 0, uint64(sum)})
		}
		v := judge(reports)
		dissent := []api.NodeID{}
		for _, r := range v.dissent {
			dissent = append(dissent, r.Node)
		}
		if v.found != c.found || v.split != c.split || fmt.Sprint(dissent) != c.dissent || v.found && v.majority != 1 {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Digest and Fence make a node a way to the other replicas.
func (n *node) Digest(ctx context.Context, other api.NodeID, _ api.ShardID, index api.Index) (Digest, error) {
	s := n.c.shardOf(other)
	if s == nil {
		return Digest{}, api.ErrUnavailable
	}
	return s.Digest(ctx, index)
}

func (n *node) Fence(ctx context.Context, other api.NodeID, _ api.ShardID, majority Digest) error {
	s := n.c.shardOf(other)
	if s == nil {
		return api.ErrUnavailable
	}
	return s.Fence(ctx, majority)
}

func (n *node) Checkpoint(_ context.Context, other api.NodeID, _ api.ShardID, w io.Writer) error {
	s := n.c.shardOf(other)
	if s == nil {
		return api.ErrUnavailable
	}
	return s.SendCheckpoint(w)
}

// run notes which shard runs on a node, nil for none.
func (c *cluster) run(id api.NodeID, s *Shard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[id] = s
}

func (c *cluster) shardOf(id api.NodeID) *Shard {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[id]
}

// tamper changes a row behind the machine's back, as a broken disk or a bug of apply would.
func (n *node) tamper(key, value string) {
	t := n.c.t
	t.Helper()
	h, err := n.shard.machine.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	b := h.DB.NewBatch()
	b.Put(rows.Key(0, []byte(key)), rows.EncodeValue([]byte(value)), h.DB.LastVersion(), 0)
	if err := h.DB.Apply(b); err != nil {
		t.Fatal(err)
	}
}

// inStep waits until every node has applied what the leader has.
func (c *cluster) inStep() *node {
	c.t.Helper()
	leader := c.leader()
	index := leader.shard.machine.digests.newest().index
	for _, n := range c.nodes {
		if _, err := n.shard.Digest(c.context(), index); err != nil {
			c.t.Fatalf("%s: %v", n.id, err)
		}
	}
	return leader
}

func nobody(context.Context, api.NodeID) (Proof, error) { return Proof{}, api.ErrUnavailable }

func frequentUpkeep(n *node) { n.upkeep = 50 * time.Millisecond }

func TestAReplicaThatDiffersIsFenced(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprintf("leads=%t", leads), func(t *testing.T) {
			c := newCluster(t, 3, clock.Real{}, frequentUpkeep)
			c.do(batch(put("n", "5")))
			odd := c.inStep()
			for _, n := range c.nodes {
				if !leads && !n.shard.group.IsReadyLeader() {
					odd = n
				}
			}
			odd.mustGetStale("n", time.Hour) // from now on it has a proof at hand
			odd.tamper("n", "6")
			c.do(request(batch(increment("n", 1)), clock.Millis(clock.Real{}), 1, 1))
			testkit.Eventually(t, patience, func() bool { return odd.shard.Status().GetRole() == "fenced" }, "the odd one is not fenced")
			if _, err := odd.shard.Get(c.context(), 1, 0, [][]byte{[]byte("n")}); err == nil {
				t.Error("a fenced replica serves")
			}
			if _, err := odd.shard.GetStale(c.context(), 1, 0, [][]byte{[]byte("n")}, Staleness{Bound: time.Hour, Ask: nobody}); err == nil {
				t.Error("a fenced replica serves stale reads")
			}
			c.do(batch(put("m", "1"))) // the others go on
			if it := c.get("n"); string(it.Value) != "6" {
				t.Errorf("the majority's n is %q", it.Value)
			}
			for _, n := range c.nodes {
				if fenced := n.shard.Status().GetRole() == "fenced"; fenced != (n == odd) {
					t.Errorf("%s is fenced: %t", n.id, fenced)
				}
			}
			if err := refuseFenced(odd.disk, odd.shard.options.Dir); !errors.Is(err, ErrFenced) {
				t.Errorf("after a restart it would run: %v", err)
			}
		})
	}
}

func TestWithoutAMajorityWritesStop(t *testing.T) {
	c := newCluster(t, 2, clock.Real{}, frequentUpkeep)
	c.do(batch(put("n", "5")))
	leader := c.inStep()
	c.nodes[1].tamper("n", "6")
	c.do(request(batch(increment("n", 1)), clock.Millis(clock.Real{}), 1, 1))
	testkit.Eventually(t, patience, leader.shard.halted.Load, "writes are not stopped")
	if _, err := leader.shard.Apply(c.context(), batch(put("m", "1"))); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("a write: %v", err)
	}
	for _, n := range c.nodes {
		if n.shard.Status().GetRole() == "fenced" {
			t.Errorf("%s is fenced without a majority", n.id)
		}
	}
}

func TestAReplicaIsNotFencedForWhatItDoesNotDiffer(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	c.do(batch(put("n", "5")))
	s := c.leader().shard
	own := s.machine.digests.newest()
	for _, d := range []Digest{{own.index, own.digest, DigestVersion}, {own.index + 5, 1, DigestVersion}, {own.index, own.digest + 1, DigestVersion + 1}} {
		if err := s.Fence(c.context(), d); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("fence by %+v: %v", d, err)
		}
	}
	c.do(batch(put("n", "6")))
}

// S10: a fence is for good, so that a message that is not true must not be enough.
func TestAReplicaAsksTheOthersBeforeItIsFenced(t *testing.T) {
	c := newCluster(t, 3, clock.Real{}, nil)
	c.do(batch(put("n", "5")))
	index := c.inStep().shard.machine.digests.newest().index
	for _, n := range c.nodes {
		if err := n.shard.Fence(c.context(), Digest{Index: index, Sum: 1, Version: DigestVersion}); !errors.Is(err, api.ErrUnavailable) {
			t.Errorf("%s is told of a majority that there is not: %v", n.id, err)
		}
		if n.shard.Status().GetRole() == "fenced" {
			t.Errorf("%s is fenced by one message", n.id)
		}
	}
	c.do(batch(put("n", "6")))
}

func TestDigestsAreRememberedUpToTheirNumber(t *testing.T) {
	var d digests
	d.reset(digestAt{10, 1})
	for i := api.Index(1); i <= maxDigests+100; i++ {
		d.add([]digestAt{{10 + 2*i, uint64(i)}})
	}
	newest := d.newest()
	if newest.index != 10+2*(maxDigests+100) || len(d.list) != maxDigests {
		t.Fatalf("newest %+v of %d", newest, len(d.list))
	}
	for i := api.Index(1); i <= maxDigests+100; i++ {
		sum, found := d.at(10 + 2*i)
		if found != (i > 100) || found && sum != uint64(i) {
			t.Fatalf("entry %d: %d, %t", 10+2*i, sum, found)
		}
		if _, found := d.at(11 + 2*i); found {
			t.Fatal("an entry that was not applied has a digest")
		}
	}
}

func TestReplicasOfOneLogHaveOneDigestAndOthersNot(t *testing.T) {
	rng := testkit.Rand(t)
	log := randomLog(rng, 200)
	a, b := newBench(t), newBench(t)
	a.apply(log...)
	for _, e := range log {
		b.apply(e)
		if rng.IntN(20) == 0 {
			b.close()
			b.open()
		}
	}
	if x, y := a.m.digests.newest(), b.m.digests.newest(); x != y {
		t.Errorf("digests %+v and %+v", x, y)
	}
	before := b.m.state().digest
	h, err := b.m.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	if raw, ok, err := h.DB.Get(stateRowKey, engine.MaxVersion); err != nil || !ok {
		t.Fatal(err)
	} else if s, err := decodeState(raw.Value); err != nil || s.digest != before {
		t.Errorf("the state row has digest %x, %v", s.digest, err)
	}
	b.index, b.now = log[len(log)-1].Index+1, startMillis+10*sessionHorizonMillis
	last := raft.Entry{Index: b.index, Term: 99, Data: b.entry(EncodeCommand(batch(put("one", "more")))).Data}
	b.apply(last)
	if b.m.state().digest == before {
		t.Error("a write did not change the digest")
	}
}

// digestsAgree waits until every node has the digest that the leader has after its newest entry.
func (c *cluster) digestsAgree() {
	c.t.Helper()
	own := c.inStep().shard.machine.digests.newest()
	for _, n := range c.nodes {
		if d, err := n.shard.Digest(c.context(), own.index); err != nil || d.Sum != own.digest {
			c.t.Fatalf("%s: %+v, %v, the leader has %+v", n.id, d, err, own)
		}
	}
}

// donors are the nodes of a shard whose replicas never moved.
func donors(o Options) (nodes []api.NodeID) {
	for _, v := range o.Voters {
		nodes = append(nodes, v.Node)
	}
	return nodes
}

// rebuild fetches a replacement for a fenced replica and opens it again.
func (n *node) rebuild() {
	t := n.c.t
	t.Helper()
	o := n.shard.options
	var r Replacement
	testkit.Eventually(t, patience, func() (ok bool) {
		var err error
		if r, err = FetchReplacement(n.c.context(), n.id, o, donors(o)); err != nil {
			t.Log(err)
		}
		return err == nil
	}, "no replacement")
	n.c.run(n.id, nil)
	if err := n.shard.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Rebuild(n.host, o, r); err != nil {
		t.Fatal(err)
	}
	var err error
	if n.shard, err = Open(n.host, o); err != nil {
		t.Fatal(err)
	}
	n.c.run(n.id, n.shard)
}

// S10: what a fenced replica held is replaced by what the others hold; its log and its votes go on, and it
// counts again.
func TestAFencedReplicaIsRebuiltFromTheOthers(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		t.Run(fmt.Sprintf("flushed=%t", flushed), func(t *testing.T) {
			c := newCluster(t, 3, clock.Real{}, frequentUpkeep)
			c.do(batch(put("n", "5")))
			odd := c.inStep()
			odd.tamper("n", "6")
			c.do(request(batch(increment("n", 1)), clock.Millis(clock.Real{}), 1, 1))
			testkit.Eventually(t, patience, odd.shard.Fenced, "the odd one is not fenced")
			if err := odd.shard.SendCheckpoint(io.Discard); !errors.Is(err, api.ErrUnavailable) {
				t.Errorf("a fenced replica sends a checkpoint: %v", err)
			}
			c.do(batch(put("m", "1"))) // in a term that the fenced one has not heard of
			if flushed {               // and the others' logs are cut behind it
				for _, n := range c.nodes {
					if n != odd {
						if err := n.shard.Snapshot(); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			odd.rebuild()
			c.do(batch(put("m", "2")))
			c.digestsAgree()
			for _, n := range c.nodes {
				if n.shard.Fenced() {
					t.Errorf("%s is fenced", n.id)
				}
			}
			// It counts: with one of the others away it is half of the majority, and whoever leads has the right n.
			for _, n := range c.nodes {
				if n != odd {
					n.stop()
					break
				}
			}
			c.do(batch(put("m", "3")))
			if it := c.get("n"); string(it.Value) != "6" {
				t.Errorf("n is %q", it.Value)
			}
		})
	}
}

// S10: a replica whose disk does not take the mark is fenced all the same, and is so after a restart once the disk
// takes it; without the mark nothing is put in its place.
func TestAFencedReplicaThatCouldNotWriteSoWritesItLater(t *testing.T) {
	var full atomic.Bool
	c := newCluster(t, 3, clock.Real{}, func(n *node) {
		n.files = vfs.NewFault(n.disk, vfs.InjectorFunc(func(op vfs.Op, name string) error {
			if full.Load() && op == vfs.OpCreate && strings.Contains(name, fenceName) {
				return syscall.ENOSPC
			}
			return nil
		}))
	})
	c.do(batch(put("n", "5")))
	c.inStep()
	odd, one := c.nodes[0], c.nodes[1]
	if err := odd.shard.MarkFenced(); !errors.Is(err, ErrNotFenced) {
		t.Errorf("a replica that is well is marked: %v", err)
	}
	odd.tamper("n", "6")
	c.do(request(batch(increment("n", 1)), clock.Millis(clock.Real{}), 1, 1))
	c.inStep()
	newest := one.shard.machine.digests.newest()
	full.Store(true)
	if err := odd.shard.Fence(c.context(), Digest{Index: newest.index, Sum: newest.digest, Version: DigestVersion}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := odd.shard.MarkFenced(); !errors.Is(err, syscall.ENOSPC) || !odd.shard.Fenced() {
		t.Fatalf("fenced is %t, %v", odd.shard.Fenced(), err)
	}
	if _, err := FetchReplacement(c.context(), odd.id, odd.shard.options, donors(odd.shard.options)); !errors.Is(err, ErrNotFenced) {
		t.Fatalf("a replacement although the mark is missing: %v", err)
	}
	full.Store(false)
	if err := odd.shard.MarkFenced(); err != nil {
		t.Fatal(err)
	}
	c.do(batch(put("m", "1")))
	odd.rebuild()
	c.digestsAgree()
}

// S10: a leader that could not ask a voter asks it later, although nothing was written in between: what the voter
// holds may differ by then.
func TestAVoterThatWasSilentIsAskedAgain(t *testing.T) {
	c := newCluster(t, 3, clock.Real{}, nil)
	c.do(batch(put("n", "5")))
	leader := c.inStep()
	silent := c.nodes[0]
	if silent == leader {
		silent = c.nodes[1]
	}
	c.run(silent.id, nil)
	leader.shard.compare(c.context())
	if leader.shard.compared != (digestAt{}) {
		t.Error("a comparison without one of the voters is the last")
	}
	c.run(silent.id, silent.shard)
	leader.shard.compare(c.context())
	if leader.shard.compared != leader.shard.machine.digests.newest() {
		t.Error("all voters agree, and are asked again")
	}
}

// S10: until a majority confirms what a checkpoint holds it does not replace anything.
func TestAReplacementThatNoMajorityConfirmsIsRefused(t *testing.T) {
	c := newCluster(t, 3, clock.Real{}, nil)
	c.do(batch(put("n", "5")))
	index := c.inStep().shard.machine.digests.newest().index
	odd, one, other := c.nodes[0], c.nodes[1], c.nodes[2]
	odd.tamper("n", "6")
	c.do(request(batch(increment("n", 1)), clock.Millis(clock.Real{}), 1, 1))
	if c.inStep(); odd.shard.machine.digests.newest().index == index {
		t.Fatal("nothing was applied")
	}
	newest := one.shard.machine.digests.newest()
	if err := odd.shard.Fence(c.context(), Digest{Index: newest.index, Sum: newest.digest, Version: DigestVersion}); err != nil {
		t.Fatal(err)
	}
	c.run(other.id, nil) // does not answer
	if r, err := FetchReplacement(c.context(), odd.id, odd.shard.options, donors(odd.shard.options)); err == nil {
		t.Fatalf("one of three was believed: %+v", r)
	}
	if err := refuseFenced(odd.disk, odd.shard.options.Dir); !errors.Is(err, ErrFenced) {
		t.Fatalf("not fenced any more: %v", err)
	}
}

// TestDigestsOfOtherVersionsAreNotCompared, so that nodes of two releases do not fence each other.
func TestDigestsOfOtherVersionsAreNotCompared(t *testing.T) {
	voters := []raft.ReplicaID{{Node: "a"}, {Node: "b"}, {Node: "c"}}
	reports := askVoters(t.Context(), Options{}, voters, 9, func(v raft.ReplicaID) (Digest, bool) {
		return Digest{Index: 9, Sum: uint64(v.Node[0]), Version: DigestVersion + uint32(v.Node[0]-'a')}, true
	})
	if v := judge(reports); v.found || v.split || !reports[0].known || reports[1].known || reports[2].known {
		t.Fatalf("%+v of %+v", v, reports)
	}
}
