package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/internal/vfs"
)

// Damage is where the first wrong byte of a file is.
type Damage struct {
	File   string
	Offset int64
	Cause  string
}

func (d *Damage) Error() string { return fmt.Sprintf("%s at offset %d: %s", d.File, d.Offset, d.Cause) }

// DamagedError says what is wrong with a backup: the first damage of each file.
type DamagedError struct{ Damages []*Damage }

func (e *DamagedError) Error() string {
	lines := make([]string, len(e.Damages))
	for i, d := range e.Damages {
		lines[i] = d.Error()
	}
	return "the backup is damaged and nothing of it can be restored: " + strings.Join(lines, "; ")
}

// Backup is a backup that was verified.
type Backup struct {
	Manifest
	fs  vfs.FS
	dir string
	id  ID
}

// Verify reads every byte of a backup. The error is a *DamagedError if something is wrong with it. progress is told of rows
// and bytes of files; nil: nobody is told.
func Verify(ctx context.Context, fsys vfs.FS, dir string, progress func(rows, bytes int)) (*Backup, error) {
	text, err := vfs.ReadShortFile(fsys, dir+"/"+ManifestName, maxManifestBytes)
	switch {
	case vfs.IsNotExist(err):
		return nil, &DamagedError{[]*Damage{{ManifestName, 0, "the file is missing: this is no backup, or one that broke off"}}}
	case errors.Is(err, vfs.ErrTooLong):
		return nil, &DamagedError{[]*Damage{{ManifestName, maxManifestBytes, "the manifest is too long"}}}
	case err != nil:
		return nil, fmt.Errorf("read a backup: %w", err)
	}
	m, err := decodeManifest(text)
	var damage *Damage
	if errors.As(err, &damage) {
		return nil, &DamagedError{[]*Damage{damage}}
	}
	if err != nil {
		return nil, err
	}
	b := &Backup{Manifest: *m, fs: fsys, dir: dir}
	if b.id, err = m.id(); err != nil {
		return nil, err
	}
	return b, b.verify(ctx, progress)
}

func (b *Backup) verify(ctx context.Context, progress func(rows, bytes int)) error {
	damages, err := b.strangers()
	if err != nil {
		return err
	}
	for i := range b.Shards {
		err := readFile(b.fs, b.dir, b.id, &b.Shards[i], func(_ []byte, size int64) error {
			if progress != nil {
				progress(0, int(size))
			}
			return ctx.Err()
		})
		var damage *Damage
		switch {
		case errors.As(err, &damage):
			damages = append(damages, damage)
		case err != nil:
			return err
		case progress != nil:
			progress(int(b.Shards[i].Rows), 0)
		}
	}
	if len(damages) > 0 {
		return &DamagedError{damages}
	}
	return nil
}

// strangers are files that the manifest does not name.
func (b *Backup) strangers() ([]*Damage, error) {
	names, err := b.fs.List(b.dir)
	if err != nil {
		return nil, fmt.Errorf("list a backup: %w", err)
	}
	var found []*Damage
	for _, name := range names {
		known := name == ManifestName || slices.ContainsFunc(b.Shards, func(s Shard) bool { return s.File == name })
		if !known {
			found = append(found, &Damage{name, 0, "the manifest does not name this file"})
		}
	}
	return found, nil
}

// Rows reads the file of a shard again and calls visit with each block of records. It is checked as before.
func (b *Backup) Rows(s *Shard, visit func(block []byte) error) error {
	return readFile(b.fs, b.dir, b.id, s, func(block []byte, _ int64) error { return visit(block) })
}
