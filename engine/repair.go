package engine

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/lightning-db/lightning/engine/internal/salvage"
	"github.com/lightning-db/lightning/internal/vfs"
)

// RepairReport is what Repair found and did.
type RepairReport = salvage.Report

// RepairDamage is one entry of a RepairReport.
type RepairDamage = salvage.Damage

// Repair makes a store that opens of a directory whose files are damaged or lost, keeps every row that its checksum allows to
// read, and reports what is lost and which keys may show an old or deleted value because of that. A store that is whole is
// not changed. Files that were there are moved to the directory lost inside the store, never changed or
// removed; it needs as much room as what is written anew, which without a manifest is everything. After a crash or an error call it
// again; until it is through, Open refuses the directory.
//
// The store must not be open. It is for an embedded store: a replica of a cluster that is repaired would differ from its peers,
// which have what it lost. Of the options it uses those about files.
func Repair(ctx context.Context, dir string, o Options) (*RepairReport, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	dir = path.Clean(dir)
	names, err := o.FS.List(dir)
	switch {
	case vfs.IsNotExist(err) || err == nil && !salvage.IsStore(names):
		return nil, fmt.Errorf("repair %s: %w", dir, ErrNoStore)
	case err != nil:
		return nil, fmt.Errorf("repair %s: %w", dir, err)
	case o.ReadOnly:
		return nil, fmt.Errorf("repair %s: %w", dir, ErrReadOnly)
	}
	lock, err := lockDirectory(o, dir)
	if err != nil {
		return nil, err
	}
	report, err := salvage.Run(ctx, salvage.Options{
		FS: o.FS, Dir: dir, Families: o.Families, BlockBytes: o.BlockBytes, TableBytes: o.TableBytes, LevelBytes: o.LevelBytes,
		Progress: func(file string) { o.Logger.Info("repair", "dir", dir, "file", file) },
	})
	if err = errors.Join(err, lock.Close()); err != nil {
		return nil, fmt.Errorf("repair %s: %w", dir, err)
	}
	return report, nil
}
