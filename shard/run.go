package shard

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard/directory"
	"github.com/lightning-db/lightning/shard/overlay"
	"github.com/lightning-db/lightning/shard/parts"
)

// maxRunBytes is how much a run gathers before it is given to the engine. A batch is held in
// memory whole, and readers see its first entry only with its last.
const maxRunBytes = 4 << 20

// run gathers what consecutive entries change, for one engine batch. Its overlay lets each
// command see what the ones before it wrote. It belongs to Machine.Apply, and keeps its memory from
// one batch to the next.
type run struct {
	handle *directory.Handle
	db     *engine.DB
	batch  *engine.Batch
	state  state // as of the last command evaluated

	// rows has the newest row of every user key that the batch writes.
	rows overlay.Overlay
	// sessions are as of the last command evaluated; those in changed go into the batch when it is
	// committed. The others are what the engine holds, and may be forgotten.
	sessions map[api.SessionID]*openSession
	changed  []*openSession
	// systemRows holds the newest value of every row with an answer of its own; nil means deleted.
	// They go into the batch when it is committed, in the order of systemOrder.
	systemRows  map[string][]byte
	systemOrder [][]byte
	systemBytes int

	// command is the one that is being applied, and evaluator evaluates it; key and value are for
	// what is encoded on the way.
	command   decoded
	evaluator evaluate.Evaluator
	key       []byte
	value     []byte

	// effects are those of the current entry, and digests the running digests of the run's entries.
	effects effects
	digests []digestAt

	// carried is how many bytes of stored values the commands of the current entry took up again.
	carried int

	// keeper keeps the values in parts, and values are those that the last command left behind.
	keeper parts.Keeper
	values []parts.Owned

	first      api.Version         // the lowest version of a row in the batch, 0 when there is none
	membership *raft.Configuration // the newest that an entry of this run has set
	position   engine.Position
}

func newRun(h *directory.Handle) *run {
	r := &run{
		handle: h, db: h.DB, batch: h.DB.NewBatch(), rows: overlay.New(),
		sessions: make(map[api.SessionID]*openSession), systemRows: make(map[string][]byte),
	}
	r.keeper = parts.Keeper{Rows: r, Counts: &r.state.parts}
	r.evaluator.Load = func(p *api.Parts) ([]byte, error) { return parts.Load(p, r.part) }
	r.evaluator.Lookup = func(key []byte) (evaluate.Row, error) { return r.row(r.command.write.Batch.Namespace, key) }
	return r
}

// maxKeptOps is up to which size the memory of a command's operations is used again.
const maxKeptOps = 1024

// decode decodes the next command.
func (r *run) decode(data []byte) (err error) {
	ops := r.command.write.Batch.Ops
	if cap(ops) > maxKeptOps {
		ops = nil
	}
	r.command, err = decodeCommandInto(data, ops[:0])
	return err
}

// full reports whether the run should be committed before another entry.
func (r *run) full() bool { return r.batch.Bytes()+r.systemBytes >= maxRunBytes }

// commit gives the batch to the engine, as one atomic step with everything that must agree with
// it (S6), and leaves the run empty.
func (r *run) commit() error {
	if r.position == (engine.Position{}) {
		return nil
	}
	v := r.state.rowVersion()
	r.commitSessions(v)
	for _, key := range r.systemOrder {
		if value := r.systemRows[string(key)]; value != nil {
			r.batch.Put(key, value, v, 0)
		} else {
			r.batch.Delete(key, v)
		}
	}
	if r.membership != nil {
		r.batch.Put(configurationKey(), r.membership.Marshal(), v, 0)
	}
	r.value = r.state.append(r.value[:0])
	r.batch.Put(stateRowKey, r.value, v, 0)
	r.batch.SetHorizon(r.horizon())
	r.batch.SetPosition(r.position)
	if err := r.db.Apply(r.batch); err != nil {
		return fmt.Errorf("apply entries up to %d: %w", r.position.Index, err)
	}
	r.batch.Reset()
	r.rows.Reset()
	clear(r.systemRows)
	clear(r.systemOrder)
	r.systemOrder, r.systemBytes = r.systemOrder[:0], 0
	r.first = 0
	r.membership, r.position = nil, engine.Position{}
	if cap(r.value) > maxRunBytes {
		r.value = nil
	}
	return nil
}

