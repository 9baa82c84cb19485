package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/shard"
)

func largeBatch(key string) api.Batch {
	return api.Batch{Ops: []api.Op{
		{Kind: api.OpPut, Key: []byte("{" + key + "}a"), Value: bytes.Repeat([]byte("a"), 2*api.MaxInlineBytes+1)},
		{Kind: api.OpPut, Key: []byte("{" + key + "}b"), Value: []byte("small")},
		{Kind: api.OpPut, Key: []byte("{" + key + "}c"), Value: bytes.Repeat([]byte("c"), api.MinStagedBytes)},
	}}
}

func TestTheLargeValuesOfALongBatchGoInParts(t *testing.T) {
	for _, node := range []api.NodeID{"a", "b"} { // a leads
		c := newCluster(t, 1, nil)
		var longest, parts int
		c.groups[1].onStage = func(st *shard.Stage) error {
			longest, parts = max(longest, len(st.Part)), parts+1
			return nil
		}
		batch := largeBatch("k")
		if _, err := c.servers[node].Apply(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if longest != api.MaxPartBytes || parts != 10 {
			t.Errorf("%d parts, the longest of %d bytes", parts, longest)
		}
		last := c.groups[1].batches[len(c.groups[1].batches)-1]
		if last.Ops[0].Parts == nil || last.Ops[1].Parts != nil || last.Ops[2].Parts == nil {
			t.Errorf("the batch came as %+v", last.Ops)
		}
		for _, op := range batch.Ops {
			item, err := c.servers["c"].Get(t.Context(), 0, op.Key)
			if err != nil || !bytes.Equal(item.Value, op.Value) {
				t.Errorf("%s has %d bytes, %v", op.Key, len(item.Value), err)
			}
		}
	}
}

// TestLongWritesOfThreeNodesAllFindRoom: of many more long writes than a shard has room for, at all nodes at once, none
// is refused and all end, because no more have parts at once than there is room for to their ends.
func TestLongWritesOfThreeNodesAllFindRoom(t *testing.T) {
	c := newCluster(t, 1, nil)
	nodes := []api.NodeID{"a", "b", "c"}
	begun, most := make(map[string]bool), 0
	c.groups[1].onStage = func(st *shard.Stage) error {
		written := 0
		for _, b := range c.groups[1].batches {
			written += min(1, len(b.Ops))
		}
		begun[string(st.Key)] = true
		most = max(most, len(begun)-written)
		return nil
	}
	var writes sync.WaitGroup
	for i := range 2 * len(nodes) * maxStagedRequests {
		writes.Go(func() {
			var err error
			at := c.servers[nodes[i%len(nodes)]]
			if put := largeBatch(fmt.Sprint(i)).Ops[:1]; i%2 == 0 {
				_, err = at.Apply(t.Context(), api.Batch{Ops: put})
			} else {
				_, err = at.PutValue(t.Context(), Put{Key: put[0].Key}, inPiecesOf(put[0].Value, 100_000))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writes.Wait()
	if most > api.MaxStagedBatches || most == 0 {
		t.Errorf("%d had parts at once, and a shard keeps those of %d", most, api.MaxStagedBatches)
	}
	for _, s := range c.servers {
		if left := len(s.stagedRequests) + int(s.waitingToStage.Load()); left != 0 {
			t.Errorf("%d turns are not given back", left)
		}
	}
}

func TestASlowSenderGivesWayOnlyToThoseThatWait(t *testing.T) {
	for name, test := range map[string]struct {
		waiting   int64
		perSecond int
		refused   bool
	}{
		"slow, nobody waits": {0, 1000, false},
		"slow, others wait":  {1, 1000, true},
		"fast, others wait":  {1, 2 * senderPace, false},
	} {
		manual := clock.NewManual(time.UnixMilli(1_000_000))
		c := newCluster(t, 1, func(o *Options) { o.Clock = manual })
		s := c.servers["a"]
		s.waitingToStage.Store(test.waiting)
		left := 30
		next := func() ([]byte, error) {
			if left--; left < 0 {
				return nil, io.EOF
			}
			manual.Advance(time.Second)
			return make([]byte, test.perSecond), nil
		}
		value := pieces{next: s.paced(next)}
		_, err := value.take(api.MaxValueBytes)
		if test.refused && (!errors.Is(err, api.ErrOverloaded) || left < 20) || !test.refused && err != nil {
			t.Errorf("%s: %v, %d pieces were not asked for", name, err, left)
		}
	}
}

func TestALongWriteOfATurnKeepsItsPlace(t *testing.T) {
	c := newCluster(t, 1, nil)
	long := largeBatch("k").Ops[:1]
	key := long[0].Key
	turn := Turn{Requests: []Request{
		{Ops: []api.Op{{Kind: api.OpPut, Key: key, Value: []byte("before")}}},
		{Ops: long},
		{Ops: []api.Op{{Kind: api.OpPut, Key: key, Value: []byte("after"), ReturnPrevious: true}}},
		{Ops: []api.Op{{Kind: api.OpGet, Key: key, ReturnPrevious: true}}},
	}}
	c.servers["b"].Run(t.Context(), &turn)
	for i, q := range turn.Requests {
		if !q.Done || q.Err != nil {
			t.Fatalf("request %d: %t, %v", i, q.Done, q.Err)
		}
	}
	if !bytes.Equal(turn.Requests[2].Results[0].Previous, long[0].Value) || string(turn.Requests[3].Results[0].Previous) != "after" {
		t.Error("the requests did not run in their order")
	}
}

func TestAWriteWhosePartsDoNotArriveIsNotExecutedAndTheyAreDropped(t *testing.T) {
	for name, refusal := range map[string]*api.Error{
		"refused":   api.Errorf(api.CodeOverloaded, "parts of many batches wait already"),
		"uncertain": api.Errorf(api.CodeUnknownOutcome, "the answer is lost"),
	} {
		c := newCluster(t, 1, nil)
		dropped := 0
		c.groups[1].onStage = func(st *shard.Stage) error {
			if st.Drop {
				dropped++
			} else if st.Number == 3 {
				return refusal
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := c.servers["b"].Apply(ctx, largeBatch("k"))
		cancel()
		if err == nil || api.Row(api.CodeOf(err)).Outcome != api.NotExecuted {
			t.Errorf("%s: %v", name, err)
		}
		g := c.groups[1]
		testkit.Eventually(t, 10*time.Second, func() bool { // the node that was forwarded to may be at it when the caller's time is over
			g.mu.Lock()
			defer g.mu.Unlock()
			return dropped > 0 && len(g.staged) == 0
		}, "%s: parts are left", name)
		g.mu.Lock()
		if len(g.data) != 0 {
			t.Errorf("%s: %d keys are written", name, len(g.data))
		}
		g.mu.Unlock()
	}
}

// A request whose answer is not kept any more may have been executed, whatever its values go through the log in.
func TestAReleasedWriteInPartsIsNotCalledNotExecuted(t *testing.T) {
	for name, uncertain := range map[string]int{"at once": 0, "after an answer that was lost": 1} {
		c := newCluster(t, 1, nil)
		c.groups[1].onStage = func(st *shard.Stage) error {
			switch {
			case st.Number != 3:
				return nil
			case uncertain > 0:
				uncertain--
				return api.Errorf(api.CodeUnknownOutcome, "the answer is lost")
			default:
				return api.Errorf(api.CodeReleased, "the request is below the session's floor")
			}
		}
		_, err := c.servers["b"].Apply(t.Context(), largeBatch("k"))
		if !errors.Is(err, api.ErrReleased) || api.Row(api.CodeOf(err)).Outcome != api.MayHaveRun {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is sent again shard by shard, under other ids, would be executed twice.
func TestAWriteOfUnknownOutcomeIsNotRepeatedShardByShard(t *testing.T) {
	turn := func(s *Server, ops []api.Op) error {
		turn := Turn{Requests: []Request{{Ops: ops, Each: true}}}
		s.Run(t.Context(), &turn)
		return turn.Requests[0].Err
	}
	parts := func(s *Server, ops []api.Op) error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return s.applyParts(ctx, &api.Batch{Ops: ops, Independent: true}, make([]api.OpResult, len(ops)))
	}
	for name, test := range map[string]struct {
		valueBytes int
		run        func(*Server, []api.Op) error
	}{"a turn": {10, turn}, "a turn in parts": {api.MaxInlineBytes, turn}, "a group": {10, parts}, "a group in parts": {api.MaxInlineBytes, parts}} {
		c := newCluster(t, 1, nil)
		var ops []api.Op
		for i := range 4 {
			ops = append(ops, api.Op{Kind: api.OpPut, Key: []byte{'k', byte('0' + i)}, Value: bytes.Repeat([]byte("v"), test.valueBytes)})
		}
		stages := 0
		if whole := (api.Batch{Ops: ops}); inPieces(&whole) {
			stages = len(takeApart(whole).parts)
		}
		var calls atomic.Int64
		c.groups[1].before = func(_ context.Context, _ api.NodeID, write bool) error {
			if !write || int(calls.Add(1)) != stages+1 {
				return nil
			}
			c.split(1)
			c.publish(2)
			return api.Errorf(api.CodeUnknownOutcome, "the answer is lost")
		}
		if err := test.run(c.servers["a"], ops); api.CodeOf(err) != api.CodeUnknownOutcome {
			t.Errorf("%s: %v", name, err)
		}
		for _, g := range c.groups {
			if len(g.requests) != 0 {
				t.Errorf("%s: executed as %v", name, g.requests)
			}
		}
		if len(c.groups) != 2 || c.owner("k0") == c.owner("k1") && c.owner("k1") == c.owner("k2") && c.owner("k2") == c.owner("k3") {
			t.Errorf("%s: the keys have one owner", name)
		}
	}
}

func TestAClientsBatchHasNoParts(t *testing.T) {
	c := newCluster(t, 1, nil)
	batch := largeBatch("k")
	batch.Ops[0].Parts, batch.Ops[0].Value = api.PartsOf(batch.Ops[0].Value, 0), nil
	if _, err := c.servers["a"].Apply(t.Context(), batch); !errors.Is(err, api.ErrInvalid) {
		t.Error(err)
	}
}
