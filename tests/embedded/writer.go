package embedded

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/lightning-db/lightning/engine"
)

const (
	writers = 4
	// keysOfWriter is few, so that rows are replaced and tables are compacted.
	keysOfWriter = 200
	// deleteEvery is after how many batches one deletes a range.
	deleteEvery = 9
)

// What a child is told.
const (
	dirVariable  = "LIGHTNING_EMBEDDED_DIR"
	modeVariable = "LIGHTNING_EMBEDDED_LOG"
	seedVariable = "LIGHTNING_EMBEDDED_SEED"
	setVariable  = "LIGHTNING_EMBEDDED_OPTIONS"
)

// options are small, so that flushes and compactions are part of what is cut short.
func options(set uint64, mode engine.LogMode) engine.Options {
	r := rand.New(rand.NewPCG(set, 1))
	return engine.Options{
		Log: mode, MemtableBytes: 64 << 10 << r.IntN(4), CacheBytes: 1 << 20, RowCacheBytes: 1 << 20, TableBytes: 64 << 10 << r.IntN(3),
		LevelBytes: 256 << 10 << r.IntN(3), LogSegmentBytes: 64 << 10 << r.IntN(3), BlockBytes: 1 << 10 << r.IntN(4),
		CompactionCount: 1 + r.IntN(3), CompactCount: 1 + r.IntN(4), Compression: engine.Compression(r.IntN(4)),
		LogSyncInterval: time.Minute, // of the control
	}
}

// change is what a batch does to a row: a nil value deletes it, and an end deletes up to there.
type change struct {
	key, value, end []byte
}

func rowKey(writer, i int) []byte { return fmt.Appendf(nil, "%d/%04d", writer, i) }

// lastKey has the number of the writer's last batch. It is behind all others of the writer.
func lastKey(writer int) []byte { return fmt.Appendf(nil, "%d/last", writer) }

// batchOf is a writer's batch of a number, from 1 on.
func batchOf(seed uint64, writer int, number uint64) (changes []change) {
	r := rand.New(rand.NewPCG(seed+uint64(writer)<<32, number))
	if number%deleteEvery == 0 {
		from := r.IntN(keysOfWriter)
		changes = append(changes, change{key: rowKey(writer, from), end: rowKey(writer, from+1+r.IntN(keysOfWriter))})
	}
	for range 1 + r.IntN(6) {
		c := change{key: rowKey(writer, r.IntN(keysOfWriter))}
		if r.IntN(5) > 0 {
			c.value = valueOf(writer, number, r.IntN(600))
		}
		changes = append(changes, c)
	}
	return append(changes, change{key: lastKey(writer), value: strconv.AppendUint(nil, number, 10)})
}

// valueOf is bytes that no other batch has.
func valueOf(writer int, number uint64, size int) []byte {
	value := fmt.Appendf(nil, "%d %d %d ", writer, number, size)
	h := fnv.New64a()
	_, _ = h.Write(value) // it cannot fail
	for sum := h.Sum(nil); len(value) < size; {
		value = append(value, sum...)
	}
	return value
}

// rows are what a writer has in the store after some of its batches.
type rows struct {
	number uint64
	values map[string]string
}

func newRows() *rows { return &rows{values: map[string]string{}} }

// to is the rows after so many batches, which are no fewer.
func (r *rows) to(seed uint64, writer int, number uint64) *rows {
	next := &rows{number: r.number, values: maps.Clone(r.values)}
	for next.number < number {
		next.number++
		for _, c := range batchOf(seed, writer, next.number) {
			switch {
			case c.end != nil:
				maps.DeleteFunc(next.values, func(key, _ string) bool { return key >= string(c.key) && key < string(c.end) })
			case c.value == nil:
				delete(next.values, string(c.key))
			default:
				next.values[string(c.key)] = string(c.value)
			}
		}
	}
	return next
}

// child opens the store and writes until it is killed. It ends with 1 if something fails, which losing the power makes it.
func child() error {
	mode, err := strconv.Atoi(os.Getenv(modeVariable))
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(os.Getenv(seedVariable), 10, 64)
	if err != nil {
		return err
	}
	set, err := strconv.ParseUint(os.Getenv(setVariable), 10, 64)
	if err != nil {
		return err
	}
	db, err := engine.Open(os.Getenv(dirVariable), options(set, engine.LogMode(mode)))
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range writers {
		go func() { failed <- write(db, seed, w) }()
	}
	return <-failed
}

// write goes on behind the last batch that the store has.
func write(db *engine.DB, seed uint64, writer int) error {
	number, err := lastOf(db, writer)
	if err != nil {
		return err
	}
	b := db.NewBatch()
	var line []byte
	for {
		number++
		for _, c := range batchOf(seed, writer, number) {
			switch {
			case c.end != nil:
				b.DeleteRange(c.key, c.end, 0)
			case c.value == nil:
				b.Delete(c.key, 0)
			default:
				b.Put(c.key, c.value, 0, 0)
			}
		}
		if err := db.Apply(b); err != nil {
			return err
		}
		line = append(strconv.AppendUint(append(strconv.AppendInt(line[:0], int64(writer), 10), ' '), number, 10), '\n')
		if _, err := os.Stdout.Write(line); err != nil { // EM1; a line as short as this goes into a pipe whole
			return err
		}
	}
}

// lastOf is the number of the writer's last batch in the store.
func lastOf(db *engine.DB, writer int) (uint64, error) {
	row, ok, err := db.Get(lastKey(writer), engine.MaxVersion)
	if err != nil || !ok {
		return 0, err
	}
	return strconv.ParseUint(string(bytes.TrimSpace(row.Value)), 10, 64)
}
