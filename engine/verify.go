package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Verify reads every byte of every file of the store, past the cache, with all checks, and
// compares files, manifest and memory. The first damage is returned as a CorruptionError. When the store has failed, its
// manifest only has to be intact.
func (db *DB) Verify(ctx context.Context) error {
	v := db.acquire()
	if v == nil {
		return ErrClosed
	}
	defer v.unref()
	if err := db.verifyManifest(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, tables := range v.set.Levels {
		for _, t := range tables {
			if err := t.Reader.Verify(ctx); err != nil {
				return fmt.Errorf("verify: %w", err)
			}
		}
	}
	if err := db.verifyLog(ctx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// verifyManifest compares what is on the disk with what is in memory.
func (db *DB) verifyManifest() error {
	db.install.Lock()
	state, unsure := db.durable.Load(), db.install.unsure
	found, err := manifest.Load(db.options.FS, db.dir)
	db.install.Unlock()
	if err != nil {
		return err
	}
	if found == nil || !unsure && !slices.Equal(found.Encode(), state.Encode()) {
		return corrupt.Shape(manifest.Name, 0, "manifest", "the last state installed", "another one or none")
	}
	return nil
}

// verifyLog reads the log again. Of a store that has failed nobody knows what it should be.
func (db *DB) verifyLog(ctx context.Context) error {
	switch {
	case db.options.ReadOnly:
		_, err := wal.Replay(db.options.FS, db.dir, db.logStart(), func(*wal.Batch) error { return ctx.Err() })
		return err
	case db.log != nil && db.failure() == nil:
		return db.log.Verify(ctx)
	}
	return nil
}

// ScrubOptions say how a scrub reads. The zero value reads as fast as the disk does.
type ScrubOptions struct {
	// BytesPerSecond bounds how fast it reads; zero does not.
	BytesPerSecond int
	// Progress is told, on the goroutine of the call, after each read, which file that was and how much of all tables is done.
	Progress func(file string, doneBytes, totalBytes uint64)
}

// ScrubReport is what a scrub read and found.
type ScrubReport struct {
	Tables int
	Bytes  uint64
	// Findings has one error for each damaged file: a CorruptionError, which names it and the offset, or what the disk said.
	Findings []error
}

// Scrub reads every file of the store as Verify does, at a bounded speed, and goes on after damage. What it finds is in the
// report, in the store's logger and told as EventScrubFinding; the store goes on, and a read of what is damaged is an error as
// ever. The error is that of the context, or ErrClosed. Options.ScrubBytesPerSecond does it from time to time.
func (db *DB) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	s := &scrub{db: db, ctx: ctx, options: o}
	v := db.acquire()
	if v == nil {
		return s.report, ErrClosed
	}
	defer v.unref()
	s.total = v.set.TotalBytes()
	s.note(db.verifyManifest())
	for _, tables := range v.set.Levels {
		for _, t := range tables {
			s.note(s.table(t))
			if ctx.Err() != nil {
				return s.report, ctx.Err()
			}
		}
	}
	s.note(db.verifyLog(ctx))
	return s.report, ctx.Err()
}

// scrub is one on its way.
type scrub struct {
	db      *DB
	ctx     context.Context
	options ScrubOptions
	report  ScrubReport
	total   uint64
	ahead   int // bytes read and not waited for
}

// note keeps a finding.
func (s *scrub) note(err error) {
	if err == nil || s.ctx.Err() != nil {
		return
	}
	s.report.Findings = append(s.report.Findings, err)
	s.db.counts.findings.Add(1)
	s.db.events.emit(Event{Kind: EventScrubFinding, Err: err})
	s.db.options.Logger.Error("damage found", "dir", s.db.dir, "error", err)
}

// table opens the file anew, so that its name is checked, too, and reads all of it.
func (s *scrub) table(t *levels.Table) error {
	s.report.Tables++
	name := tableName(t.Number)
	f, err := s.db.options.FS.Open(s.db.path(name))
	if vfs.IsNotExist(err) {
		return corrupt.Shape(name, 0, "file", "one, as the manifest names it", "none")
	}
	if err != nil {
		return err
	}
	r, err := table.Open(&pacedFile{File: f, name: name, scrub: s}, name, t.Number, nil)
	if err != nil {
		return err
	}
	return errors.Join(r.Verify(s.ctx), r.Close())
}

// pacedFile is a file that a scrub reads.
type pacedFile struct {
	vfs.File
	name  string
	scrub *scrub
}

// ReadAt reads, and then waits as long as that may have taken.
func (f *pacedFile) ReadAt(b []byte, offset int64) (int, error) {
	s := f.scrub
	n, err := f.File.ReadAt(b, offset)
	s.report.Bytes += uint64(n)
	s.db.counts.scrubbed.Add(uint64(n))
	if s.options.Progress != nil {
		s.options.Progress(f.name, min(s.report.Bytes, s.total), s.total)
	}
	if waitErr := s.wait(n); waitErr != nil {
		return 0, waitErr
	}
	return n, err
}

// wait keeps to the speed. Short waits are gathered: a timer is never as exact.
func (s *scrub) wait(bytes int) error {
	if s.options.BytesPerSecond <= 0 {
		return s.ctx.Err()
	}
	const least = 10 * time.Millisecond
	s.ahead += bytes
	d := time.Duration(float64(s.ahead) / float64(s.options.BytesPerSecond) * float64(time.Second))
	if d < least {
		return s.ctx.Err()
	}
	s.ahead = 0
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// scrubLoop scrubs from time to time until the store is closed.
func (db *DB) scrubLoop() {
	defer db.loops.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// What is found is told by the scrub itself, and it ends early only when the store does.
			_, _ = db.Scrub(ctx, ScrubOptions{BytesPerSecond: db.options.ScrubBytesPerSecond})
		}()
		timer := time.NewTimer(db.options.ScrubInterval)
		select {
		case <-db.stop:
			cancel()
			<-done
			timer.Stop()
			return
		case <-timer.C:
		}
		select {
		case <-db.stop:
			cancel()
			<-done
			return
		case <-done: // a pass that takes longer than the interval is followed by the next one at once
		}
	}
}
