package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// lists runs transactions on lists: batches whose keys share a hash tag and so a shard. A list is a value to
// which eight bytes are appended at a time.
type lists struct {
	recorder *history.ListRecorder
	next     atomic.Int64
}

// listRotation is how many appends there are before other lists are used, which keeps values short.
const listRotation = 200

func newLists(*Cluster) *lists { return &lists{recorder: history.NewListRecorder()} }

func (w *lists) transaction(c *caller) []history.ListOp {
	generation := w.next.Load() / listRotation
	ops := make([]history.ListOp, 1+c.rng.IntN(4))
	for i := range ops {
		ops[i].Key = fmt.Sprintf("{lists-%d}/%d", generation, c.rng.IntN(3))
		if ops[i].Append = c.rng.IntN(100) >= c.cluster.plan.Reads; ops[i].Append {
			ops[i].Value = w.next.Add(1)
		}
	}
	return ops
}

func (w *lists) run(ctx context.Context, c *caller, client int) {
	for ctx.Err() == nil {
		w.once(c, client, w.transaction(c))
		wait(ctx, 3*c.cluster.plan.Pause)
	}
}

func (w *lists) once(c *caller, client int, ops []history.ListOp) {
	pending := w.recorder.Begin(client, ops)
	ctx, cancel := context.WithTimeout(context.Background(), c.cluster.plan.Timeout)
	defer cancel()
	result, err := c.apply(ctx, func() []api.Op { return listBatch(ops) })
	switch workload.Outcome(err) {
	case history.OK:
		pending.OK(listResults(ops, result))
	case history.Failed:
		pending.Failed()
	default:
		pending.Unknown()
	}
}

func listBatch(ops []history.ListOp) []api.Op {
	batch := make([]api.Op, len(ops))
	for i, o := range ops {
		batch[i] = api.Op{Kind: api.OpGet, Key: []byte(o.Key), ReturnPrevious: true}
		if o.Append {
			batch[i] = api.Op{Kind: api.OpAppend, Key: []byte(o.Key), Value: binary.BigEndian.AppendUint64(nil, uint64(o.Value))}
		}
	}
	return batch
}

// listResults is ops with what their reads saw.
func listResults(ops []history.ListOp, result api.Result) []history.ListOp {
	seen := make([]history.ListOp, len(ops))
	for i, o := range ops {
		seen[i] = o
		if o.Append {
			continue
		}
		for b := result.Ops[i].Previous; len(b) >= 8; b = b[8:] {
			seen[i].Read = append(seen[i].Read, int64(binary.BigEndian.Uint64(b)))
		}
	}
	return seen
}

// readAll reads every list once, so that appends that nobody has seen are missed.
func (w *lists) readAll(c *caller) {
	for generation := range w.next.Load()/listRotation + 1 {
		ops := make([]history.ListOp, 3)
		for i := range ops {
			ops[i].Key = fmt.Sprintf("{lists-%d}/%d", generation, i)
		}
		w.once(c, -1, ops)
	}
}
