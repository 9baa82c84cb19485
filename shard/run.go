package shard

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/raft"
)

// maxRunBytes is how much a run gathers before it is given to the engine. A batch is held in
// memory whole, and readers see its first entry only with its last.
const maxRunBytes = 4 << 20

// run gathers what consecutive entries change, for one engine batch. Its overlay lets each
// command see what the ones before it wrote. It belongs to Machine.Apply.
type run struct {
	db      *engine.DB
	members *memberLog
	batch   *engine.Batch
	state   state // as of the last command evaluated

	// rows holds the newest row of every user key that the batch writes.
	rows map[string]evaluate.Row
	// systemRows holds the newest value of every session and answer row; nil means deleted. They
	// go into the batch when it is committed, in the order of systemOrder.
	systemRows  map[string][]byte
	systemOrder [][]byte
	systemBytes int

	// command is the one that is being applied; its operations keep their memory.
	command decoded

	// carried is how many bytes of stored values the commands of the current entry took up again.
	carried int

	first      api.Version         // the lowest version of a row in the batch, 0 when there is none
	membership *raft.Configuration // the newest that an entry of this run has set
	position   engine.Position
}

func newRun(h *handle, s state) *run {
	return &run{db: h.db, members: h.members, batch: h.db.NewBatch(), state: s, rows: map[string]evaluate.Row{}, systemRows: map[string][]byte{}}
}

func (r *run) decode(data []byte) (err error) {
	r.command, err = decodeCommand(data)
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
	r.batch.Put(stateKey(), r.state.encode(), v, 0)
	r.batch.SetHorizon(r.horizon())
	r.batch.SetPosition(r.position)
	if err := r.db.Apply(r.batch); err != nil {
		return fmt.Errorf("apply entries up to %d: %w", r.position.Index, err)
	}
	r.batch.Reset()
	clear(r.rows)
	clear(r.systemRows)
	r.systemOrder, r.systemBytes = nil, 0
	r.first = 0
	r.membership, r.position = nil, engine.Position{}
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
func (r *run) row(key []byte) (evaluate.Row, error) {
	if w, ok := r.rows[string(key)]; ok {
		return w, nil
	}
	found, ok, err := r.db.Get(key, engine.MaxVersion)
	if err != nil || !ok {
		return evaluate.Row{}, err
	}
	return rowOf(found)
}

// rowOf is an engine row as an evaluation sees it. The value is the engine's memory.
func rowOf(found engine.Row) (evaluate.Row, error) {
	value, err := rows.DecodeValue(found.Value)
	if err != nil {
		return evaluate.Row{}, err
	}
	return evaluate.Row{Value: value, Version: api.Version(found.Version), ExpiryMillis: found.ExpiryMillis, Live: true}, nil
}

// putRows adds what an evaluated command leaves behind.
func (r *run) putRows(ns api.Namespace, writes []evaluate.Write, v api.Version) {
	for i := range writes {
		key, row := rows.Key(ns, writes[i].Key), writes[i].Row
		if row.Live {
			r.batch.Put(key, rows.EncodeValue(row.Value), engine.Version(v), row.ExpiryMillis)
			r.state.latestExpiryMillis = max(r.state.latestExpiryMillis, row.ExpiryMillis)
		} else {
			r.batch.Delete(key, engine.Version(v))
		}
		r.rows[string(key)] = row
	}
	if len(writes) == 0 {
		return
	}
	r.state.lastWrite = v
	if r.first == 0 {
		r.first = v
	}
}

// system is the newest value of a session or answer row.
func (r *run) system(key []byte) ([]byte, bool, error) {
	if value, ok := r.systemRows[string(key)]; ok {
		return value, value != nil, nil
	}
	found, ok, err := r.db.Get(key, engine.MaxVersion)
	return found.Value, ok, err
}

func (r *run) putSystem(key, value []byte) {
	if _, again := r.systemRows[string(key)]; !again {
		r.systemOrder = append(r.systemOrder, key)
	}
	r.systemRows[string(key)] = value
	r.systemBytes += len(key) + len(value)
}

func (r *run) deleteSystem(key []byte) { r.putSystem(key, nil) }

// expired says whether an expiry has come at a time; an expiry of 0 never does.
func expired(expiryMillis, nowMillis uint64) bool { return evaluate.Expired(expiryMillis, nowMillis) }
