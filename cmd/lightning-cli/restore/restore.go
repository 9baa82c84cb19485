package restore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup"
	"github.com/lightning-db/lightning/backup/record"
)

// Cluster is where the rows go; *client.Client implements it.
type Cluster interface {
	Apply(ctx context.Context, b api.Batch) (api.Result, error)
	Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error]
}

// Options are the settings of a restore.
type Options struct {
	// Resume goes on with a restore that broke off: keys may be there.
	Resume bool
	// NowMillis is the time: rows that have expired by then are left out.
	NowMillis uint64
	// Group tells which keys can share a batch: those of one shard. It is a hint.
	Group func(key []byte) uint64
	// Progress is told of rows and their bytes. It must be quick and safe for concurrent use. Nil: nobody is told.
	Progress func(rows, bytes int)
}

// Restored counts what became of the rows.
type Restored struct {
	Rows     uint64 `json:"rows"`
	Written  uint64 `json:"written"`
	Existing uint64 `json:"existing"`
	Expired  uint64 `json:"expired"`
	// Compared are the keys that the cluster had in the end.
	Compared uint64 `json:"compared"`
}

const (
	workers    = 8
	batchRows  = 256
	batchBytes = 512 << 10

	// pendingBytes bounds the batches that are not full yet, all shards together.
	pendingBytes = 32 << 20
)

type batch struct {
	ops   []api.Op
	bytes int
}

// restorer is one restore.
type restorer struct {
	to      Cluster
	options Options
	ctx     context.Context // of the workers
	group   *errgroup.Group

	// Owned by the goroutine that reads.
	pending      map[uint64]*batch
	pendingBytes int
	want         contents
	long         *api.Op // whose value is not whole yet
	longBytes    uint64

	mu struct {
		sync.Mutex
		done Restored
	}
}

// Restore writes the rows of a backup into a cluster, and compares both.
func Restore(ctx context.Context, b *backup.Backup, to Cluster, o Options) (Restored, error) {
	if !o.Resume {
		if err := wantEmpty(ctx, to); err != nil {
			return Restored{}, err
		}
	}
	r := &restorer{to: to, options: o, pending: make(map[uint64]*batch)}
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.group.SetLimit(workers)
	err := r.readAll(b)
	// A worker's error ends the reading too, and says more.
	if workErr := r.group.Wait(); workErr != nil {
		err = workErr
	}
	done := r.mu.done
	if err != nil {
		return done, fmt.Errorf("the restore stopped, of %d rows read %d are written: %w", done.Rows, done.Written, err)
	}
	found, err := read(ctx, to)
	if err != nil {
		return done, fmt.Errorf("compare the cluster with the backup: %w", err)
	}
	done.Compared = found.persistent + found.expiring
	return done, r.want.compare(found)
}

func wantEmpty(ctx context.Context, to Cluster) error {
	for _, err := range to.Scan(ctx, api.Range{Limit: 1, KeysOnly: true}) {
		if err != nil {
			return fmt.Errorf("see whether the cluster is empty: %w", err)
		}
		return api.Errorf(api.CodeInvalid, "the cluster is not empty: a backup is restored into an empty one; --resume goes on with a restore that broke off")
	}
	return nil
}

func (r *restorer) readAll(b *backup.Backup) error {
	for i := range b.Shards {
		err := b.Rows(&b.Shards[i], func(block []byte) error {
			if r.ctx.Err() != nil {
				return context.Cause(r.ctx)
			}
			return record.Each(block, r.take)
		})
		if err != nil {
			return err
		}
	}
	return r.flushAll()
}

// take takes a record, whose memory is the block's.
func (r *restorer) take(rec *record.Record) error {
	if rec.Kind == record.Piece {
		r.long.Value = append(r.long.Value, rec.Value...)
		if uint64(len(r.long.Value)) < r.longBytes {
			return nil
		}
		op := r.long
		r.long = nil
		return r.row(op)
	}
	op := &api.Op{Kind: api.OpPut, Key: bytes.Clone(rec.Key), Condition: api.Condition{Kind: api.ConditionAbsent}}
	if rec.ExpiryMillis != 0 {
		op.Expiry = api.Expiry{Mode: api.ExpiryAt, Millis: rec.ExpiryMillis}
	}
	if rec.Kind == record.Long {
		op.Value, r.long, r.longBytes = make([]byte, 0, rec.ValueBytes), op, rec.ValueBytes
		return nil
	}
	op.Value = append([]byte{}, rec.Value...)
	return r.row(op)
}

// row puts a whole row into the batch of its shard.
func (r *restorer) row(op *api.Op) error {
	expired := op.Expiry.Millis != 0 && op.Expiry.Millis <= r.options.NowMillis
	r.mu.Lock()
	r.mu.done.Rows++
	if expired {
		r.mu.done.Expired++
	}
	r.mu.Unlock()
	if expired {
		return nil
	}
	r.want.add(op.Key, op.Value, op.Expiry.Millis)
	size := len(op.Key) + len(op.Value)
	if size > batchBytes { // alone it needs no memory of the node for its whole, and one at a time is in memory here
		return r.apply([]api.Op{*op})
	}
	shard := r.options.Group(op.Key)
	b := r.pending[shard]
	if b != nil && (len(b.ops) == batchRows || b.bytes+size > batchBytes) {
		if err := r.flush(shard); err != nil {
			return err
		}
		b = nil
	}
	if r.pendingBytes+size > pendingBytes {
		if err := r.flushAll(); err != nil {
			return err
		}
		b = nil
	}
	if b == nil {
		b = &batch{}
		r.pending[shard] = b
	}
	b.ops, b.bytes = append(b.ops, *op), b.bytes+size
	r.pendingBytes += size
	return nil
}

func (r *restorer) flushAll() error {
	for shard := range r.pending {
		if err := r.flush(shard); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) flush(shard uint64) error {
	b := r.pending[shard]
	delete(r.pending, shard)
	r.pendingBytes -= b.bytes
	return r.start(b)
}

// start hands a batch to a worker and waits until one is free.
func (r *restorer) start(b *batch) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	r.group.Go(func() error { return r.apply(b.ops) })
	return nil
}

// apply writes some rows of one group, together if that is possible.
func (r *restorer) apply(ops []api.Op) error {
	result, err := r.to.Apply(r.ctx, api.Batch{Independent: len(ops) > 1, Ops: ops})
	if len(ops) > 1 && api.CodeOf(err) == api.CodeCrossShard {
		for i := range ops {
			if err := r.apply(ops[i : i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	size := 0
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range ops {
		size += len(ops[i].Key) + len(ops[i].Value)
		switch one := result.Ops[i]; {
		case one.Code != "":
			return api.Errorf(one.Code, "a row was refused")
		case one.Applied:
			r.mu.done.Written++
		default:
			r.mu.done.Existing++
		}
	}
	if r.options.Progress != nil {
		r.options.Progress(len(ops), size)
	}
	return nil
}
