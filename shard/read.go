package shard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/router"
)

// maxReadTicks bounds how often a read moves shard time. Once is enough unless the wall clock
// jumps about: the tick's time is at or above the wall clock by which rows were undecided. What
// is undecided after that counts as live, which is always consistent, only late.
const maxReadTicks = 2

// reader answers reads from one replica. Safe for concurrent use.
type reader struct {
	id      api.ShardID
	machine *Machine
	clock   *hybridClock
	// confirm returns when this replica is known to have led after the call began, and has
	// applied everything that was acknowledged before it.
	confirm func(ctx context.Context) error
	// tick moves shard time to the leader's clock or beyond; tickSoon begins to, and does not wait.
	tick     func(ctx context.Context) error
	tickSoon func()

	// For reads that need not be linearizable: proofs of freshness, and the wait until this
	// replica has applied an entry.
	// requests counts reads and writes that came to this replica, but for those that need no leader. Only grows.
	requests atomic.Uint64

	proofs  *proofs
	applied func(ctx context.Context, index api.Index) error
}

// view is one engine snapshot together with the time at which it is read.
type view struct {
	snapshot *engine.Snapshot
	state    *state // of the snapshot, never changed
	at       api.Version
	rows     engine.Version // up to which rows are seen
	// wallMillis is the wall clock when the read began. A row whose expiry lies above the time
	// of the view but not above the wall clock is undecided.
	wallMillis uint64
	undecided  bool
	// recent is set by a row that expired a moment ago.
	recent bool
	key    []byte // memory for the engine's key of a row
}

// viewKeyBytes is enough for most keys.
const viewKeyBytes = 64

// exactly makes it a view of an earlier version.
func (v *view) exactly(at api.Version) { v.at, v.rows = at, engine.Version(at) }

// live judges the expiry of a row (S3).
func (v *view) live(expiryMillis uint64) bool {
	if expired(expiryMillis, v.wallMillis) && v.wallMillis-expiryMillis < recentMillis {
		v.recent = true
	}
	if expired(expiryMillis, v.at.Millis()) && !seededbug.Enabled(seededbug.ShardReadAnyTime) {
		return false
	}
	if expired(expiryMillis, v.wallMillis) {
		v.undecided = true
	}
	return true
}

// A read that comes upon a row that expired within recentMillis expects that others will come upon
// more of them. So that these need not wait for a tick, it begins one when the ceiling is less than
// renewMillis ahead: at most four small entries a second, while such rows are read.
const (
	recentMillis = 1000
	renewMillis  = maxCeilingAheadMillis / 2
)

func (r *reader) maybeTickSoon(v *view, wallMillis uint64) {
	if v.recent && r.machine.state().ceilingMillis < wallMillis+renewMillis {
		r.tickSoon()
	}
}

// read gives use a linearizable view at which the shard's epoch is the caller's. If use comes
// upon an undecided row, shard time is moved and use is called again, from the start.
func (r *reader) read(ctx context.Context, epoch api.Epoch, use func(*view) error) error {
	// The ceiling is loaded before leadership is confirmed. So it was committed by the terms up
	// to the confirmed one, and every later leader starts above it, whatever happens here next.
	limit := api.VersionAt(r.machine.state().ceilingMillis)
	if err := r.confirm(ctx); err != nil {
		return hint(err, r.id)
	}
	wallMillis := ^uint64(0)
	for ticks := 0; ; ticks++ {
		t, wall := r.clock.readTime(limit, r.machine.state())
		wallMillis = min(wallMillis, wall)
		_, span := trace.Begin(ctx, "engine read")
		v, err := r.viewAt(epoch, t, wallMillis, use)
		span.End(err)
		if err != nil {
			return readError(err)
		}
		if !v.undecided || ticks == maxReadTicks {
			r.maybeTickSoon(&v, wall)
			return nil
		}
		if err := r.tick(ctx); err != nil {
			return r.tickError(err)
		}
	}
}

// viewAt takes a snapshot, lets use read it at t, or later if the snapshot itself is, and returns
// the view, closed. Every command up to the snapshot's shard time is in it, and every later one
// gets a version above.
func (r *reader) viewAt(epoch api.Epoch, t api.Version, wallMillis uint64, use func(*view) error) (v view, err error) {
	h, err := r.machine.store.Acquire()
	if err != nil {
		return view{}, err
	}
	defer h.Release()
	v = view{snapshot: h.DB.Snapshot(), rows: engine.MaxVersion, wallMillis: wallMillis}
	defer v.snapshot.Close()
	if v.state, err = r.machine.stateOf(v.snapshot); err != nil {
		return view{}, fmt.Errorf("shard %d: %w", r.id, err)
	}
	if refusal := v.state.checkEpoch(epoch); refusal != nil {
		return view{}, refusal
	}
	v.at = max(t, v.state.last)
	err = use(&v)
	return v, err
}

