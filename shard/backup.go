package shard

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/parts"
)

// Cut is which rows a backup of the shard has: those that are live at At, after entry Index.
type Cut struct {
	Shard api.ShardID
	Arc   router.Arc
	Epoch api.Epoch
	Index api.Index
	At    api.Version
}

// Backup reads all live rows of the shard in one snapshot, which holds everything that was acknowledged before the call. begin is
// called first, then add with each record, whose memory is good until add returns; an error of either ends the backup.
//
// A row that the wall clock finds expired, and the shard's time not yet, is in it with its expiry: nobody can have read
// that it was gone. While the backup runs the engine keeps what the snapshot sees, so whoever calls bounds the time.
func (r *reader) Backup(ctx context.Context, begin func(Cut) error, add func(*record.Record) error) error {
	limit := api.VersionAt(r.machine.state().ceilingMillis) // before leadership is confirmed, as read says
	if !seededbug.Enabled(seededbug.ShardBackupUnconfirmed) {
		if err := r.confirm(ctx); err != nil {
			return hint(err, r.id)
		}
	}
	t, _ := r.clock.readTime(limit, r.machine.state())
	// Nothing is undecided at a wall clock of 0: what has expired is decided by the shard's time alone.
	_, err := r.viewAt(r.machine.state().epoch, t, 0, func(v *view) error {
		s := v.state
		if err := begin(Cut{Shard: s.shard, Arc: s.arc, Epoch: s.epoch, Index: api.Index(s.position.Index), At: v.at}); err != nil {
			return err
		}
		return v.backup(ctx, add)
	})
	if err != nil {
		return readError(err)
	}
	return nil
}

// backup walks over the rows. Of namespaces there is only 0 so far.
func (v *view) backup(ctx context.Context, add func(*record.Record) error) error {
	seen := 0
	var key []byte
	return v.walk(0, nil, nil, false, func(row engine.Row) (bool, error) {
		if seen++; seen%cancelEveryRows == 0 && ctx.Err() != nil {
			return false, api.Errorf(api.CodeExpired, "backup: %w", context.Cause(ctx))
		}
		ns, decoded, err := rows.DecodeKey(key[:0], row.Key)
		if err != nil {
			return false, err
		}
		key = decoded
		if !v.state.arc.Contains(router.Slot(ns, key)) || !v.live(row.ExpiryMillis) {
			return true, nil
		}
		value, in, err := rows.Decode(row.Value)
		if err != nil {
			return false, err
		}
		r := record.Record{Kind: record.Row, Namespace: ns, ExpiryMillis: row.ExpiryMillis, Key: key, Value: value, ValueBytes: uint64(len(value))}
		if seededbug.Enabled(seededbug.ShardBackupWithoutExpiry) {
			r.ExpiryMillis = 0
		}
		switch {
		case in != nil:
			return true, v.backupParts(ctx, &r, in, add)
		case len(value) > record.MaxPieceBytes:
			return true, addLong(&r, value, add)
		}
		return true, add(&r)
	})
}

// addLong adds a value that is too long for a record although it lies in its row.
func addLong(r *record.Record, value []byte, add func(*record.Record) error) error {
	r.Kind, r.Value = record.Long, nil
	if err := add(r); err != nil {
		return err
	}
	for len(value) > 0 {
		n := min(len(value), record.MaxPieceBytes)
		if err := add(&record.Record{Kind: record.Piece, Value: value[:n], ValueBytes: uint64(n)}); err != nil {
			return err
		}
		value = value[n:]
	}
	return nil
}

// backupParts adds a value that is in parts, one part at a time, and checks the whole.
func (v *view) backupParts(ctx context.Context, r *record.Record, p *api.Parts, add func(*record.Record) error) error {
	r.Kind, r.Value, r.ValueBytes = record.Long, nil, p.Bytes
	if err := add(r); err != nil {
		return err
	}
	sum := uint32(0)
	for n := range p.Count {
		if ctx.Err() != nil {
			return api.Errorf(api.CodeExpired, "backup: %w", context.Cause(ctx))
		}
		found, ok, err := v.snapshot.Get(rows.AppendPartKey(make([]byte, 0, rows.PartKeyBytes), p.ID, p.First+n), v.rows)
		if err != nil {
			return fmt.Errorf("read a part of a value: %w", err)
		}
		if !ok || len(found.Value) != p.PartBytes(n) {
			return fmt.Errorf("part %d of a value of %d parts is not there: %w", n, p.Count, parts.ErrMalformed)
		}
		sum = api.AddPartSum(sum, api.PartSum(found.Value))
		if err := add(&record.Record{Kind: record.Piece, Value: found.Value, ValueBytes: uint64(len(found.Value))}); err != nil {
			return err
		}
	}
	if sum != p.Checksum {
		return fmt.Errorf("the parts of a value have checksum %08x, expected %08x: %w", sum, p.Checksum, parts.ErrMalformed)
	}
	return nil
}
