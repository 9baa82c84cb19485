package server

import (
	"context"
	"errors"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// lane is the requests of a turn that live on one shard. It runs them in their order, those that
// only read and stand together as one read, and those that write as one list of commands.
type lane struct {
	server   *Server
	turn     *Turn
	ctx      context.Context
	shard    api.ShardID
	requests []*Request

	// Memory that the next turn uses again.
	keys     [][]byte
	results  []api.OpResult
	writes   []laneWrite
	commands []shard.Command
}

// keptRequests is for how many requests a lane keeps memory.
const keptRequests = 64

func (l *lane) reset() {
	if cap(l.requests) > keptRequests || cap(l.results) > keptRequests {
		*l = lane{}
		return
	}
	clear(l.results[:cap(l.results)])
	clear(l.writes[:cap(l.writes)])
	clear(l.commands[:cap(l.commands)])
	clear(l.keys[:cap(l.keys)])
	clear(l.requests[:cap(l.requests)])
	l.results, l.requests = l.results[:0], l.requests[:0]
	l.ctx, l.turn = nil, nil
}

// run runs the requests of the lane, some at a time, and empties it. Once some are left undone, so
// are all behind them.
func (l *lane) run() {
	if seededbug.Enabled(seededbug.ServerReadsFirst) {
		slices.SortStableFunc(l.requests, func(a, b *Request) int { return len(a.Ops[0].Value) - len(b.Ops[0].Value) })
	}
	trace.FromContext(l.ctx).Number("lightning.shard", int64(l.shard))
	for todo := l.requests; len(todo) > 0; {
		some := l.together(todo)
		done := len(some)
		switch {
		case some[0].readsOnly():
			done = l.read(some)
		case inPieces(&api.Batch{Ops: some[0].Ops}):
			l.writeInParts(some[0])
		default:
			l.write(some)
		}
		if done < len(some) {
			break
		}
		todo = todo[len(some):]
	}
	l.requests = l.requests[:0]
}

// together are the first requests that can be run as one read or as one list of commands.
func (l *lane) together(todo []*Request) []*Request {
	first, n := todo[0], 1
	reads, keys := first.readsOnly(), len(first.Ops)
	if !reads && inPieces(&api.Batch{Ops: first.Ops}) {
		return todo[:1]
	}
	for n < len(todo) && todo[n].readsOnly() == reads && (reads || !inPieces(&api.Batch{Ops: todo[n].Ops})) && todo[n].fresh() == first.fresh() {
		if keys += len(todo[n].Ops); keys > maxGetKeys {
			break
		}
		n++
	}
	return todo[:n]
}

// read reads the keys of requests at one moment, and returns how many requests are done: fewer
// than all when their values are too large to be held together.
func (l *lane) read(requests []*Request) (done int) {
	w, end := l.server.windowOf(l.ctx)
	defer end()
	l.keys = l.keys[:0]
	for _, q := range requests {
		for i := range q.Ops {
			l.keys = append(l.keys, q.Ops[i].Key)
		}
	}
	m := multiGet{server: l.server, keys: l.keys, fresh: requests[0].fresh(), bytes: replyBudget{gate: l.server.gate}}
	defer m.bytes.release()
	alone := len(l.turn.Requests) == 1
	items, err := m.all(w, alone)
	if err != nil {
		if code := api.CodeOf(err); !alone && (code == api.CodeTooLarge || code == api.CodeOverloaded) {
			return 0
		}
		for _, q := range requests {
			q.finish(nil, err)
		}
		return len(requests)
	}
	for n, q := range requests {
		if q.wantsStored(items[:len(q.Ops)]) {
			if !alone {
				return n // V8
			}
			if err := l.server.bring(w.ctx, q, items, &m.bytes); err != nil {
				q.finish(nil, err)
				return 1
			}
		}
		results, bytes := l.resultsOf(q, items[:len(q.Ops)])
		items = items[len(q.Ops):]
		if l.turn.values.Add(int64(bytes)) > maxTurnValueBytes && !alone {
			return n // V8
		}
		q.finish(results, nil)
	}
	return len(requests)
}

// resultsOf makes the results of a read of what it found.
func (l *lane) resultsOf(q *Request, items []api.Item) (results []api.OpResult, bytes int) {
	start := len(l.results)
	for i := range items {
		l.results = append(l.results, api.OpResult{})
		bytes += foundBy(&l.results[start+i], &q.Ops[i], &items[i])
	}
	return l.results[start:len(l.results):len(l.results)], bytes
}

// foundBy makes the result of a read of an item, as a batch would have it, and tells the bytes of
// its value.
func foundBy(result *api.OpResult, op *api.Op, item *api.Item) (bytes int) {
	*result = api.OpResult{
		Applied: true, Existed: item.Found, PreviousVersion: item.Version, PreviousExpiry: item.ExpiryMillis, Number: int64(len(item.Value)),
	}
	if item.Stored != nil {
		result.Number = int64(item.Stored.Bytes)
	}
	if op.ReturnPrevious {
		result.Previous = item.Value
	}
	return len(result.Previous)
}

// all reads the keys, which live on one shard: at once if the replica here leads it, else, or if
// that fails, as any read is done. Values that are too large for one read of a shard are read only
// for a request that is alone.
func (m *multiGet) all(w *window, alone bool) ([]api.Item, error) {
	switch stale := m.fresh.mayBeStale(); {
	case w.ctx.Err() != nil: // says the way below
	case stale:
		if items, ok := m.atOnce(); ok {
			return items, m.bytes.addItems(items)
		}
	default:
		if sh, at, ok := m.server.leads(m.keys[0]); ok {
			ctx, cancel := w.try(true)
			items, err := sh.Get(ctx, at.Epoch, m.ns, m.keys)
			cancel()
			switch {
			case err == nil:
				return items, m.bytes.addItems(items)
			case !alone && errors.Is(err, api.ErrTooLarge):
				return nil, err
			}
		}
	}
	m.items = make([]api.Item, len(m.keys))
	group := make([]int, len(m.keys))
	for i := range group {
		group[i] = i
	}
	return m.items, m.readGroup(w.ctx, group)
}

// leads is the replica here of the shard of a key, if it leads.
func (s *Server) leads(key []byte) (Shard, router.Shard, bool) {
	table := s.opts.Router.Table()
	if table == nil {
		return nil, router.Shard{}, false
	}
	at := table.ShardOf(router.Slot(0, key))
	local, ok := s.opts.Local(at.ID)
	if !ok {
		return nil, at, false
	}
	leader, _ := local.Leader()
	return local, at, leader == s.opts.Node
}

// laneWrite is one write on its way.
type laneWrite struct {
	request  *Request
	attempts attempts
	release  func()
}

// write runs writes in their order, as many at a time as there is room for.
func (l *lane) write(requests []*Request) {
	for len(requests) > 0 {
		granted := l.server.gate.share(len(requests) - 1)
		l.writeSome(requests[:1+granted])
		l.server.gate.unshare(granted)
		requests = requests[1+granted:]
	}
}

// writeInParts runs a write whose values are too long for one piece.
func (l *lane) writeInParts(q *Request) {
	b := api.Batch{Ops: q.Ops, Independent: !q.Atomic, Request: q.ID}
	bytes, _ := checkBatch(&b) // it was checked before
	ctx, end := l.server.gate.endWith(l.ctx)
	defer end()
	ctx, cancel := l.server.withPartsTime(ctx, l.server.batchTime(&b, bytes))
	defer cancel()
	res, err := l.server.applyBatch(ctx, b)
	if q.Each && api.CodeOf(err) == api.CodeCrossShard { // not if it is why an outcome stays unknown
		res.Ops = make([]api.OpResult, len(q.Ops))
		err = l.server.applyParts(ctx, &api.Batch{Ops: q.Ops, Independent: true}, res.Ops)
	}
	q.Applied, q.FailedOp, q.Version = res.Applied, res.FailedOp, res.Version
	q.finish(res.Ops, err)
}

func (l *lane) writeSome(requests []*Request) {
	w, end := l.server.windowOf(l.ctx)
	defer end()
	l.writes, l.commands = l.writes[:0], l.commands[:0]
	for _, q := range requests {
		id, release := q.ID, releaseNothing
		if id.IsZero() {
			id, release = l.server.opts.Sessions.Begin()
		}
		l.writes = append(l.writes, laneWrite{request: q, attempts: attempts{write: true}, release: release})
		l.commands = append(l.commands, shard.Command{
			Request: id, DeadlineMillis: w.deadlineMillis, Batch: api.Batch{Ops: q.Ops, Independent: !q.Atomic},
		})
	}
	r := writeRun{server: l.server, window: w, writes: l.writes, commands: l.commands}
	r.run()
}

// releaseNothing is for an id that is the client's.
func releaseNothing() {}

// writeRun sends writes of one client to the leader of their shard until each has its answer. What
// is sent again keeps its place and its id: a shard that does not execute one yet executes none
// behind it, so that only the last ones are left.
type writeRun struct {
	server   *Server
	window   *window
	writes   []laneWrite // that have no answer, in their order
	commands []shard.Command
	avoid    api.NodeID // as in route
	tries    int
}

func (r *writeRun) run() {
	for len(r.writes) > 0 {
		if err := r.window.ctx.Err(); err != nil {
			r.timedOut(context.Cause(r.window.ctx))
			return
		}
		table := r.server.opts.Router.Table()
		if table == nil {
			r.stopped(errNoMap())
			return
		}
		first := &r.writes[0].attempts
		at := r.server.place(table.ShardOf(router.Slot(0, r.commands[0].Batch.Ops[0].Key)), r.avoid, first.count)
		sent := r.prefix(at.shard)
		if sent == 0 {
			r.scattered()
			continue
		}
		next, err := r.settle(r.try(at, sent))
		if next == stepStop {
			continue
		}
		r.avoid = r.server.follow(at, next, err)
		if err := r.server.pause(r.window.ctx, &r.writes[0].attempts, next, table.Revision()); err != nil {
			r.timedOut(err)
			return
		}
	}
}

// prefix addresses the first commands whose keys the shard owns, and counts them.
func (r *writeRun) prefix(sh router.Shard) int {
	for i := range r.commands {
		c := &r.commands[i]
		for n := range c.Batch.Ops {
			op := &c.Batch.Ops[n]
			if !sh.Arc.Contains(router.Slot(0, op.Key)) || op.HasSource() && !sh.Arc.Contains(router.Slot(0, op.Source)) {
				return i
			}
		}
		c.Epoch = sh.Epoch
	}
	return len(r.commands)
}

// scattered finishes the first write, whose keys live on one shard no more.
func (r *writeRun) scattered() {
	q := r.writes[0].request
	if !q.Each || r.writes[0].attempts.mayHaveRun {
		r.finish(0, nil, r.writes[0].attempts.stopped(errCrossShard()))
	} else {
		results := make([]api.OpResult, len(q.Ops))
		r.finish(0, results, r.server.applyParts(r.window.ctx, &api.Batch{Ops: q.Ops, Independent: true}, results))
	}
	r.writes, r.commands = r.writes[1:], r.commands[1:]
}

// try sends the first commands to a place.
func (r *writeRun) try(at place, sent int) []shard.Outcome {
	if at.node == r.server.opts.Node && at.local == nil {
		return allFailed(sent, errNotOpen(at.shard.ID))
	}
	ctx, cancel := r.window.try(r.tries == 0)
	r.tries++
	defer cancel()
	if at.local != nil {
		return at.local.ApplyInOrder(ctx, r.commands[:sent])
	}
	ctx, cancelForward := context.WithCancel(ctx)
	defer cancelForward()
	defer r.server.watchLeader(at, cancelForward)()
	return r.server.applyElsewhere(ctx, at, r.commands[:sent])
}

func allFailed(count int, err error) []shard.Outcome {
	outcomes := make([]shard.Outcome, count)
	for i := range outcomes {
		outcomes[i].Err = err
	}
	return outcomes
}

// settle finishes the writes that have their answers and keeps the others. It says what to do for
// the first of these, and why; stepStop when there is nothing to wait for.
func (r *writeRun) settle(outcomes []shard.Outcome) (next step, cause error) {
	kept := 0
	keep := func(i int) {
		r.writes[kept], r.commands[kept] = r.writes[i], r.commands[i]
		kept++
	}
	over := r.window.ctx.Err() != nil
	for i := range outcomes {
		o, a := &outcomes[i], &r.writes[i].attempts
		if o.Err == nil {
			q := r.writes[i].request
			q.Applied, q.FailedOp, q.Version = o.Result.Applied, o.Result.FailedOp, o.Result.Version
			r.finish(i, o.Result.Ops, nil)
			continue
		}
		if over {
			a.ended(o.Err)
			r.finish(i, nil, a.timedOut(context.Cause(r.window.ctx)))
			continue
		}
		step := a.next(o.Err)
		if step == stepStop && !(kept > 0 && api.CodeOf(o.Err) == api.CodeOverloaded) {
			r.finish(i, nil, a.stopped(o.Err))
			continue
		}
		if kept == 0 {
			next, cause = step, o.Err
		}
		keep(i)
	}
	progress := kept < len(outcomes)
	for i := len(outcomes); i < len(r.writes); i++ {
		keep(i)
	}
	r.writes, r.commands = r.writes[:kept], r.commands[:kept]
	if progress {
		r.forgive()
		if api.CodeOf(cause) == api.CodeOverloaded {
			next = stepStop // it was the work of those that are done
		}
	}
	return next, cause
}

// forgive forgets the refusals for want of room: some writes have found room since.
func (r *writeRun) forgive() {
	for i := range r.writes {
		r.writes[i].attempts.overloads = 0
	}
}

func (r *writeRun) finish(i int, results []api.OpResult, err error) {
	r.writes[i].release()
	r.writes[i].request.finish(results, err)
}

func (r *writeRun) timedOut(cause error) {
	for i := range r.writes {
		r.finish(i, nil, r.writes[i].attempts.timedOut(cause))
	}
	r.writes = nil
}

func (r *writeRun) stopped(err error) {
	for i := range r.writes {
		r.finish(i, nil, r.writes[i].attempts.stopped(err))
	}
	r.writes = nil
}
