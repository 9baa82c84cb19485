package shard

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
)

func check(key string, c api.ConditionKind, v api.Version) api.Op {
	return when(api.Op{Kind: api.OpCheck, Key: []byte(key)}, c, v)
}

func fetch(key string) api.Op { return previous(api.Op{Kind: api.OpGet, Key: []byte(key)}) }

// What a batch of reads answers is what it would answer beside a write, and it leaves no entry.
func TestABatchOfReadsIsAnsweredWithoutAnEntry(t *testing.T) {
	wall := clock.NewManual(time.UnixMilli(int64(startMillis)))
	c := newCluster(t, 1, wall, nil)
	s := c.leader().shard
	res := c.do(batch(put("a", "1"), put("empty", ""), putUntil("gone", "x", startMillis+100), putUntil("b", "22", startMillis+60_000)))
	wall.Advance(time.Second)
	c.get("gone")
	testkit.Eventually(t, 10*time.Second, func() bool {
		return s.machine.state().ceilingMillis >= startMillis+1000
	}, "the read of an expired key does not move shard time")
	reads := []api.Op{fetch("a"), fetch("empty"), fetch("gone"), fetch("none"), {Kind: api.OpGet, Key: []byte("b")}}
	for name, ops := range map[string][]api.Op{
		"gets":              reads,
		"checks that hold":  append([]api.Op{check("a", api.ConditionVersion, res.Version), check("gone", api.ConditionAbsent, 0)}, reads...),
		"a check that does": append(append([]api.Op{}, reads...), check("a", api.ConditionVersion, res.Version+1), fetch("b")),
		"an expiry":         {check("b", api.ConditionExpiring, 0), check("a", api.ConditionPersistent, 0), check("b", api.ConditionPersistent, 0)},
	} {
		for _, independent := range []bool{false, true} {
			before := s.Status().GetAppliedIndex()
			alone := batch(ops...)
			alone.Batch.Independent = independent
			got, err := s.Apply(t.Context(), alone)
			if err != nil || got.Version != 0 {
				t.Fatalf("%s: %+v, %v", name, got, err)
			}
			if after := s.Status().GetAppliedIndex(); after != before {
				t.Fatalf("%s: %d entries were written", name, after-before)
			}
			beside := batch(append(append([]api.Op{}, ops...), put("z", "z"))...)
			beside.Batch.Independent = independent
			want := c.do(beside)
			if want.Applied {
				want.Ops = want.Ops[:len(ops)]
			}
			if want.Version = 0; !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, independent %t:\n got %+v\nwant %+v", name, independent, got, want)
			}
		}
	}
	stale := batch(reads...)
	stale.Epoch = 9
	if _, err := s.Apply(t.Context(), stale); !errors.Is(err, api.ErrStaleMap) {
		t.Fatalf("by another epoch: %v", err)
	}
}

func TestABatchOfReadsNeedsTheLeader(t *testing.T) {
	c := newCluster(t, 3, clock.Real{}, nil)
	c.do(batch(put("a", "1")))
	f := c.follower()
	if _, err := f.shard.Apply(t.Context(), batch(fetch("a"))); !errors.Is(err, api.ErrNotLeader) {
		t.Fatalf("on a follower: %v", err)
	}
	old := c.leader()
	c.cutOff(old.id, true)
	if res, err := old.shard.Apply(t.Context(), batch(fetch("a"))); err == nil {
		t.Fatalf("on a leader that is cut off: %+v", res)
	}
}

// A snapshot is judged by its own state, also when the shard has gone on since it was made.
func TestAViewHasTheStateOfItsSnapshot(t *testing.T) {
	b := configuredBench(t)
	b.must(put("a", "1"))
	h, err := b.m.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	snapshot := h.DB.Snapshot()
	defer snapshot.Close()
	before := b.m.state()
	if got, err := b.m.stateOf(snapshot); err != nil || got != before {
		t.Fatalf("the newest state is read again: %+v, %v", got, err)
	}
	b.must(put("a", "2"))
	if b.m.state().position == before.position {
		t.Fatal("a write left the position as it was")
	}
	got, err := b.m.stateOf(snapshot)
	if err != nil || *got != *before {
		t.Fatalf("the state of the snapshot is\n%+v, it was\n%+v; %v", *got, *before, err)
	}
}
