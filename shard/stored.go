package shard

import (
	"context"
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/shard/parts"
)

// MaxReadParts bounds the parts that are read at a time.
const MaxReadParts = api.MaxInlineBytes / api.MaxPartBytes

// ReadParts reads the parts [from, from+count) of a value that a read of this shard found, on whichever
// replica. The caller owns the bytes, one part behind the other, and compares the checksum of the value when
// it has them all. TOO_STALE when this replica has not applied what that read saw; SNAPSHOT_TOO_OLD when the
// value was replaced, and that longer ago than the shard keeps it.
func (r *reader) ReadParts(ctx context.Context, value *api.Stored, from, count uint32) ([]byte, error) {
	if err := checkStored(value, from, count); err != nil {
		return nil, err
	}
	// A replica that was fenced does not serve (S10).
	if err := r.applied(ctx, 0); err != nil {
		return nil, hint(err, r.id)
	}
	h, err := r.machine.store.Acquire()
	if err != nil {
		return nil, readError(err)
	}
	defer h.Release()
	behind := r.machine.state().last < value.At // before the rows are looked for
	bytes := make([]byte, 0, int(count)*api.MaxPartBytes)
	for n := from; n < from+count; n++ {
		part, ok, err := partRow(h.DB, value, n)
		switch {
		case errors.Is(err, engine.ErrSnapshotTooOld):
			return nil, api.Errorf(api.CodeSnapshotTooOld, "the value was replaced while it was read, and is not kept any more: read it again")
		case err != nil:
			return nil, readError(fmt.Errorf("read a part of a value: %w", err))
		case !ok && behind:
			return nil, hint(errTooStale("the replica has not applied the value that is asked for"), r.id)
		case !ok || len(part) != value.PartBytes(n):
			return nil, readError(fmt.Errorf("part %d of a value of %d parts is not there: %w", n, value.Count, parts.ErrMalformed))
		}
		bytes = append(bytes, part...)
	}
	return bytes, nil
}

func checkStored(value *api.Stored, from, count uint32) error {
	switch {
	case value.ID == 0 || value.Bytes == 0 || value.Bytes > api.MaxValueBytes || value.Count != api.PartCount(value.Bytes) || value.First > ^uint32(0)-value.Count:
		return api.Errorf(api.CodeInvalid, "%d parts of %d bytes are no value", value.Count, value.Bytes)
	case count == 0 || count > MaxReadParts || from >= value.Count || count > value.Count-from:
		return api.Errorf(api.CodeInvalid, "parts %d to %d of a value that has %d are asked for, and %d are read at a time", from, from+count, value.Count, MaxReadParts)
	}
	return nil
}

// partRow finds a part: its newest row, because parts never change, or if it was deleted since, the row as of
// the time of the read. So a value that nobody replaces can be read for as long as it takes.
func partRow(db *engine.DB, value *api.Stored, n uint32) ([]byte, bool, error) {
	key := rows.AppendPartKey(make([]byte, 0, rows.PartKeyBytes), value.ID, value.First+n)
	found, ok, err := db.Get(key, engine.MaxVersion)
	if err == nil && !ok {
		found, ok, err = db.Get(key, engine.Version(value.At))
	}
	return found.Value, ok, err
}
