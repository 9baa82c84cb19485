package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
)

// V5: whatever the bounds, direction, page size and number of shards, and although shards are
// split under way, a scan yields what a sorted map would.
func TestScanYieldsWhatASortedMapWould(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			c := newCluster(t, 1+rng.IntN(5), nil)
			model := map[string]api.Item{}
			for range rng.IntN(300) {
				key := fmt.Sprintf("%c%c", 'a'+rng.IntN(8), 'a'+rng.IntN(26))
				if rng.IntN(5) == 0 {
					key = fmt.Sprintf("{%s}%s", key[:1], key)
				}
				c.load(key, "value of "+key)
				model[key] = api.Item{Key: []byte(key), Value: []byte("value of " + key)}
			}
			for _, g := range c.groups {
				g.maxPage = 1 + rng.IntN(9)
			}
			for round := range 10 {
				c.checkScan(t, rng, model, round)
			}
		})
	}
}

func randomBound(rng *rand.Rand) []byte {
	switch rng.IntN(3) {
	case 0:
		return nil
	case 1:
		return []byte{byte('a' + rng.IntN(9))}
	}
	return []byte{byte('a' + rng.IntN(8)), byte('a' + rng.IntN(26))}
}

func (c *cluster) checkScan(t *testing.T, rng *rand.Rand, model map[string]api.Item, round int) {
	r := api.Range{Start: randomBound(rng), End: randomBound(rng), Reverse: rng.IntN(2) == 0, KeysOnly: rng.IntN(2) == 0}
	if rng.IntN(2) == 0 {
		r.Limit = 1 + uint64(rng.IntN(40))
	}
	if rng.IntN(4) == 0 {
		r.Start = []byte{byte('a' + rng.IntN(8))}
		r.End = api.PrefixEnd(r.Start)
	}
	want := inRange(model, r)
	if r.Limit != 0 && uint64(len(want)) > r.Limit {
		want = want[:r.Limit]
	}
	splitAt := -1
	if round%3 == 2 {
		splitAt = rng.IntN(20)
	}
	node := nodeNames[rng.IntN(3)]
	n := 0
	for item, err := range c.servers[node].Scan(t.Context(), r) {
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if n >= len(want) || !bytes.Equal(item.Key, want[n].Key) || !bytes.Equal(item.Value, want[n].Value) {
			t.Fatalf("%+v: item %d is %q", r, n, item.Key)
		}
		if n == splitAt {
			c.split(api.ShardID(1 + rng.IntN(len(c.groups))))
			c.view.set(c.clusterMap(c.view.Map().Revision + 1))
		}
		n++
	}
	if n != len(want) {
		t.Fatalf("%+v: %d items of %d", r, n, len(want))
	}
}

func TestScanStopsWhenItsCallerDoes(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i := range 100 {
		c.load(fmt.Sprint(i), "v")
	}
	n := 0
	for range c.servers["a"].Scan(t.Context(), api.Range{}) {
		if n++; n == 10 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range c.servers["a"].Scan(ctx, api.Range{}) {
		cancel()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Fatal(last)
	}
}

func TestScanGoesOnAfterALeaderMoved(t *testing.T) {
	c := newCluster(t, 3, nil)
	for i := range 200 {
		c.load(fmt.Sprintf("%03d", i), "v")
	}
	n := 0
	for item, err := range c.servers["b"].Scan(t.Context(), api.Range{}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%03d", n); string(item.Key) != want {
			t.Fatalf("%s, want %s", item.Key, want)
		}
		if n%20 == 0 {
			for _, g := range c.groups {
				g.set(func(g *group) { g.leader, g.term = nodeNames[(n/20)%3], g.term+1 })
			}
		}
		n++
	}
	if n != 200 {
		t.Fatal(n)
	}
}

func TestAPageThatDoesNotMoveOnEndsTheScan(t *testing.T) {
	for _, r := range []api.Range{{}, {Reverse: true}, {Start: []byte("b")}, {End: []byte("b"), Reverse: true}} {
		for _, resume := range [][]byte{nil, r.Start, r.End} {
			if movesOn(&r, resume) {
				t.Errorf("%+v: %q moves on", r, resume)
			}
		}
	}
}

