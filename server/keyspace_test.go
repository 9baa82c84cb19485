package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/router"
)

func TestClearDeletesEveryKeyOfEveryShard(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i := range 500 {
		c.load(fmt.Sprint("key-", i), "v")
	}
	if err := c.servers["b"].Clear(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for id, g := range c.groups {
		if len(g.data) != 0 {
			t.Errorf("shard %d keeps %d keys", id, len(g.data))
		}
	}
	if err := c.servers["b"].Clear(t.Context(), 0); err != nil {
		t.Fatalf("an empty store: %v", err)
	}
	if err := c.servers["b"].Clear(t.Context(), 5); !errors.Is(err, api.ErrInvalid) {
		t.Fatalf("another namespace: %v", err)
	}
}

// Clear has no deadline of its own; each of its steps has.
func TestClearLastsLongerThanARequest(t *testing.T) {
	const timeout = 150 * time.Millisecond
	c := newCluster(t, 1, func(o *Options) { o.Timeout, o.AttemptTimeout = timeout, timeout })
	for i := range 140 { // twenty pages of seven
		c.load(fmt.Sprint("key-", i), "v")
	}
	c.groups[1].before = func(ctx context.Context, _ api.NodeID, write bool) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a step without a deadline")
		}
		timer := time.NewTimer(timeout / 10)
		defer timer.Stop()
		<-timer.C
		return nil
	}
	began := time.Now()
	if err := c.servers["a"].Clear(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 2*timeout || len(c.groups[1].data) != 0 {
		t.Fatalf("it took %v, and %d keys are left", took, len(c.groups[1].data))
	}
}

func TestClearThatFailsOnOneShardSaysThatTheRestMayHaveRun(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i := range 100 {
		c.load(fmt.Sprint("key-", i), "v")
	}
	refuse := func(context.Context, api.NodeID, bool) error { return api.Errorf(api.CodeSnapshotTooOld, "no") }
	c.groups[2].before = refuse
	err := c.servers["a"].Clear(t.Context(), 0)
	if !errors.Is(err, api.ErrUnknownOutcome) || !strings.Contains(err.Error(), "the rest may have been") {
		t.Fatal(err)
	}
	if len(c.groups[1].data)+len(c.groups[3].data) != 0 || len(c.groups[2].data) == 0 {
		t.Fatal("the shards that answer are not cleared, or the other is")
	}
	for _, g := range c.groups {
		g.set(func(g *group) { g.before = refuse })
	}
	if err := c.servers["a"].Clear(t.Context(), 0); !errors.Is(err, api.ErrSnapshotTooOld) {
		t.Fatalf("nothing ran: %v", err)
	}
	// One shard that fails half way has deleted keys too.
	one := newCluster(t, 1, nil)
	for i := range 30 {
		one.load(fmt.Sprint("key-", i), "v")
	}
	calls := 0
	one.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if calls++; calls > 3 {
			return api.Errorf(api.CodeSnapshotTooOld, "no")
		}
		return nil
	}
	err = one.servers["a"].Clear(t.Context(), 0)
	if !errors.Is(err, api.ErrUnknownOutcome) || !strings.Contains(err.Error(), "7 keys were deleted") {
		t.Fatal(err)
	}
}

func TestClearSurvivesSplits(t *testing.T) {
	c := newCluster(t, 1, nil)
	for i := range 300 {
		c.load(fmt.Sprint("key-", i), "v")
	}
	calls := 0
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if calls++; calls == 4 || calls == 9 {
			c.split(1)
			c.view.set(c.clusterMap(uint64(calls)))
		}
		return nil
	}
	if err := c.servers["b"].Clear(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for id, g := range c.groups {
		if len(g.data) != 0 {
			t.Errorf("shard %d keeps %d keys", id, len(g.data))
		}
	}
	if len(c.groups) != 3 {
		t.Fatalf("%d shards", len(c.groups))
	}
}

