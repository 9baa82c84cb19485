package backup

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
)

// Cut is what a file holds: the rows of an arc after an entry of its shard's log.
type Cut struct {
	Shard      api.ShardID
	Arc        router.Arc
	Epoch      uint64
	Index      uint64
	TimeMillis uint64
}

// Sink takes the rows of one shard.
type Sink interface {
	// Begin is called first.
	Begin(c Cut) error
	// Block takes whole records, which stay the caller's.
	Block(records []byte) error
}

// Source streams the shard that owns a slot into a sink and returns when it has sent everything, with what it has
// counted itself.
type Source func(ctx context.Context, slot api.Slot, to Sink) (rows, bytes uint64, err error)

// Options are the settings of Write.
type Options struct {
	ID         ID
	Cluster    string
	Version    string
	TimeMillis uint64
	Revision   uint64
	// Progress is told of rows and bytes that came. Nil: nobody is told.
	Progress func(rows, bytes int)
}

const (
	// maxTries bounds how often a shard begins again before the backup fails.
	maxTries  = 8
	triesWait = 500 * time.Millisecond
	partial   = ".part"
)

// Write makes a backup in dir, which is empty or not there. It asks for the shard of slot 0, then for that of the slot behind it, and so
// on, so that a shard that splits meanwhile does not matter unless one is asked twice.
func Write(ctx context.Context, fsys vfs.FS, dir string, from Source, o Options) (*Manifest, error) {
	if err := prepare(fsys, dir); err != nil {
		return nil, err
	}
	m := &Manifest{
		Format: manifestFormat, ID: hex.EncodeToString(o.ID[:]), Cluster: o.Cluster, Version: o.Version, TimeMillis: o.TimeMillis, Revision: o.Revision,
	}
	w := writing{fs: fsys, dir: dir, from: from, options: o}
	if err := w.write(ctx, m); err != nil {
		return nil, fmt.Errorf("%w; what is in %s is no backup: delete it, and begin again", err, dir)
	}
	return m, nil
}

func prepare(fsys vfs.FS, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("make the directory of a backup: %w", err)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("list the directory of a backup: %w", err)
	}
	if len(names) > 0 {
		return api.Errorf(api.CodeInvalid, "%s is not empty: a backup needs a directory of its own", dir)
	}
	return nil
}

type writing struct {
	fs      vfs.FS
	dir     string
	from    Source
	options Options
}

// write writes the files, and the manifest behind them (BK1).
func (w *writing) write(ctx context.Context, m *Manifest) error {
	for next := uint32(0); next < api.SlotCount; {
		s, err := w.shard(ctx, next)
		if err != nil {
			return err
		}
		m.Shards = append(m.Shards, *s)
		next = s.End
	}
	sortShards(m.Shards)
	if err := tile(m.Shards); err != nil {
		return fmt.Errorf("the shards changed while the backup ran: %w", err)
	}
	m.Count = len(m.Shards)
	if err := w.fs.SyncDir(w.dir); err != nil { // the files' names before the manifest's
		return fmt.Errorf("sync a backup: %w", err)
	}
	if err := vfs.WriteFileAtomic(w.fs, w.dir, ManifestName, m.encode()); err != nil {
		return fmt.Errorf("write the manifest of a backup: %w", err)
	}
	return nil
}

// shard writes the shard of a slot, from its beginning again if its stream breaks.
func (w *writing) shard(ctx context.Context, slot uint32) (*Shard, error) {
	for tries := 1; ; tries++ {
		s, err := w.try(ctx, slot)
		if err == nil {
			return s, nil
		}
		if tries == maxTries || ctx.Err() != nil || !api.Row(api.CodeOf(err)).Retry {
			return nil, fmt.Errorf("back up the shard of slot %d: %w", slot, err)
		}
		timer := time.NewTimer(time.Duration(tries) * triesWait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (w *writing) try(ctx context.Context, slot uint32) (_ *Shard, err error) {
	name := fmt.Sprintf("%s/slot-%05d%s", w.dir, slot, partial)
	f, err := w.fs.Create(name)
	if err != nil {
		return nil, fmt.Errorf("make a file of a backup: %w", err)
	}
	open := true
	defer func() {
		if open {
			_ = f.Close() // the error that is returned comes first
		}
		if err != nil {
			err = errors.Join(err, w.fs.Remove(name))
		}
	}()
	sink := shardSink{file: f, slot: slot, options: &w.options}
	rows, bytes, err := w.from(ctx, api.Slot(slot), &sink)
	if sink.writer != nil && seededbug.Enabled(seededbug.BackupKeepBroken) {
		rows, bytes, err = sink.writer.counter.Rows, sink.writer.counter.Bytes, nil
	}
	if err != nil {
		return nil, err
	}
	s, err := sink.end(rows, bytes)
	if err != nil {
		return nil, err
	}
	open = false
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("close a file of a backup: %w", err)
	}
	if err := w.fs.Rename(name, w.dir+"/"+s.File); err != nil {
		return nil, fmt.Errorf("name a file of a backup: %w", err)
	}
	return s, nil
}

// shardSink is a Sink that writes a file.
type shardSink struct {
	file    vfs.File
	slot    uint32
	options *Options
	cut     Cut
	writer  *fileWriter
}

// Begin implements Sink.
func (s *shardSink) Begin(c Cut) (err error) {
	if s.writer != nil || c.Arc.Start != s.slot || c.Arc.End <= c.Arc.Start || c.Arc.End > api.SlotCount || c.Shard == 0 {
		return api.Errorf(api.CodeUnavailable, "the slots %s of shard %d came where slot %d is to be: the map changes", c.Arc, c.Shard, s.slot)
	}
	s.cut = c
	s.writer, err = newFileWriter(s.file, s.options.ID, c.Shard)
	return err
}

// Block implements Sink.
func (s *shardSink) Block(records []byte) error {
	if s.writer == nil {
		return api.Errorf(api.CodeInternal, "rows of a backup came before what they are")
	}
	before := s.writer.counter.Rows
	if err := s.writer.block(s.cut.Arc, records); err != nil {
		return err
	}
	if s.options.Progress != nil {
		s.options.Progress(int(s.writer.counter.Rows-before), len(records))
	}
	return nil
}

func (s *shardSink) end(rows, bytes uint64) (*Shard, error) {
	if s.writer == nil || rows != s.writer.counter.Rows || bytes != s.writer.counter.Bytes {
		return nil, api.Errorf(api.CodeUnavailable, "a shard sent other rows than it has counted")
	}
	if err := s.writer.end(); err != nil {
		return nil, err
	}
	return &Shard{
		Shard: s.cut.Shard, File: fileName(s.cut.Shard), Start: s.cut.Arc.Start, End: s.cut.Arc.End, Epoch: s.cut.Epoch, Index: s.cut.Index,
		TimeMillis: s.cut.TimeMillis, Rows: rows, Bytes: bytes, Size: s.writer.offset, SHA256: s.writer.sum(),
	}, nil
}