// stateOf is the state in a snapshot. It is mostly the newest, which need not be read: a position
// has one state.
func (m *Machine) stateOf(snapshot *engine.Snapshot) (*state, error) {
	if s := m.state(); s.position == snapshot.Position() {
		return s, nil
	}
	raw, ok, err := snapshot.Get(stateRowKey, engine.MaxVersion)
	if err != nil || !ok {
		return &state{}, err
	}
	s, err := decodeState(raw.Value)
	s.position = snapshot.Position()
	return &s, err
}

// readError gives a code to errors of the engine: what it cannot read it does not serve (P4).
func readError(err error) error {
	var known *api.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, engine.ErrClosed):
		return api.Errorf(api.CodeShuttingDown, "%w", err)
	default:
		return api.Errorf(api.CodeStoreFailed, "%w", err)
	}
}

// tickError is what a failed tick means to a read: reads have no outcome that could be unknown.
func (r *reader) tickError(err error) error {
	if api.CodeOf(err) == api.CodeUnknownOutcome {
		return api.Errorf(api.CodeUnavailable, "%w", err)
	}
	return hint(err, r.id)
}

// Get reads keys linearizably and in one snapshot: one item for each key, in their order. The
// returned values stay good and are not to be changed; Item.Key is the caller's key. A value in parts is not brought,
// but named by Item.Stored: ReadParts reads it. It fails with ErrTooLarge when there are more than
// api.MaxBatchOps keys or the values are together over api.MaxInlineBatchBytes.
func (r *reader) Get(ctx context.Context, epoch api.Epoch, ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	if err := checkReadKeys(keys); err != nil {
		return nil, err
	}
	r.requests.Add(uint64(len(keys)))
	var items []api.Item
	err := r.read(ctx, epoch, func(v *view) (err error) {
		items, err = v.get(ns, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func checkReadKeys(keys [][]byte) error {
	if len(keys) > api.MaxBatchOps {
		return api.Errorf(api.CodeTooLarge, "a read of %d keys is over the limit of %d", len(keys), api.MaxBatchOps)
	}
	for _, k := range keys {
		if refusal := checkOp(&api.Op{Kind: api.OpDelete, Key: k}); refusal != nil {
			return refusal
		}
	}
	return nil
}

func (v *view) get(ns api.Namespace, keys [][]byte) ([]api.Item, error) {
	items := make([]api.Item, len(keys))
	size := 0
	v.key = make([]byte, 0, viewKeyBytes)
	for i, k := range keys {
		if slot := router.Slot(ns, k); !v.state.arc.Contains(slot) {
			return nil, v.state.stale("slot %d is not in the arc %s of shard %d", slot, v.state.arc, v.state.shard)
		}
		items[i].Key = k
		v.key = rows.AppendKey(v.key[:0], ns, k)
		found, ok, err := v.snapshot.Get(v.key, engine.MaxVersion)
		if err != nil {
			return nil, fmt.Errorf("read a row: %w", err)
		}
		if !ok || !v.live(found.ExpiryMillis) {
			continue
		}
		if err := v.fill(&items[i], found); err != nil {
			return nil, err
		}
		if size += len(items[i].Value); size > api.MaxInlineBatchBytes {
			return nil, api.Errorf(api.CodeTooLarge, "the values of %d keys are together over the limit of %d bytes", len(keys), api.MaxInlineBatchBytes)
		}
		if len(items[i].Value) > maxEngineCopyBytes {
			items[i].Value = copied(items[i].Value)
		}
	}
	return items, nil
}

// maxEngineCopyBytes is up to which size the engine gives a copy of a value, which can be handed on.
// A larger one may lie in a memtable, which a client that is slow to take it in must not hold.
const maxEngineCopyBytes = 64 << 10

// ReadsOnly reports whether a command can change nothing. Such a command needs no entry of the
// log, and no request id: it may run twice.
func (c *Command) ReadsOnly() bool { return c.Stage == nil && evaluate.ReadsOnly(&c.Batch) }

// evaluate evaluates a command that only reads.
func (v *view) evaluate(c *Command) (_ api.Result, refusal *api.Error, err error) {
	if refusal := v.state.checkOwnership(c); refusal != nil {
		return api.Result{}, refusal, nil
	}
	e := evaluate.Evaluator{Version: v.at, Load: v.load, Lookup: func(key []byte) (evaluate.Row, error) {
		return v.row(rows.Key(c.Batch.Namespace, key))
	}}
	result, refusal, err := e.Run(&c.Batch)
	result.Version = 0 // nothing was written
	return result, refusal, err
}

// row is a live row of the view.
func (v *view) row(engineKey []byte) (evaluate.Row, error) {
	found, ok, err := v.snapshot.Get(engineKey, v.rows)
	if err != nil {
		return evaluate.Row{}, fmt.Errorf("read a row: %w", err)
	}
	if !ok || !v.live(found.ExpiryMillis) {
		return evaluate.Row{}, nil
	}
	return rowOf(found)
}