func TestSlotKeysAndSlotCount(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i := range 200 {
		c.load(fmt.Sprint("key-", i), "v")
	}
	slot := router.Slot(0, []byte("tag"))
	var want []string
	for i := range 20 {
		key := fmt.Sprintf("{tag}%02d", i)
		c.load(key, "v")
		want = append(want, key)
	}
	s := c.servers["a"]
	for _, limit := range []int{0, 1, 7, 8, 20, 100} {
		keys, err := s.SlotKeys(t.Context(), 0, slot, limit)
		var got []string
		for _, k := range keys {
			got = append(got, string(k))
		}
		if err != nil || !slices.Equal(got, want[:min(limit, 20)]) {
			t.Fatalf("limit %d: %v, %v", limit, got, err)
		}
	}
	if n, err := s.SlotCount(t.Context(), 0, slot); n != 20 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.SlotCount(t.Context(), 0, slot+1); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	for _, err := range []error{second(s.SlotKeys(t.Context(), 0, api.SlotCount, 1)), second(s.SlotCount(t.Context(), 3, slot))} {
		if !errors.Is(err, api.ErrInvalid) {
			t.Fatal(err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRandomKeyFindsTheOnlyKeys(t *testing.T) {
	c := newCluster(t, 3, nil)
	s := c.servers["b"]
	if key, found, err := s.RandomKey(t.Context(), 0); found || err != nil {
		t.Fatalf("an empty store: %q, %v", key, err)
	}
	c.load("only", "v")
	for range 50 {
		if key, found, err := s.RandomKey(t.Context(), 0); !found || string(key) != "only" || err != nil {
			t.Fatalf("%q, %t, %v", key, found, err)
		}
	}
}

// frequencies draws from a store and counts.
func frequencies(t *testing.T, c *cluster, draws int) map[string]int {
	t.Helper()
	counts := map[string]int{}
	for range draws {
		key, found, err := c.servers["a"].RandomKey(t.Context(), 0)
		if err != nil || !found {
			t.Fatalf("%q, %t, %v", key, found, err)
		}
		counts[string(key)]++
	}
	return counts
}

func TestRandomKeyIsFairOnAShardOfUpToAThousandKeys(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.groups[1].maxPage = api.MaxScanPageItems
	for i := range 20 {
		c.load(fmt.Sprintf("%c-%d", "az"[i%2], i*i*i), "v")
	}
	const draws = 4000 // 200 for each; the deviation is 14
	counts := frequencies(t, c, draws)
	for key, n := range counts {
		if n < 100 || n > 300 {
			t.Errorf("%s was drawn %d times of %d", key, n, draws)
		}
	}
	if len(counts) != 20 {
		t.Fatalf("%d keys were drawn", len(counts))
	}
}

func TestNoKeyOfALargeShardIsDrawnOften(t *testing.T) {
	rng := testkit.Rand(t)
	c := newCluster(t, 1, nil)
	c.groups[1].maxPage = api.MaxScanPageItems
	for i := range 1500 {
		c.load(fmt.Sprintf("user:%06d", i), "v")
	}
	for range 5 { // a few far away from the rest
		c.load(fmt.Sprintf("zone:%d", rng.IntN(1000)), "v")
	}
	const draws = 300
	counts := frequencies(t, c, draws)
	far := 0
	for key, n := range counts {
		if n > 8 {
			t.Errorf("%s was drawn %d times of %d", key, n, draws)
		}
		if strings.HasPrefix(key, "zone:") {
			far += n
		}
	}
	if far > 10 { // each is drawn once in a thousand times, at most
		t.Errorf("the keys behind the gap were drawn %d times", far)
	}
	if len(counts) < 200 {
		t.Errorf("%d of 1505 keys were drawn in %d draws", len(counts), draws)
	}
}

func TestAPointBetweenTwoKeysIsNotBelowTheFirstByte(t *testing.T) {
	rng := testkit.Rand(t)
	s := newCluster(t, 1, nil).servers["a"]
	key := func() []byte {
		k := make([]byte, 1+rng.IntN(6))
		for i := range k {
			k[i] = byte(rng.IntN(4)) + 'a'
		}
		return k
	}
	for range 5000 {
		low, high := key(), key()
		if string(low) > string(high) {
			low, high = high, low
		}
		got := s.between(low, high)
		common := 0
		for common < min(len(low), len(high)) && low[common] == high[common] {
			common++
		}
		if !strings.HasPrefix(string(got), string(low[:common])) || common < len(got) && common < len(low) && common < len(high) &&
			(got[common] < low[common] || got[common] > high[common]) {
			t.Fatalf("between %q and %q: %q", low, high, got)
		}
	}
}

func TestLocateBelievesTheReplicaHereMoreThanTheCache(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.hosts[2] = []api.NodeID{"b", "c"}
	c.publish(2)
	slot := api.Slot(c.groups[2].arc.Start)
	s := c.servers["a"]
	if leader, here := s.Locate(slot); leader != "" || here {
		t.Fatalf("without a replica and before a request: %q, %t", leader, here)
	}
	if _, err := s.Get(t.Context(), 0, []byte(c.keyOn(2, 0))); err != nil {
		t.Fatal(err)
	}
	if leader, here := s.Locate(slot); leader != "b" || here {
		t.Fatalf("after a request: %q, %t", leader, here)
	}
	c.groups[1].set(func(g *group) { g.leader = "c" })
	c.routers["a"].SetLeader(1, "b")
	if leader, here := s.Locate(0); leader != "c" || !here {
		t.Fatalf("with a replica: %q, %t", leader, here)
	}
	c.groups[1].set(func(g *group) { g.leader = "" })
	if leader, here := s.Locate(0); leader != "b" || !here {
		t.Fatalf("with a replica that knows nobody: %q, %t", leader, here)
	}
	if leader, here := s.Locate(api.SlotCount); leader != "" || here {
		t.Fatalf("a slot that does not exist: %q, %t", leader, here)
	}
}

func TestBoundsCrossTheWireUnchangedOrShorter(t *testing.T) {
	for _, bound := range []time.Duration{0, 1, time.Millisecond, time.Second + 1, 1<<63 - 1} {
		if got := duration(millis(bound)); got > bound || bound-got >= time.Millisecond {
			t.Errorf("%v became %v", bound, got)
		}
	}
	if got := duration(1<<64 - 1); got <= 0 {
		t.Errorf("a bound that does not fit became %v", got)
	}
}

func TestClearHoldsAShardUpForAMomentOnly(t *testing.T) {
	for _, c := range []struct {
		pace int
		took time.Duration
		want int
	}{
		{minClearKeys, time.Millisecond, 2 * minClearKeys},
		{maxClearKeys, time.Millisecond, maxClearKeys},
		{64, 100 * time.Millisecond, 64},
		{64, time.Second, 32},
		{minClearKeys, time.Minute, minClearKeys},
	} {
		if got := nextPace(c.pace, c.took); got != c.want {
			t.Errorf("after %d keys in %v: %d, want %d", c.pace, c.took, got, c.want)
		}
	}
}