// horizon is the state's, held back to the oldest row of the batch: entries that are replayed
// together may span more time than the retention, and no row may be older than its own batch's
// horizon.
func (r *run) horizon() engine.Horizon {
	h := r.state.horizon()
	if r.first != 0 {
		h.Version = min(h.Version, engine.Version(r.first))
		h.ExpiryMillis = min(h.ExpiryMillis, r.first.Millis())
	}
	return h
}

// row is the newest row of a user's key, as it is: also if it has expired.
func (r *run) row(ns api.Namespace, key []byte) (evaluate.Row, error) {
	r.key = rows.AppendKey(r.key[:0], ns, key)
	if w := r.rows.Find(r.key); w != nil {
		return *w, nil
	}
	found, ok, err := r.db.Get(r.key, engine.MaxVersion)
	if err != nil || !ok {
		return evaluate.Row{}, err
	}
	if seededbug.Enabled(seededbug.ShardResurrect) {
		found.ExpiryMillis = 0
	}
	return rowOf(found)
}

// rowOf is an engine row as an evaluation sees it. The value is the engine's memory.
func rowOf(found engine.Row) (evaluate.Row, error) {
	value, in, err := rows.Decode(found.Value)
	if err != nil {
		return evaluate.Row{}, err
	}
	return evaluate.Row{Value: value, Parts: in, Version: api.Version(found.Version), ExpiryMillis: found.ExpiryMillis, Live: true}, nil
}

// putRows adds what an evaluated command leaves behind.
func (r *run) putRows(ns api.Namespace, writes []evaluate.Write, v api.Version) error {
	if r.values = nil; len(writes) == 0 {
		return nil
	}
	before, err := r.ownedBefore(ns, writes, v)
	if err != nil {
		return err
	}
	o := parts.Ownership{Before: before}
	for i := range writes {
		row := writes[i].Row
		if row.Parts == nil && len(row.Value) > api.MaxInlineBytes {
			row.Parts, row.Value = r.keeper.Split(&o, row.Value, v), nil
		}
		r.key = rows.AppendKey(r.key[:0], ns, writes[i].Key)
		if row.Live {
			if row.Parts == nil {
				r.value = rows.AppendValue(r.value[:0], row.Value)
			} else {
				r.value = rows.AppendParts(r.value[:0], row.Parts)
				o.After = append(o.After, parts.Owned{Parts: row.Parts, ExpiryMillis: row.ExpiryMillis})
			}
			r.batch.Put(r.key, r.value, engine.Version(v), row.ExpiryMillis)
			r.effects.row(r.key, r.value, v, row.ExpiryMillis)
			r.state.latestExpiryMillis = max(r.state.latestExpiryMillis, row.ExpiryMillis)
		} else {
			r.batch.Delete(r.key, engine.Version(v))
			r.effects.row(r.key, nil, v, 0)
		}
		r.rows.Put(r.key, row)
	}
	r.keeper.PassOn(&o, v)
	r.values = o.After
	r.wrote(v)
	return nil
}

// wrote notes that the batch has a row of a user's key or value.
func (r *run) wrote(v api.Version) {
	r.state.lastWrite = v
	if r.first == 0 {
		r.first = v
	}
}

// System is the newest value of a row that PutSystem writes.
func (r *run) System(key []byte) ([]byte, bool, error) {
	if value, ok := r.systemRows[string(key)]; ok {
		return value, value != nil, nil
	}
	found, ok, err := r.db.Get(key, engine.MaxVersion)
	return found.Value, ok, err
}

// PutSystem implements parts.Rows.
func (r *run) PutSystem(key, value []byte) {
	if _, again := r.systemRows[string(key)]; !again {
		r.systemOrder = append(r.systemOrder, key)
	}
	r.systemRows[string(key)] = value
	r.systemBytes += len(key) + len(value)
}

// DeleteSystem implements parts.Rows.
func (r *run) DeleteSystem(key []byte) { r.PutSystem(key, nil) }

// expired says whether an expiry has come at a time; an expiry of 0 never does.
func expired(expiryMillis, nowMillis uint64) bool { return evaluate.Expired(expiryMillis, nowMillis) }
