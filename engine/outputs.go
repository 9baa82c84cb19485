package engine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/family"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/retain"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// outputs writes the rows that a filter keeps as one table, or as several of about cutBytes. Its
// tables are synced; their names are made durable by installEdit.
type outputs struct {
	db       *DB
	filter   *retain.Filter
	cutBytes int                  // 0 for one table
	last     bool                 // no deeper level has tables
	dropped  *family.Dropped      // whose rows are left out
	styles   *family.Styles       // of families with a compression of their own
	ranges   []rangedel.Tombstone // sorted: those that cover keys behind the tables that are made

	made   []uint64 // numbers of all files
	file   vfs.File
	writer *table.Writer
	number uint64
	user   []byte // key of the last row written
	done   []*levels.Table
}

// add writes a row if it is needed.
func (o *outputs) add(r *record.Row) error {
	if o.dropped.Covers(r.User) {
		return nil
	}
	row := *r
	if !o.filter.Keep(&row) {
		return nil
	}
	full := o.cutBytes > 0 && o.writer != nil && o.writer.Size() >= o.cutBytes
	if full && !bytes.Equal(o.user, row.User) { // all rows of a key stay in one table
		var upTo []rangedel.Tombstone
		upTo, o.ranges = rangedel.Cut(o.ranges, o.user)
		o.writer.AddRanges(upTo)
		if seededbug.Enabled(seededbug.EngineRangeCutShort) {
			o.ranges = nil
		}
		if err := o.cut(); err != nil {
			return err
		}
	}
	if o.writer == nil {
		if err := o.open(); err != nil {
			return err
		}
	}
	o.user = append(o.user[:0], row.User...)
	if o.styles != nil {
		o.writer.SetCompression(o.compression(row.User).of(o.last))
	}
	return o.writer.Add(&row)
}

// compression is that of a key's family, or of the store.
func (o *outputs) compression(user []byte) Compression {
	if e, ok := o.styles.Of(user); ok && e.OwnCompression {
		return Compression(e.Compression)
	}
	return o.db.options.Compression
}

func (o *outputs) open() error {
	o.number = o.db.nextFile.Add(1) - 1
	f, err := o.db.options.FS.Create(o.db.path(tableName(o.number)))
	if err != nil {
		return fmt.Errorf("create table: %w", err)
	}
	o.made = append(o.made, o.number)
	o.file, o.writer = f, table.NewWriter(f, o.number, table.Options{
		BlockBytes: o.db.options.BlockBytes, Compression: o.db.options.Compression.of(o.last), ApartBytes: max(o.db.options.ApartBytes, 0),
	})
	return nil
}

// cut completes the table and opens it for reading, which checks what reached the disk's cache.
func (o *outputs) cut() error {
	_, size, err := o.writer.Finish()
	o.writer = nil
	if closeErr := o.file.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close table %06d: %w", o.number, closeErr)
	}
	if err != nil {
		return err
	}
	t, err := o.db.openTable(o.number, size)
	if err == nil {
		o.done = append(o.done, t)
		o.db.events.emit(Event{Kind: EventTableCreated, Table: o.number, Bytes: size})
	}
	return err
}

// finish gives the tables, in order of keys.
func (o *outputs) finish() ([]*levels.Table, error) {
	if err := o.finishLast(); err != nil {
		o.reject(err)
		return nil, err
	}
	return o.done, nil
}

// finishLast completes the last table. It has the range tombstones that are left, and nothing else if no row came.
func (o *outputs) finishLast() error {
	if len(o.ranges) > 0 {
		if o.writer == nil {
			if err := o.open(); err != nil {
				return err
			}
		}
		o.writer.AddRanges(o.ranges)
	}
	if o.writer == nil {
		return nil
	}
	return o.cut()
}

// needed leaves the range tombstones of dropped families out.
func (o *outputs) needed(list []rangedel.Tombstone) []rangedel.Tombstone {
	return slices.DeleteFunc(list, func(t rangedel.Tombstone) bool { return o.dropped.Covers(t.Start) })
}

// reject gives up because of an error. Where that is no sign of a bad disk the files go, which makes room on a full one.
func (o *outputs) reject(err error) {
	if noRoom(err) || errors.Is(err, errStopped) {
		o.discard()
		return
	}
	o.abandon()
}

// abandon closes what is open. The files stay, as the disk may have failed; the next Open removes them.
func (o *outputs) abandon() {
	if o.writer != nil {
		o.file.Close()
		o.writer = nil
	}
	for _, t := range o.done {
		t.Reader.Close()
	}
	o.done = nil
}

// discard is abandon on a disk that works. What cannot be removed is left to the next Open, too.
func (o *outputs) discard() {
	tables := o.done
	o.abandon()
	for _, number := range o.made {
		whole := slices.IndexFunc(tables, func(t *levels.Table) bool { return t.Number == number })
		if o.remove(number) && whole >= 0 {
			o.db.events.emit(Event{Kind: EventTableDeleted, Table: number, Bytes: tables[whole].Size})
		}
	}
}

func (o *outputs) remove(number uint64) bool {
	err := o.db.options.FS.Remove(o.db.path(tableName(number)))
	if err != nil {
		o.db.options.Logger.Warn("table not removed", "dir", o.db.dir, "table", number, "error", err)
	}
	return err == nil
}

func placeAt(level int, tables []*levels.Table) []levels.Placed {
	placed := make([]levels.Placed, len(tables))
	for i, t := range tables {
		placed[i] = levels.Placed{Level: level, Table: t}
	}
	return placed
}

func totalBytes(tables []*levels.Table) (n uint64) {
	for _, t := range tables {
		n += t.Size
	}
	return n
}
