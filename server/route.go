package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/router"
)

// access says whether a request changes anything.
type access uint8

const (
	read access = iota
	write
)

// place is where one try of a request runs: a replica here, or a node to ask.
type place struct {
	shard router.Shard
	node  api.NodeID
	local Shard // nil when the try is forwarded
	// bound allows an answer by proof that is at most so old; 0 asks the leader.
	bound time.Duration
}

// withDeadline gives the request its time. A caller's deadline is shortened a little, so that
// the answer says what became of the request instead of being overtaken by the caller's own
// timer, which can only say that it does not know.
func (s *Server) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithTimeout(ctx, s.opts.Timeout)
	}
	remaining := deadline.Sub(clock.Real{}.Now()) // deadlines of contexts are on the machine's clock
	return context.WithTimeout(ctx, remaining-min(remaining/10, 50*time.Millisecond))
}

// route runs do on the leader of the shard that owns slot, retrying until it succeeds, the
// error is final, or ctx ends. ctx has a deadline.
func (s *Server) route(ctx context.Context, slot api.Slot, kind access, do func(context.Context, place) error) error {
	a := attempts{write: kind == write}
	var avoid api.NodeID // the node that just failed, empty if the last failure names no culprit
	if ctx.Err() != nil {
		return a.timedOut(context.Cause(ctx))
	}
	for {
		table := s.opts.Router.Table()
		if table == nil {
			return a.stopped(errNoMap())
		}
		at := s.place(table.ShardOf(slot), avoid, a.count)
		trace.FromContext(ctx).Number("lightning.shard", int64(at.shard.ID))
		err := s.try(ctx, at, do)
		if err == nil {
			s.opts.Router.SetLeader(at.shard.ID, at.node)
			return nil
		}
		if ctx.Err() != nil {
			a.ended(err)
			return a.timedOut(context.Cause(ctx))
		}
		next := a.next(err)
		if next == stepStop {
			return a.stopped(err)
		}
		avoid = s.follow(at, next, err)
		if err := s.pause(ctx, &a, next, table.Revision()); err != nil {
			return a.timedOut(err)
		}
	}
}

// follow notes in the leader cache what a failed try said, and returns the node to avoid next.
func (s *Server) follow(at place, next step, err error) api.NodeID {
	switch next {
	case stepRedirect:
		var e *api.Error
		if errors.As(err, &e) {
			s.opts.Router.SetLeader(at.shard.ID, e.Leader)
		}
		return ""
	case stepOther:
		if leader, ok := s.opts.Router.Leader(at.shard.ID); ok && leader == at.node {
			s.opts.Router.ForgetLeader(at.shard.ID)
		}
		return at.node
	}
	return ""
}

// pause waits before the next try as its step asks.
func (s *Server) pause(ctx context.Context, a *attempts, next step, revision uint64) error {
	if next == stepRedirect {
		return nil
	}
	wait := s.jitter.around(a.backoff())
	if next == stepMap {
		s.awaitMap(ctx, revision, wait)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awaitMap waits for a map newer than revision, at most for limit: the shard may also be the
// one that lags, and then no newer map comes.
func (s *Server) awaitMap(ctx context.Context, revision uint64, limit time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	m, err := s.opts.View.Wait(ctx, revision)
	if err == nil {
		if _, err = s.opts.Router.Update(m); err != nil {
			s.opts.Logger.Error("a cluster map does not validate; the old one stays in use", "error", err)
		}
	}
	if err != nil {
		<-ctx.Done() // an error at once must not turn the retry into a busy loop
	}
}

// place picks the node for a try: the leader if it is known, else a replica, this node first
// because it answers fastest who leads. The node to avoid is passed over if there is another.
//
// The first try believes the replica on this node before the leader cache: the cache learns
// nothing while no requests are routed, and a leader that it remembers may have stopped since,
// so that a try sent there would wait in vain. Later tries believe what the failed ones said.
func (s *Server) place(sh router.Shard, avoid api.NodeID, count int) place {
	node, known := s.opts.Router.Leader(sh.ID)
	local, here := s.opts.Local(sh.ID)
	if here && count == 0 {
		if leader, _ := local.Leader(); leader != "" {
			node, known = leader, true
		}
	}
	if !known || node == avoid {
		node = candidate(sh, avoid, count, here, s.opts.Node)
	}
	at := place{shard: sh, node: node}
	if here && node == s.opts.Node {
		at.local = local
	}
	return at
}

// candidate picks a replica when nobody knows the leader.
func candidate(sh router.Shard, avoid api.NodeID, count int, here bool, self api.NodeID) api.NodeID {
	if here && avoid != self && count == 0 {
		return self
	}
	for i := range sh.Replicas {
		node := sh.Replicas[(count+i)%len(sh.Replicas)].Node
		if node != avoid {
			return node
		}
	}
	return avoid
}

// leaderCheckInterval is how often a forwarded call that takes long looks whether its target
// still leads. Most calls end before the first look.
const leaderCheckInterval = 150 * time.Millisecond

// try runs do once, for at most AttemptTimeout.
func (s *Server) try(ctx context.Context, at place, do func(context.Context, place) error) error {
	if at.node == s.opts.Node && at.local == nil {
		return errNotOpen(at.shard.ID)
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.AttemptTimeout)
	defer cancel()
	if at.local == nil {
		stop := s.watchLeader(at, cancel)
		defer stop()
	}
	return do(ctx, at)
}

func errNotOpen(id api.ShardID) error {
	return api.Errorf(api.CodeUnavailable, "shard %d is not open on this node yet", id)
}

// watchLeader cancels a forwarded try once the replica on this node has learned of a leader in a
// newer term that is not the node that the try waits for: a node that is stopped or cut off
// never answers.
func (s *Server) watchLeader(at place, cancel context.CancelFunc) (stop func()) {
	local, ok := s.opts.Local(at.shard.ID)
	if !ok {
		return func() {}
	}
	w := &leaderWatch{local: local}
	_, w.term = local.Leader()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(leaderCheckInterval, func() {
		if leader := w.moved(at.node); leader != "" {
			s.opts.Router.SetLeader(at.shard.ID, leader)
			cancel()
		}
	})
	return w.stop
}

// leaderWatch is the timer of one forwarded try.
type leaderWatch struct {
	local Shard
	term  api.Term // what the local replica knew when the try began

	// mu is a leaf.
	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

// moved is the new leader if it is another node, else it sets the timer again.
func (w *leaderWatch) moved(from api.NodeID) api.NodeID {
	leader, term := w.local.Leader()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped:
		return ""
	case term > w.term && leader != "" && leader != from:
		return leader
	}
	w.timer.Reset(leaderCheckInterval)
	return ""
}

func (w *leaderWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	w.timer.Stop()
}