// scanAll follows a cursor to its end, changing nodes as it goes, and returns the keys.
func (c *cluster) scanAll(t *testing.T, count int, prefix string, pick func(step int) api.NodeID) []string {
	seen := map[string]bool{}
	cursor := uint64(0)
	for step := 0; ; step++ {
		page, err := c.servers[pick(step)].ScanCursor(t.Context(), 0, cursor, count, []byte(prefix))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range page.Keys {
			seen[string(key)] = true
		}
		if page.Next >= 1<<53 {
			t.Fatalf("cursor %d does not fit into a double", page.Next)
		}
		if cursor = page.Next; cursor == 0 {
			break
		}
		if step > 10_000 {
			t.Fatal("the scan does not end")
		}
	}
	keys := make([]string, 0, len(seen))
	for key := range seen {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestCursorsAreValidOnEveryNode(t *testing.T) {
	c := newCluster(t, 3, nil)
	var all, withPrefix []string
	for i := range 300 {
		key := fmt.Sprintf("%c-%03d", 'a'+i%3, i)
		c.load(key, "v")
		all = append(all, key)
		if i%3 == 1 {
			withPrefix = append(withPrefix, key)
		}
	}
	slices.Sort(all)
	one := func(int) api.NodeID { return "b" }
	round := func(step int) api.NodeID { return nodeNames[step%3] }
	for name, pick := range map[string]func(int) api.NodeID{"one node": one, "round robin": round} {
		if got := c.scanAll(t, 10, "", pick); !slices.Equal(got, all) {
			t.Errorf("%s: %d keys of %d", name, len(got), len(all))
		}
		if got := c.scanAll(t, 3, "b-", pick); !slices.Equal(got, withPrefix) {
			t.Errorf("%s: %d keys of %d with the prefix", name, len(got), len(withPrefix))
		}
	}
}

func TestACursorSurvivesASplit(t *testing.T) {
	c := newCluster(t, 2, nil)
	var all []string
	for i := range 200 {
		key := fmt.Sprintf("%03d", i)
		c.load(key, "v")
		all = append(all, key)
	}
	got := c.scanAll(t, 5, "", func(step int) api.NodeID {
		if step%7 == 6 && len(c.groups) < 6 {
			c.split(api.ShardID(1 + step%len(c.groups)))
			c.view.set(c.clusterMap(c.view.Map().Revision + 1))
		}
		return nodeNames[step%3]
	})
	if !slices.Equal(got, all) {
		t.Fatalf("%d keys of %d", len(got), len(all))
	}
}

func TestAnUnknownCursorBeginsAgain(t *testing.T) {
	c := newCluster(t, 1, nil)
	for i := range 20 {
		c.load(fmt.Sprintf("%02d", i), "v")
	}
	c.net.cut("c")
	for name, cursor := range map[string]uint64{
		"never given out here": encodeCursor(1, 12345), "of another node": encodeCursor(2, 12345),
		"of a node that is down": encodeCursor(3, 1), "of a node that is not there": encodeCursor(99, 1), "not a cursor": 1 << 60,
	} {
		page, err := c.servers["a"].ScanCursor(t.Context(), 0, cursor, 3, nil)
		if err != nil || len(page.Keys) != 3 || string(page.Keys[0]) != "00" {
			t.Errorf("%s: %v, %v", name, page, err)
		}
	}
}

func TestTheSameCursorMayBeAskedForTwice(t *testing.T) {
	c := newCluster(t, 1, nil)
	for i := range 20 {
		c.load(fmt.Sprintf("%02d", i), "v")
	}
	s := c.servers["a"]
	first, err := s.ScanCursor(t.Context(), 0, 0, 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the replies are lost
		page, err := s.ScanCursor(t.Context(), 0, first.Next, 5, nil)
		if err != nil || string(page.Keys[0]) != "05" {
			t.Fatal(page, err)
		}
	}
}

func TestCursorTableIsBoundedAndKeepsTwoPerScan(t *testing.T) {
	table := newCursorTable(4, entropy.System())
	var before uint64
	for i := range 100 {
		handle, err := table.add(position{start: fmt.Append(nil, i)}, before)
		if err != nil {
			t.Fatal(err)
		}
		if at, ok := table.resolve(handle); !ok || string(at.start) != fmt.Sprint(i) {
			t.Fatalf("cursor %d: %v %v", i, at, ok)
		}
		before = handle
	}
	if n := table.mu.byUse.Len(); n > 2 {
		t.Fatalf("one scan keeps %d cursors", n)
	}
	var first uint64
	for i := range 5 {
		handle, _ := table.add(position{}, 0)
		if i == 0 {
			first = handle
		}
	}
	if n := table.mu.byUse.Len(); n != 4 || len(table.mu.byHandle) != 4 {
		t.Fatalf("%d cursors", n)
	}
	if _, ok := table.resolve(first); ok {
		t.Fatal("the cursor used longest ago is still there")
	}
	broken := newCursorTable(4, entropy.From(bytes.NewReader(nil)))
	if _, err := broken.add(position{}, 0); !errors.Is(err, api.ErrInternal) || !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestAScanHoldsNoRoomOfReadsWhileItSends: a client that takes nothing does not keep others from reading.
func TestAScanHoldsNoRoomOfReadsWhileItSends(t *testing.T) {
	c := newCluster(t, 1, nil)
	s := c.servers["a"]
	for key, size := range map[string]int{"a": 2 * api.MaxInlineBytes, "b": api.MaxWholeBytes} {
		if _, err := s.PutValue(t.Context(), Put{Key: []byte(key)}, inPiecesOf(numbered(size), api.MaxPartBytes)); err != nil {
			t.Fatal(err)
		}
	}
	for longest, want := range map[uint64]int{api.MaxMessageValueBytes: 2 * api.MaxInlineBytes, api.MaxWholeBytes: 2*api.MaxInlineBytes + api.MaxWholeBytes} {
		brought := 0
		for item, err := range s.ScanShort(t.Context(), api.Range{}, longest) {
			if err != nil {
				t.Fatal(err)
			}
			s.gate.mu.Lock()
			found := s.gate.mu.found
			s.gate.mu.Unlock()
			if brought += len(item.Value); found != 0 || len(item.Value) == 0 && item.Stored == nil {
				t.Errorf("%s: %d bytes of it, while reads hold %d", item.Key, len(item.Value), found)
			}
		}
		if brought != want {
			t.Errorf("values of %d bytes at most: %d bytes were brought, want %d", longest, brought, want)
		}
	}
	wantNothingHeld(t, s)
}
