package server

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/router"
)

// Request is one request of a Turn: operations that are one batch, or a read of keys if all of them
// are api.OpGet.
type Request struct {
	Ops []api.Op
	// Each lets the operations run on several shards, each shard's for itself.
	Each bool
	// Atomic makes a batch that is applied as a whole or not at all. Default: an independent one.
	Atomic bool
	// ID protects retries of a write; zero: it gets one for as long as it runs.
	ID api.RequestID
	// MaxStaleness and Here are those of Query, for a read.
	MaxStaleness time.Duration
	Here         bool
	// Piecewise wants values in parts, which may be longer than api.MaxWholeBytes, not brought but named in
	// Stored, for OpenStored. Only for a read.
	Piecewise bool

	// Done is set by Run, and with it one of Results and Err. The results are those of Ops, in
	// their order, and belong to the turn.
	Done    bool
	Results []api.OpResult
	Err     error
	// Stored has, if it is not nil, a value in parts for each result whose Previous it stands for.
	Stored []*api.Stored
	// Of a write that was one batch: what api.Result has beside the results.
	Applied  bool
	FailedOp int
	Version  api.Version
}

func (q *Request) readsOnly() bool {
	for i := range q.Ops {
		if q.Ops[i].Kind != api.OpGet {
			return false
		}
	}
	return true
}

func (q *Request) fresh() freshness { return freshness{bound: q.MaxStaleness, here: q.Here} }

func (q *Request) finish(results []api.OpResult, err error) {
	q.Done, q.Results, q.Err = true, results, err
}

// check refuses what is over a limit (V4) and tells its size.
func (q *Request) check() (bytes int, err error) {
	if !q.readsOnly() {
		return checkBatch(&api.Batch{Ops: q.Ops, Independent: !q.Atomic})
	}
	if err := checkStaleness(q.MaxStaleness); err != nil {
		return 0, err
	}
	if len(q.Ops) > api.MaxBatchOps {
		return 0, errManyKeys(len(q.Ops))
	}
	for i := range q.Ops {
		if refusal := evaluate.CheckKey(q.Ops[i].Key); refusal != nil {
			return 0, refusal
		}
		bytes += len(q.Ops[i].Key)
	}
	return bytes, nil
}

// Turn is what one client has sent at once, in its order, with the memory that running it takes.
// A client uses one turn again and again; it is not for concurrent use.
type Turn struct {
	Requests []Request
	lanes    []*lane
	used     int                    // lanes of the current Run
	values   atomic.Int64           // bytes of values that reads of this turn have found
	panicked atomic.Pointer[string] // what a lane of the current Run panicked with
}

// maxTurnValueBytes bounds the values that the reads of a turn hold together while it runs. A
// connection may hold as much without being counted; what is larger is read for itself.
const maxTurnValueBytes = freeReplyBytes

// keptLanes is how many lanes a turn keeps for the next one.
const keptLanes = 4

// Reset ends a turn: results are not used any more.
func (t *Turn) Reset() {
	clear(t.Requests)
	t.Requests = t.Requests[:0]
	if len(t.lanes) > keptLanes {
		clear(t.lanes[keptLanes:])
		t.lanes = t.lanes[:keptLanes]
	}
	for _, l := range t.lanes {
		l.reset()
	}
	t.values.Store(0)
}

// lane takes an unused one for a shard.
func (t *Turn) lane(s *Server, ctx context.Context, id api.ShardID) *lane {
	for _, l := range t.lanes[:t.used] {
		if l.shard == id {
			return l
		}
	}
	if t.used == len(t.lanes) {
		t.lanes = append(t.lanes, &lane{})
	}
	l := t.lanes[t.used]
	t.used++
	l.server, l.turn, l.ctx, l.shard = s, t, ctx, id
	return l
}

