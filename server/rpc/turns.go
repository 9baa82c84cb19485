package rpc

import (
	"context"
	"math/bits"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/server"
)

// callGroup is calls that arrived together and run together: reads or writes of one shard that have
// about the same time. Reads do not wait for writes, nor one shard for another.
type callGroup struct {
	conversation *conversation
	turn         server.Turn
	calls        []*pb.Call
	taken        []int // bytes of the calls
}

// groupKey says which calls run together.
type groupKey struct {
	shard       api.ShardID
	write       bool
	staleMillis uint32
	timeout     int // a power of two above the time
}

// keptGroups bounds the memory of groups that a stream keeps for the next ones.
const keptGroups = 16

// requestOf translates a call into a request of a turn. Those that are to run by themselves, among
// them all that are to be refused, it leaves to the methods of the service.
func (c *conversation) requestOf(call *pb.Call) (q server.Request, key groupKey, ok bool) {
	switch r := call.Request.(type) {
	case *pb.Call_Get:
		if r.Get.GetNamespace() != 0 {
			return q, key, false
		}
		q.Ops = []api.Op{{Kind: api.OpGet, Key: r.Get.GetKey(), ReturnPrevious: true}}
		key.staleMillis = r.Get.GetMaxStalenessMs()
	case *pb.Call_MultiGet:
		if r.MultiGet.GetNamespace() != 0 || len(r.MultiGet.GetKeys()) == 0 {
			return q, key, false
		}
		q.Ops = make([]api.Op, len(r.MultiGet.Keys))
		for i, k := range r.MultiGet.Keys {
			q.Ops[i] = api.Op{Kind: api.OpGet, Key: k, ReturnPrevious: true}
		}
		key.staleMillis = r.MultiGet.GetMaxStalenessMs()
	case *pb.Call_Batch:
		b, err := batchFromProto(r.Batch.GetNamespace(), r.Batch.GetRequestId(), r.Batch.GetIndependent(), r.Batch.GetOps())
		if err != nil || b.Namespace != 0 || len(b.Ops) == 0 || evaluate.ReadsOnly(&b) {
			return q, key, false
		}
		q.Ops, q.Atomic, q.ID = b.Ops, !b.Independent, b.Request
		key.write = true
	default:
		return q, key, false
	}
	q.MaxStaleness = staleness(key.staleMillis)
	key.timeout = bits.Len32(call.TimeoutMs)
	key.shard, ok = c.server.opts.KV.Home(&q)
	return q, key, ok
}

// group finds the group of a call among those of a message.
func (c *conversation) group(groups map[groupKey]*callGroup, key groupKey) *callGroup {
	g := groups[key]
	if g == nil {
		g = c.newGroup()
		groups[key] = g
	}
	return g
}

func (c *conversation) newGroup() *callGroup {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.mu.free); n > 0 {
		g := c.mu.free[n-1]
		c.mu.free = c.mu.free[:n-1]
		return g
	}
	return &callGroup{conversation: c}
}

func (c *conversation) keepGroup(g *callGroup) {
	clear(g.calls)
	g.calls, g.taken = g.calls[:0], g.taken[:0]
	g.turn.Reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.free) < keptGroups {
		c.mu.free = append(c.mu.free, g)
	}
}

func (g *callGroup) add(call *pb.Call, taken int, q server.Request) {
	g.calls = append(g.calls, call)
	g.taken = append(g.taken, taken)
	g.turn.Requests = append(g.turn.Requests, q)
}

// run runs the calls of a group and answers them, all at once.
func (g *callGroup) run() {
	c := g.conversation
	began := c.server.opts.Clock.Now()
	if !g.runTurn() {
		return
	}
	took := c.server.opts.Clock.Now().Sub(began)
	answers := make([]answered, 0, len(g.calls))
	for i, call := range g.calls {
		q := &g.turn.Requests[i]
		if !q.Done { // the values of the reads are large
			go c.run(call, g.taken[i])
			continue
		}
		op, a := answerOf(call, q)
		c.server.opts.Observe("grpc", op, api.CodeOf(q.Err), took)
		answers = append(answers, answered{a, 0, g.taken[i]})
	}
	for i := range answers {
		answers[i].bytes = sizeOf(answers[i].Answer)
	}
	c.queueAnswers(answers)
	c.keepGroup(g)
}

// runTurn reports whether the requests of the group are run. If that panics, each call is answered so.
func (g *callGroup) runTurn() (ok bool) {
	c := g.conversation
	defer func() {
		if p := recover(); p != nil {
			err := c.server.panicked(pb.KV_Stream_FullMethodName, p)
			for i, call := range g.calls {
				c.answer(call, g.taken[i], &pb.Answer{Response: failure(err, call.GetBatch() != nil)})
			}
		}
	}()
	longest := uint32(0)
	for _, call := range g.calls {
		longest = max(longest, call.TimeoutMs)
	}
	ctx := c.stream.Context()
	if longest > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(longest)*time.Millisecond)
		defer cancel()
	}
	ctx, span := c.server.tracedCalls(ctx, g.calls...)
	c.server.opts.KV.Run(ctx, &g.turn)
	span.End(g.turn.Requests[0].Err)
	return true
}

// answerOf makes the answer of a call of what its request came to.
func answerOf(call *pb.Call, q *server.Request) (op string, a *pb.Answer) {
	a = &pb.Answer{Id: call.Id}
	switch call.Request.(type) {
	case *pb.Call_Get:
		op = "get"
		if q.Err == nil {
			a.Response = &pb.Answer_Get{Get: foundToProto(&q.Results[0])}
		}
	case *pb.Call_MultiGet:
		op = "multiget"
		if q.Err == nil {
			res := &pb.MultiGetResponse{Items: make([]*pb.GetResponse, len(q.Results))}
			for i := range q.Results {
				res.Items[i] = foundToProto(&q.Results[i])
			}
			a.Response = &pb.Answer_MultiGet{MultiGet: res}
		}
	case *pb.Call_Batch:
		op = "batch"
		if q.Err == nil {
			result := api.Result{Applied: q.Applied, FailedOp: q.FailedOp, Version: q.Version, Ops: q.Results}
			a.Response = &pb.Answer_Batch{Batch: resultToProto(result)}
		}
	}
	if q.Err != nil {
		a.Response = failure(q.Err, call.GetBatch() != nil)
	}
	return op, a
}

// foundToProto is what a read found, which it has as what was there before.
func foundToProto(found *api.OpResult) *pb.GetResponse {
	return &pb.GetResponse{
		Found: found.Existed, Value: found.Previous, Version: uint64(found.PreviousVersion), ExpiryMs: found.PreviousExpiry,
	}
}
