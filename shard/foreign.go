package shard

import (
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/router"
)

// Rows of slots that went to the other half of a split.
//
// Nobody reads them: every read checks the slot. Ticks walk over all rows once and delete these, a bounded number at a
// time, at the tick's version: so reads at earlier versions, checkpoints and the parts of values need no rule of
// their own, and all replicas hold the same. A row that has expired counts as absent, whether or not it is on the disk any
// more, and leaves it by itself.

// Bounds, part of the meaning of a tick.
const (
	// sweepForeignEveryMillis and maxForeignRows bound the work: at most 40,960 rows that have not expired are looked at in a
	// second. Those that have, and tombstones, are passed over without a bound: which ones are still there differs between
	// replicas, and they are few, because compaction drops them soon. A million of them take less than 0.1 s.
	sweepForeignEveryMillis = uint64(100)
	maxForeignRows          = 4096

	// maxForeignBytes bounds what a step reads of these rows, because apply waits for it: keys, and values only if some
	// are in parts, which have to be found. It ends with the row that reaches it.
	maxForeignBytes = 4 << 20
)

// foreignInterval is how often a leader ticks while there may be such rows.
const foreignInterval = time.Duration(sweepForeignEveryMillis) * time.Millisecond

// foreign is how far the walk has come.
type foreign struct {
	// from is the engine key where it goes on, empty when there is nothing to walk for.
	from string
	// sweptMillis is when the last step was.
	sweptMillis uint64
}

// mayHoldForeign begins the walk, from the start even if one is under way.
func (s *state) mayHoldForeign() { s.foreign = foreign{from: string([]byte{rows.Prefix})} }

func (s *state) wantsForeignTick(nowMillis uint64) bool {
	return s.foreign.from != "" && s.foreign.sweptMillis+sweepForeignEveryMillis <= nowMillis
}

// sweepForeign takes a step of the walk. It must run on an empty overlay: it reads the engine alone.
func (r *run) sweepForeign(v api.Version) error {
	if !r.state.wantsForeignTick(v.Millis()) {
		return nil
	}
	r.state.foreign.sweptMillis = v.Millis()
	snapshot := r.db.Snapshot()
	defer snapshot.Close()
	var found foreignRows
	rest := engine.IteratorOptions{
		Start: []byte(r.state.foreign.from), End: []byte{rows.Prefix + 1}, At: engine.MaxVersion, KeysOnly: r.state.parts.Values == 0,
	}
	err := eachOf(snapshot, rest, false, func(row engine.Row) (bool, error) { return found.look(row, &r.state, v) })
	if err != nil {
		return fmt.Errorf("look for rows of other shards: %w", err)
	}
	r.state.foreign.from = found.next
	for i := range found.runs {
		if err := r.putRows(found.runs[i].ns, found.runs[i].writes, v); err != nil {
			return fmt.Errorf("delete rows of other shards: %w", err)
		}
	}
	return nil
}

// foreignRows are the deletions that a step comes to.
type foreignRows struct {
	seen, bytes int
	next        string // where the step ended, empty at the end of all rows
	runs        []foreignRun
}

// foreignRun are those of one namespace.
type foreignRun struct {
	ns     api.Namespace
	writes []evaluate.Write
}

// look looks at one row, and reports whether the step goes on.
func (f *foreignRows) look(row engine.Row, s *state, v api.Version) (bool, error) {
	if expired(row.ExpiryMillis, v.Millis()) {
		return true, nil
	}
	if f.seen == maxForeignRows || f.bytes >= maxForeignBytes && !seededbug.Enabled(seededbug.ShardSweepBytes) {
		f.next = string(row.Key)
		return false, nil
	}
	f.seen++
	f.bytes += len(row.Key) + len(row.Value)
	ns, key, err := rows.DecodeKey(nil, row.Key)
	if err != nil || s.arc.Contains(router.Slot(ns, key)) {
		return err == nil, err
	}
	if n := len(f.runs); n == 0 || f.runs[n-1].ns != ns {
		f.runs = append(f.runs, foreignRun{ns: ns})
	}
	last := &f.runs[len(f.runs)-1]
	last.writes = append(last.writes, evaluate.Write{Key: key})
	return true, nil
}
