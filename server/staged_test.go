package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
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

// TestFewLongWritesOfANodeHavePartsAtOnce: parts of as many as a shard has room for could be there while none
// is complete, and room is only made by one that is.
func TestFewLongWritesOfANodeHavePartsAtOnce(t *testing.T) {
	c := newCluster(t, 1, nil)
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
	for i := range 4 * maxStagedRequests {
		writes.Go(func() {
			var err error
			if put := largeBatch(fmt.Sprint(i)).Ops[:1]; i%2 == 0 {
				_, err = c.servers["b"].Apply(t.Context(), api.Batch{Ops: put})
			} else {
				_, err = c.servers["b"].PutValue(t.Context(), Put{Key: put[0].Key}, inPiecesOf(put[0].Value, 100_000))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writes.Wait()
	if most > maxStagedRequests || most == 0 {
		t.Errorf("%d had parts at once, want at most %d", most, maxStagedRequests)
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
		if dropped == 0 || len(c.groups[1].staged) != 0 || len(c.groups[1].data) != 0 {
			t.Errorf("%s: dropped %d times, %d parts are left, %d keys", name, dropped, len(c.groups[1].staged), len(c.groups[1].data))
		}
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