// Run runs the requests of a turn that are not done. Those on one shard run in their order, and
// those of several shards side by side. Each gets the answer that it would get alone.
//
// Run leaves requests undone when the values that their reads find would be too much to hold
// together: the last ones of a shard, never a turn of one. The caller uses the results that it has
// and runs the others one by one.
func (s *Server) Run(ctx context.Context, t *Turn) {
	bytes := 0
	for i := range t.Requests {
		q := &t.Requests[i]
		if q.Done {
			continue
		}
		size, err := q.check()
		if err != nil {
			q.finish(nil, err)
		}
		bytes += size
	}
	if err := s.gate.admit(int64(bytes)); err != nil {
		t.failAll(err)
		return
	}
	defer s.gate.leave(int64(bytes))
	table := s.opts.Router.Table()
	if table == nil {
		t.failAll(errNoMap())
		return
	}
	for i := range t.Requests {
		q := &t.Requests[i]
		if q.Done {
			continue
		}
		if id, one := home(table, q); one {
			l := t.lane(s, ctx, id)
			l.requests = append(l.requests, q)
			continue
		}
		if t.runLanes(); !t.done(i) {
			return
		}
		s.runSeveral(ctx, t, q)
		if !q.Done {
			return
		}
	}
	t.runLanes()
}

// Home is the shard on which all keys of a request live now, if there is one.
func (s *Server) Home(q *Request) (id api.ShardID, ok bool) {
	table := s.opts.Router.Table()
	if table == nil {
		return 0, false
	}
	return home(table, q)
}

func errNoMap() error { return api.Errorf(api.CodeNotReady, "this node has no cluster map yet") }

func (t *Turn) failAll(err error) {
	for i := range t.Requests {
		if q := &t.Requests[i]; !q.Done {
			q.finish(nil, err)
		}
	}
}

// done reports whether the requests before one are.
func (t *Turn) done(before int) bool {
	for i := range t.Requests[:before] {
		if !t.Requests[i].Done {
			return false
		}
	}
	return true
}

// runLanes runs what the lanes have and empties them. If one panics, so does the caller, who may
// survive it, once the others have ended.
func (t *Turn) runLanes() {
	lanes := t.lanes[:t.used]
	t.used = 0
	switch len(lanes) {
	case 0:
		return
	case 1:
		lanes[0].run()
		return
	}
	var g sync.WaitGroup
	for _, l := range lanes[1:] {
		g.Go(func() { t.runLane(l) })
	}
	t.runLane(lanes[0])
	g.Wait()
	if p := t.panicked.Swap(nil); p != nil {
		panic(*p)
	}
}

func (t *Turn) runLane(l *lane) {
	defer func() {
		if p := recover(); p != nil {
			text := fmt.Sprintf("%v\n%s", p, debug.Stack())
			t.panicked.Store(&text)
		}
	}()
	l.run()
}

// home is the shard of a request, if all of its keys live on one now.
func home(table *router.Table, q *Request) (id api.ShardID, one bool) {
	for i := range q.Ops {
		op := &q.Ops[i]
		owner := table.ShardOf(router.Slot(0, op.Key)).ID
		if i > 0 && owner != id || op.HasSource() && table.ShardOf(router.Slot(0, op.Source)).ID != owner {
			return 0, false
		}
		id = owner
	}
	return id, true
}

// runSeveral runs a request about keys of several shards.
func (s *Server) runSeveral(ctx context.Context, t *Turn, q *Request) {
	w, end := s.windowOf(ctx)
	defer end()
	switch {
	case q.readsOnly():
		s.readSeveral(w, t, q)
	case q.Each:
		results := make([]api.OpResult, len(q.Ops))
		err := s.applyParts(w.ctx, &api.Batch{Ops: q.Ops, Independent: true}, results)
		q.finish(results, err)
	default:
		q.finish(nil, errCrossShard())
	}
}

func (s *Server) readSeveral(w *window, t *Turn, q *Request) {
	m := multiGet{
		server: s, keys: make([][]byte, len(q.Ops)), fresh: q.fresh(),
		items: make([]api.Item, len(q.Ops)), bytes: replyBudget{gate: s.gate},
	}
	defer m.bytes.release()
	for i := range q.Ops {
		m.keys[i] = q.Ops[i].Key
	}
	if err := m.run(w.ctx); err != nil {
		q.finish(nil, err)
		return
	}
	switch large := q.wantsStored(m.items); {
	case large && len(t.Requests) > 1:
		return // V8
	case large:
		if err := s.bring(w.ctx, q, m.items, &m.bytes); err != nil {
			q.finish(nil, err)
			return
		}
	}
	results := make([]api.OpResult, len(q.Ops))
	bytes := 0
	for i := range results {
		bytes += foundBy(&results[i], &q.Ops[i], &m.items[i])
	}
	if t.values.Add(int64(bytes)) > maxTurnValueBytes && len(t.Requests) > 1 {
		return // V8
	}
	q.finish(results, nil)
}
