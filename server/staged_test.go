package server

import (
	"bytes"
	"context"
	"errors"
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

func TestAClientsBatchHasNoParts(t *testing.T) {
	c := newCluster(t, 1, nil)
	batch := largeBatch("k")
	batch.Ops[0].Parts, batch.Ops[0].Value = api.PartsOf(batch.Ops[0].Value, 0), nil
	if _, err := c.servers["a"].Apply(t.Context(), batch); !errors.Is(err, api.ErrInvalid) {
		t.Error(err)
	}
}
