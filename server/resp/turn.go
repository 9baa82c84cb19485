package resp

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/resp/plan"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Bounds of a turn: beyond them the commands are run before more is read.
const (
	maxTurnCommands = 1024
	maxTurnBytes    = wire.LargeCommandBytes
)

// turn is the commands on named keys that a client has sent at once and that are not run yet. They
// run together as soon as reading on would wait for the client, or when a command of another kind
// follows.
type turn struct {
	began    time.Time // of the first command
	commands []turnCommand
	requests server.Turn // of the commands that have operations
	scratch  plan.Scratch
	bytes    int
	// heldLarge are the bytes of Server.large that its commands hold.
	heldLarge int
}

// turnCommand is one command on its way to its reply.
type turnCommand struct {
	cmd     *command
	plan    plan.Plan
	err     error // of planning
	request int   // in requests, -1 for none
	key     []byte
	stale   bool // reads from the replica here
}

// keptCommands is for how many commands a connection keeps memory.
const keptCommands = 64

// take runs a request, or lets it wait for its turn.
func (c *conn) take(q wire.Request) {
	cmd, refusal := c.joins(q)
	if cmd != nil && refusal == nil {
		c.join(cmd, q)
		return
	}
	c.runTurn()
	if c.quit {
		return
	}
	c.in.Keep() // such commands may keep their arguments
	c.run(q, refusal)
	c.release()
}

// joins is the command of a request that may wait for its turn, one on named keys whose reply does
// not change the connection, or why it must not run. That is asked once, because a leader may move
// at any time.
func (c *conn) joins(q wire.Request) (cmd *command, refusal error) {
	if q.Refused != nil || c.block != nil || !c.authenticated {
		return nil, nil
	}
	cmd, err := find(q.Args)
	if err != nil || cmd.plan == nil {
		return nil, nil
	}
	return cmd, c.admit(cmd, q.Args)
}

func (c *conn) join(cmd *command, q wire.Request) {
	t := &c.turn
	if len(t.commands) == 0 {
		t.began = c.server.opts.Clock.Now()
	}
	c.lastCommand.Store(cmd)
	e := plan.Env{NowMillis: uint64(t.began.UnixMilli()), Scratch: &t.scratch}
	entry := turnCommand{cmd: cmd, request: -1, stale: c.stale}
	entry.plan, entry.err = c.plan(e, cmd, q.Args)
	// A value that a write returns cannot be asked for again, so it comes when nothing else waits.
	alone := entry.plan.ReturnsWhatItChanged()
	if alone && len(t.commands) > 0 {
		c.runTurn()
		c.join(cmd, q) // again, because the plan lay in the turn's memory
		return
	}
	if entry.err == nil && len(entry.plan.Ops) > 0 {
		entry.request, entry.key = len(t.requests.Requests), entry.plan.Ops[0].Key
		request := server.Request{Ops: entry.plan.Ops, Each: entry.plan.Each, Piecewise: entry.plan.Piecewise}
		if c.stale && entry.plan.ReadsOnly() {
			request.MaxStaleness, request.Here = c.server.opts.StaleReadBound, true
		}
		t.requests.Requests = append(t.requests.Requests, request)
	}
	t.commands = append(t.commands, entry)
	t.bytes += q.Bytes
	t.heldLarge += c.heldLarge
	c.heldLarge = 0
	if alone || len(t.commands) == maxTurnCommands || t.bytes >= maxTurnBytes {
		c.runTurn()
		c.in.Reuse()
	}
}

// runTurn runs the commands that wait and writes their replies, in their order.
func (c *conn) runTurn() {
	t := &c.turn
	if len(t.commands) == 0 {
		return
	}
	all := t.requests.Requests
	if len(all) > 0 {
		c.runRequests(t.name(), &t.requests)
	}
	if seededbug.Enabled(seededbug.RESPReplyWhenDone) {
		slices.SortStableFunc(t.commands, func(a, b turnCommand) int { return len(a.plan.Ops) - len(b.plan.Ops) })
	}
	ended := c.server.opts.Clock.Now()
	e := plan.Env{NowMillis: uint64(ended.UnixMilli())}
	for i := range t.commands {
		entry := &t.commands[i]
		if entry.request >= 0 && !all[entry.request].Done {
			t.requests.Requests = all[entry.request : entry.request+1]
			c.runRequests(entry.cmd.name, &t.requests)
			ended = c.server.opts.Clock.Now()
			e.NowMillis = uint64(ended.UnixMilli())
		}
		c.muted.begin(&c.out)
		err := c.answerTurn(e, entry, all)
		if err != nil {
			c.out.Fail(err)
		}
		c.muted.end(&c.out)
		c.releaseReply()
		c.observe(entry.cmd, true, err, ended.Sub(t.began))
	}
	c.lastMillis.Store(uint64(t.began.UnixMilli()))
	t.requests.Requests = all
	c.server.large.give(t.heldLarge)
	t.reset()
}

