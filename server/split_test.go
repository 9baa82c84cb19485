package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/router"
)

// halve splits shard 1 as its log does, before the map says so. The child knows the answers that were given before.
func (c *cluster) halve() (child *group) {
	c.split(1)
	child = c.groups[api.ShardID(len(c.groups))]
	c.groups[1].mu.Lock()
	defer c.groups[1].mu.Unlock()
	child.answers = maps.Clone(c.groups[1].answers)
	child.version = c.groups[1].version
	return child
}

// keysAround finds keys that stay on a shard when it is halved, and keys that leave.
func (c *cluster) keysAround(count int) (stay, leave []string) {
	arc := c.groups[1].arc
	middle := (arc.Start + arc.End) / 2
	for i := 0; len(stay) < count || len(leave) < count; i++ {
		key := fmt.Sprint("key", i)
		switch slot := uint32(router.Slot(0, []byte(key))); {
		case slot < middle && len(stay) < count:
			stay = append(stay, key)
		case slot >= middle && len(leave) < count:
			leave = append(leave, key)
		}
	}
	return stay, leave
}

// requestsOver are requests of all kinds, of keys that stay with the parent and of keys that leave it.
func requestsOver(t *testing.T, stay, leave []string) map[string]func(*Server) error {
	all := slices.Sorted(slices.Values(slices.Concat(stay, leave)))
	var asked [][]byte
	for _, key := range all {
		asked = append(asked, []byte(key))
	}
	return map[string]func(*Server) error{
		"get": func(s *Server) error {
			item, err := s.Get(t.Context(), 0, []byte(leave[0]))
			return expect(err, item.Found)
		},
		"get of what stays": func(s *Server) error {
			item, err := s.Get(t.Context(), 0, []byte(stay[0]))
			return expect(err, item.Found)
		},
		"multi get": func(s *Server) error {
			items, err := s.MultiGet(t.Context(), 0, asked)
			return expect(err, !slices.ContainsFunc(items, func(i api.Item) bool { return !i.Found }))
		},
		"increment": func(s *Server) error {
			_, err := s.Apply(t.Context(), increment(leave[1]+"-counter{"+leave[1]+"}"))
			return err
		},
		"scan": func(s *Server) error {
			var got []string
			for item, err := range s.Scan(t.Context(), api.PrefixRange([]byte("key"))) {
				if err != nil {
					return err
				}
				if len(item.Key) <= len("key99") {
					got = append(got, string(item.Key))
				}
			}
			return expect(nil, slices.Equal(got, all))
		},
		"cursor": func(s *Server) error {
			page, err := s.ScanCursor(t.Context(), 0, 0, 5, nil)
			return expect(err, len(page.Keys) > 0)
		},
		"count": func(s *Server) error {
			count, err := s.Count(t.Context(), 0)
			return expect(err, int(count) >= len(all))
		},
	}
}

// TestRequestsWaitForTheMapOfASplit sends everything while a shard is split and the map does not say so: each waits for the map,
// without asking in a loop, and is answered once by the half that has its keys.
func TestRequestsWaitForTheMapOfASplit(t *testing.T) {
	c := newCluster(t, 1, nil)
	stay, leave := c.keysAround(20)
	for _, key := range slices.Concat(stay, leave) {
		c.load(key, "v")
	}
	child := c.halve()
	var tries atomic.Int64
	c.groups[1].before = func(context.Context, api.NodeID, bool) error { tries.Add(1); return nil }
	requests := requestsOver(t, stay, leave)
	var waiting sync.WaitGroup
	for name, request := range requests {
		for _, node := range nodeNames {
			waiting.Go(func() {
				if err := request(c.servers[node]); err != nil {
					t.Errorf("%s on %s: %v", name, node, err)
				}
			})
		}
	}
	began := time.Now()
	testkit.Eventually(t, time.Minute, func() bool { return tries.Load() > 200 })
	// The first waits are 5 to 40 ms long, the others around 80.
	longest := 10 + int64(time.Since(began)/(maxBackoff/2))
	if perRequest := tries.Load() / int64(len(requests)*len(nodeNames)); perRequest > longest {
		t.Errorf("a request asked %d times in %s", perRequest, time.Since(began))
	}
	c.view.set(c.clusterMap(2))
	waiting.Wait()
	child.mu.Lock()
	defer child.mu.Unlock()
	if n := string(child.data[leave[1]+"-counter{"+leave[1]+"}"].Value); n != "3" {
		t.Errorf("three increments make %s", n)
	}
}

func expect(err error, ok bool) error {
	if err == nil && !ok {
		return fmt.Errorf("keys are missing, or too many")
	}
	return err
}

// TestAWriteThatWasAnsweredBySilenceRunsOnceOverASplit has the parent execute a write and lose the answer, and be split
// then: the next try reaches the child under the same id.
func TestAWriteThatWasAnsweredBySilenceRunsOnceOverASplit(t *testing.T) {
	c := newCluster(t, 1, nil)
	_, leave := c.keysAround(1)
	lost := false
	c.groups[1].after = func() error {
		lost = true
		return &api.Error{Code: api.CodeUnknownOutcome, Message: "the answer is lost"}
	}
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		if lost && len(c.groups) == 1 {
			c.halve()
			c.view.set(c.clusterMap(2))
		}
		return nil
	}
	res, err := c.servers["b"].Apply(t.Context(), increment(leave[0]))
	if err != nil || res.Ops[0].Number != 1 {
		t.Fatalf("%+v, %v", res, err)
	}
	if value := string(c.owner(leave[0]).data[leave[0]].Value); value != "1" || len(c.groups) != 2 {
		t.Errorf("the counter is %s on %d shards", value, len(c.groups))
	}
}

// TestABatchWhoseKeysWereSplitApartIsRefused: it is a batch over two shards then, and none of it runs.
func TestABatchWhoseKeysWereSplitApartIsRefused(t *testing.T) {
	c := newCluster(t, 1, nil)
	stay, leave := c.keysAround(1)
	batch := put(stay[0], "new")
	batch.Ops = append(batch.Ops, put(leave[0], "new").Ops...)
	child := c.halve()
	c.groups[1].before = func(context.Context, api.NodeID, bool) error {
		c.view.set(c.clusterMap(2))
		return nil
	}
	if _, err := c.servers["a"].Apply(t.Context(), batch); api.CodeOf(err) != api.CodeCrossShard {
		t.Errorf("%v", err)
	}
	if len(c.groups[1].data)+len(child.data) > 0 {
		t.Error("a part of it was executed")
	}
}

// TestNoMapOfASplitIsWaitedForInVain ends with the caller's time and says that nothing was executed.
func TestNoMapOfASplitIsWaitedForInVain(t *testing.T) {
	c := newCluster(t, 1, nil)
	_, leave := c.keysAround(1)
	c.halve()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.servers["c"].Apply(ctx, put(leave[0], "v")); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("%v", err)
	}
}
