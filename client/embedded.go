package client

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/evaluate"
)

var _ api.KV = (*embedded)(nil)

// EmbeddedOptions says how an embedded store is used. The zero value is usable.
type EmbeddedOptions struct {
	// FlushWrites makes every Apply return only when what it wrote is on disk. Calls that wait at
	// the same time share one sync of the engine's log: open it with engine.LogInterval or
	// engine.LogNever, which leave the sync to the store. With engine.LogAlways every write is
	// synced in any case, one after the other. Without a log each flush writes a table
	// of its own, which compaction has to merge later: right for a few dozen writes a second.
	// Default off: a crash loses what engine.Options.Log says.
	FlushWrites bool

	// FlushInterval makes what has changed durable that often, by the log if there is one, so that
	// a crash loses no more than that. Default 0: as the engine does by itself, by
	// engine.DB.Flush, and by Close. It is not needed with FlushWrites.
	FlushInterval time.Duration

	// Clock gives versions their time and decides what has expired; nil is the machine's.
	Clock clock.Clock
}

// embedded is api.KV on an engine. Safe for concurrent use.
type embedded struct {
	// Set by Embedded, never written again.
	db    *engine.DB
	opts  EmbeddedOptions
	stop  context.CancelFunc
	loops sync.WaitGroup

	calls gate

	// time is the time of this store (K5). A leaf.
	time struct {
		sync.Mutex
		// last is the highest version given to a write, or the latest time at which a read judged
		// what has expired. Only grows.
		last api.Version
		// writing is the version of the write under way, 0 when there is none.
		writing api.Version
	}
	// applied counts the batches that the engine was given: one that failed may be in its log.
	// Written under write.
	applied atomic.Uint64

	// write makes evaluating a batch and applying what comes of it one step. Nothing else is
	// locked before it; the engine's own locks come after it.
	write struct {
		sync.Mutex
		answers answers
		batch   *engine.Batch
	}

	// flush makes callers share syncs. The engine's locks come after it.
	flush struct {
		sync.Mutex
		upTo uint64 // batches that are durable
	}
}

// Embedded is an engine behind the interface of a cluster: the same operations, limits and error
// codes, in the caller's process. Code that takes an api.KV runs on either.
//
// What is different: every batch is possible, because all keys are on one shard; nothing is
// linearizable across processes, because there is only one; and durability is what
// EmbeddedOptions says. A batch is applied whole or not at all, also by a crash. The store keeps
// the answers of recent requests in memory, a few thousand, so a request id protects retries
// while it is open; of a session that began before, it refuses requests with api.ErrReleased.
//
// The engine must be used through this store only while it is open, and must have been opened
// without RetainVersions. It stays the caller's: Close of the store makes it durable and does not close it.
// Its rows are those of docs/formats/keys.md.
func Embedded(db *engine.DB, o EmbeddedOptions) api.KV {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &embedded{db: db, opts: o, stop: cancel}
	// The clock may have been set back since the store was written.
	e.time.last = max(api.Version(db.LastVersion()), api.VersionAt(db.Horizon().ExpiryMillis))
	e.write.batch = db.NewBatch()
	if db.LastVersion() > 0 {
		e.write.answers.unknownMillis = e.now().Millis()
	}
	if o.FlushInterval > 0 {
		e.loops.Go(func() { e.flushLoop(ctx) })
	}
	return e
}

// now is the time by which a read judges expiry. It does not go back, nor does it overtake a write
// under way, which may yet keep what the write found alive (K5).
func (e *embedded) now() api.Version {
	wall := api.VersionAt(clock.Millis(e.opts.Clock))
	e.time.Lock()
	defer e.time.Unlock()
	if e.time.writing != 0 {
		return e.time.writing - 1
	}
	e.time.last = max(e.time.last, wall)
	return e.time.last
}

// stampLocked is the version of a write: above every write and every read before it (K5). The write
// is under way until settle.
func (e *embedded) stampLocked() api.Version {
	wall := api.VersionAt(clock.Millis(e.opts.Clock))
	e.time.Lock()
	defer e.time.Unlock()
	e.time.last = max(e.time.last, wall) + 1
	e.time.writing = e.time.last
	return e.time.last
}

// settle ends the write under way: it is in the engine, or never will be.
func (e *embedded) settle() {
	e.time.Lock()
	defer e.time.Unlock()
	e.time.writing = 0
}

// Close implements api.KV. What was applied is durable when it returns nil.
func (e *embedded) Close() error {
	if !e.calls.shut() {
		return nil
	}
	e.calls.wait()
	e.stop()
	e.loops.Wait()
	if err := e.flushTo(e.applied.Load()); err != nil && !errors.Is(err, engine.ErrClosed) {
		return err // a closed engine is durable
	}
	return nil
}

func (e *embedded) flushLoop(ctx context.Context) {
	ticker := time.NewTicker(e.opts.FlushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			// A failure is the engine's, which then refuses every write and says why.
			_ = e.flushTo(e.applied.Load())
		}
	}
}

// flushTo returns when a number of batches is durable.
func (e *embedded) flushTo(batches uint64) error {
	e.flush.Lock()
	defer e.flush.Unlock()
	if e.flush.upTo >= batches {
		return nil
	}
	upTo := e.applied.Load()
	if err := e.db.Sync(); err != nil {
		return engineError(err)
	}
	e.flush.upTo = upTo
	return nil
}

// enter begins a call, which must leave.
func (e *embedded) enter(ctx context.Context, ns api.Namespace) error {
	if err := ctx.Err(); err != nil {
		return &api.Error{Code: api.CodeExpired, Message: "nothing was executed: " + err.Error(), Cause: err}
	}
	if ns != 0 {
		return api.Errorf(api.CodeInvalid, "namespace %d does not exist; there is only namespace 0", ns)
	}
	return e.calls.enter()
}

// engineError gives a code to an error of the engine.
func engineError(err error) error {
	switch {
	case errors.Is(err, engine.ErrClosed):
		return api.Errorf(api.CodeShuttingDown, "%w", err)
	case errors.Is(err, engine.ErrTooLarge):
		return api.Errorf(api.CodeTooLarge, "%w", err)
	default:
		return api.Errorf(api.CodeStoreFailed, "%w", err)
	}
}

// expired says whether a row has expired at a time.
func expired(row engine.Row, at api.Version) bool {
	return evaluate.Expired(row.ExpiryMillis, at.Millis())
}
