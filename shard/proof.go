package shard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
)

// Proof is what the leader of a shard says about one moment, by which any replica may answer
// reads: every write that was acknowledged before the moment is in the state at Index, and at
// Time expiry may be judged there, because no later entry judges it at or below Time.
type Proof struct {
	Index api.Index
	Time  api.Version
}

// AskLeader gets a proof from another node, which is believed to lead. NOT_LEADER, perhaps with
// a hint, if it does not.
type AskLeader func(ctx context.Context, leader api.NodeID) (Proof, error)

// Staleness is what the caller of a read that need not be linearizable allows: an answer that
// was true at some time within the last Bound, which is positive. Ask is used by a replica that
// does not lead.
type Staleness struct {
	Bound time.Duration
	Ask   AskLeader
}

// Prove makes a proof. It fails with NOT_LEADER if this replica does not lead.
func (r *reader) Prove(ctx context.Context) (Proof, error) {
	limit := api.VersionAt(r.machine.state().ceilingMillis) // before confirm, as in read
	if err := r.confirm(ctx); err != nil {
		return Proof{}, hint(err, r.id)
	}
	wallMillis := ^uint64(0)
	for ticks := 0; ; ticks++ {
		t, wall := r.clock.readTime(limit, r.machine.state())
		wallMillis = min(wallMillis, wall)
		p, latestExpiryMillis, err := r.proofAt(t)
		if err != nil {
			return Proof{}, readError(err)
		}
		// A replica must not take for alive what had expired by the leader's clock, so no expiry
		// may lie between the time of the proof and the clock.
		if p.Time.Millis() >= min(wallMillis, latestExpiryMillis) || ticks == maxReadTicks {
			return p, nil
		}
		if err := r.tick(ctx); err != nil {
			return Proof{}, r.tickError(err)
		}
	}
}

// proofAt adds the position to a time. Entries up to the time are applied, but perhaps only
// since leadership was confirmed; hence the position is read after the time was given, and the
// state, whose time counts too, before the position.
func (r *reader) proofAt(t api.Version) (p Proof, latestExpiryMillis uint64, err error) {
	h, err := r.machine.store.Acquire()
	if err != nil {
		return Proof{}, 0, err
	}
	defer h.Release()
	s := r.machine.state()
	return Proof{Time: max(t, s.last), Index: api.Index(h.DB.Applied().Index)}, s.latestExpiryMillis, nil
}

// proofTimeout is how long a leader may take to make a proof: a leader that has been silent for
// as long as a heartbeat timeout is about to be replaced.
const proofTimeout = 500 * time.Millisecond

// proofs keeps the newest proof of a shard and fetches the next, one at a time for all who wait.
// Safe for concurrent use.
type proofs struct {
	// Set by newProofs, never written again.
	clock  clock.Clock
	fetch  func(ctx context.Context, ask AskLeader) (Proof, error)
	ctx    context.Context // ends when the shard is closed
	cancel context.CancelFunc

	fetches sync.WaitGroup

	// mu is a leaf.
	mu struct {
		sync.Mutex
		newest  heldProof
		running *proofFetch // nil when none is under way
		closed  bool
	}
}

// heldProof is a proof and when it was asked for, on the clock of this node: its moment came
// later, so its age is never underestimated (S8). The zero value is no proof.
type heldProof struct {
	Proof
	asked time.Time
}

// proofFetch is a proof under way.
type proofFetch struct {
	asked time.Time
	done  chan struct{} // closed after the field below is set
	err   error
}

func newProofs(c clock.Clock, fetch func(context.Context, AskLeader) (Proof, error)) *proofs {
	p := &proofs{clock: c, fetch: fetch}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// within reports whether a proof is at most bound old (S8). The age is by the monotonic clock or
// by the wall clock, whichever says more: the first stands still while a machine is suspended,
// and the second may be set back.
func (p *proofs) within(held heldProof, bound time.Duration) bool {
	if held.asked.IsZero() {
		return false
	}
	now := p.clock.Now()
	return max(now.Sub(held.asked), now.Round(0).Sub(held.asked.Round(0))) <= bound
}

// get returns a proof that is at most the bound old, fetching one if need be. A fetch that was
// under way already may be too old when it ends; the next one is not asked for too early.
func (p *proofs) get(ctx context.Context, s Staleness) (heldProof, error) {
	arrived := p.clock.Now()
	for {
		held, f, err := p.current(s)
		if f == nil {
			return held, err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return heldProof{}, errTooStale("the leader did not confirm its state in time: %w", context.Cause(ctx))
		}
		switch {
		case f.err != nil:
			return heldProof{}, errTooStale("the leader does not confirm its state: %w", f.err)
		case !f.asked.Before(arrived) && !p.within(heldProof{asked: f.asked}, s.Bound):
			return heldProof{}, errTooStale("the leader takes longer to answer than the bound of %s", s.Bound)
		}
	}
}

// held is the newest proof if it is at most the bound old.
func (p *proofs) held(bound time.Duration) (heldProof, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.newest, !p.mu.closed && p.within(p.mu.newest, bound)
}

// current is the newest proof if it is within the bound, else the fetch to wait for.
func (p *proofs) current(s Staleness) (heldProof, *proofFetch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mu.closed:
		return heldProof{}, nil, api.Errorf(api.CodeShuttingDown, "the shard is closed")
	case p.within(p.mu.newest, s.Bound):
		return p.mu.newest, nil, nil
	case p.mu.running == nil:
		f := &proofFetch{asked: p.clock.Now(), done: make(chan struct{})}
		p.mu.running = f
		p.fetches.Go(func() { p.run(f, s.Ask) })
	}
	return heldProof{}, p.mu.running, nil
}

func (p *proofs) run(f *proofFetch, ask AskLeader) {
	ctx, cancel := context.WithTimeout(p.ctx, proofTimeout)
	defer cancel()
	proof, err := p.fetch(ctx, ask)
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.err = err; err == nil {
		p.mu.newest = heldProof{Proof: proof, asked: f.asked}
	}
	p.mu.running = nil
	close(f.done)
}

func (p *proofs) close() {
	p.mu.Lock()
	p.mu.closed = true
	p.mu.Unlock()
	p.cancel()
	p.fetches.Wait()
}

func errTooStale(format string, args ...any) *api.Error {
	return api.Errorf(api.CodeTooStale, format, args...)
}

// fetchProof makes a proof if this replica leads, else asks who does. It follows one hint: then
// leadership has just moved.
func (s *Shard) fetchProof(ctx context.Context, ask AskLeader) (Proof, error) {
	leader, _ := s.group.Leader()
	for hints := 0; ; hints++ {
		p, err := s.proofBy(ctx, leader, ask)
		var e *api.Error
		if hints > 0 || !errors.As(err, &e) || e.Code != api.CodeNotLeader || e.Leader == "" || e.Leader == leader {
			return p, err
		}
		leader = e.Leader
	}
}

func (s *Shard) proofBy(ctx context.Context, leader api.NodeID, ask AskLeader) (Proof, error) {
	switch leader {
	case "":
		return Proof{}, api.Errorf(api.CodeUnavailable, "shard %d has no leader", s.options.ID)
	case s.group.Replica().Node:
		return s.Prove(ctx)
	}
	return ask(ctx, leader)
}