// name is the turn's for the log.
func (t *turn) name() string {
	if len(t.commands) > 1 {
		return "a pipeline"
	}
	return t.commands[0].cmd.name
}

func (t *turn) reset() {
	t.requests.Reset()
	if cap(t.commands) > keptCommands {
		*t = turn{}
		return
	}
	clear(t.commands)
	t.commands = t.commands[:0]
	t.scratch.Reset()
	t.bytes, t.heldLarge = 0, 0
}

// plan makes the plan of a command. A panic is our bug and costs the connection only (U4).
func (c *conn) plan(e plan.Env, cmd *command, args [][]byte) (p plan.Plan, err error) {
	defer c.recover(cmd, &err)
	return cmd.plan(e, args)
}

// answerTurn writes the reply to one command, or says why there is none.
func (c *conn) answerTurn(e plan.Env, entry *turnCommand, requests []server.Request) (err error) {
	defer c.recover(entry.cmd, &err)
	if entry.err != nil {
		return entry.err
	}
	var results []api.OpResult
	if entry.request >= 0 {
		request := &requests[entry.request]
		if entry.stale && api.CodeOf(request.Err) == api.CodeTooStale {
			if moved := c.tooStale(entry.key); moved != nil {
				return moved
			}
			c.readAtLeader(entry.cmd, request)
		}
		if request.Err != nil {
			return request.Err
		}
		results = request.Results
		request.Results = nil // its values are let go one by one
		e.Open = c.opener(request.Stored)
	}
	if err := c.holdResults(results, entry.plan.ReadsOnly(), e.Open != nil); err != nil {
		return err
	}
	return entry.plan.Finish(e, &c.out, results)
}

// opener opens the values that a read has named and not brought; nil if there are none.
func (c *conn) opener(stored []*api.Stored) func(op int, start, end uint64) (wire.Pieces, error) {
	if stored == nil {
		return nil
	}
	return func(op int, start, end uint64) (wire.Pieces, error) {
		if stored[op] == nil {
			return nil, nil
		}
		value, err := c.server.opts.Store.OpenStored(c.server.ctx, stored[op], start, end)
		if err != nil {
			return nil, err
		}
		return value, nil
	}
}

// readAtLeader reads what the replica here could not prove to be fresh enough.
func (c *conn) readAtLeader(cmd *command, request *server.Request) {
	again := server.Turn{Requests: []server.Request{{Ops: request.Ops, Piecewise: request.Piecewise}}}
	c.runRequests(cmd.name, &again)
	*request = again.Requests[0]
}

// runRequests runs requests that are not done. A panic is our bug: what is not done by then is
// answered with an error, and the connection ends (U4).
func (c *conn) runRequests(name string, t *server.Turn) {
	defer func() {
		if p := recover(); p != nil {
			err := c.panicked(name, p)
			for i := range t.Requests {
				if q := &t.Requests[i]; !q.Done {
					q.Done, q.Err = true, err
				}
			}
		}
	}()
	ctx, span := c.server.traced(name)
	c.server.opts.Store.Run(ctx, t)
	if span != nil {
		span.Number("lightning.commands", int64(len(t.Requests)))
		span.End(firstError(t.Requests))
	}
}

// traced is the context of a request, in a trace if it is sampled.
func (s *Server) traced(name string) (context.Context, *trace.Span) {
	listener := "resp"
	if s.opts.Cluster {
		listener = "resp-cluster"
	}
	return s.opts.Tracer.Request(s.ctx, name, listener, nil)
}

func firstError(requests []server.Request) error {
	for i := range requests {
		if requests[i].Err != nil {
			return requests[i].Err
		}
	}
	return nil
}

// recover makes an error of a panic in a command, which ends this connection and not the node.
func (c *conn) recover(cmd *command, err *error) {
	if p := recover(); p != nil {
		*err = c.panicked(cmd.name, p)
	}
}

func (c *conn) panicked(name string, p any) error {
	c.server.opts.Logger.Error("a command panicked", "command", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	c.quit = true
	return api.Errorf(api.CodeInternal, "internal error in '%s'; the connection is closed", name)
}

// observe counts one command. cmd is nil when there was none such.
func (c *conn) observe(cmd *command, admitted bool, err error, took time.Duration) {
	name := unknownName
	if cmd != nil {
		name = cmd.name
	}
	c.server.stats.count(cmd, admitted, err, took)
	code := api.Code("")
	if err != nil {
		code = codeOf(err)
	}
	c.server.opts.Observe(name, code, took)
}
