package salvage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Options say which directory is repaired, and how new tables are cut. All are needed but Progress.
type Options struct {
	FS                                 vfs.FS
	Dir                                string
	BlockBytes, TableBytes, LevelBytes int
	// Families is whether the store has column families, where no manifest says so.
	Families bool
	// Progress is told the name of each file when it is read or made.
	Progress func(file string)
}

// errEnough ends a scan early.
var errEnough = errors.New("enough is read")

// IsStore reports whether a directory has files of a store.
func IsStore(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, isTable := tableNumber(name)
		_, isLog := wal.FileNumber(name)
		return isTable || isLog || name == manifest.Name || name == WorkName
	})
}

// repair is one on its way.
type repair struct {
	Options
	names    []string
	state    *manifest.State // nil if it is lost
	sources  []*source       // tables
	memories []*source       // what a log had that is lost, and named
	named    *source         // entries of families that have lost theirs; nil for none
	logLost  bool
	base     base
	report   *Report
}

func (r *repair) path(name string) string { return r.Dir + "/" + name }

func (r *repair) work(name string) string { return r.Dir + "/" + WorkName + "/" + name }

func (r *repair) progress(file string) {
	if r.Progress != nil {
		r.Progress(file)
	}
}

// Run repairs a directory, whose lock the caller holds. After an error nothing is lost, and Run may be called again.
func Run(ctx context.Context, o Options) (*Report, error) {
	if !seededbug.Enabled(seededbug.EngineRepairTrustsReads) {
		o.FS = patient{o.FS}
	}
	r := &repair{Options: o, report: &Report{}}
	defer r.close()
	if err := r.resume(); err != nil {
		return nil, fmt.Errorf("finish a repair that was cut short: %w", err)
	}
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return nil, err
	}
	r.names = names
	if err := r.examine(ctx); err != nil {
		return nil, err
	}
	if len(r.report.Damage) == 0 {
		return r.report, nil
	}
	if err := r.nameFamilies(ctx); err != nil {
		return nil, err
	}
	if err := r.prepare(ctx); err != nil {
		return nil, errors.Join(err, r.discard())
	}
	r.report.Changed = true
	return r.report, r.finish()
}

// resume finishes what was committed and removes what was not.
func (r *repair) resume() error {
	names, err := r.FS.List(r.path(WorkName))
	switch {
	case vfs.IsNotExist(err):
		return nil
	case err != nil:
		return err
	case slices.Contains(names, manifest.Name):
		r.report.Resumed, r.report.Changed = true, true
		return r.finish()
	}
	return r.discard()
}

// discard removes what was made so far. The manifest goes first: with it the rest would count.
func (r *repair) discard() error {
	if err := r.FS.Remove(r.work(manifest.Name)); err != nil && !vfs.IsNotExist(err) {
		return err
	}
	if err := r.FS.SyncDir(r.path(WorkName)); err != nil && !vfs.IsNotExist(err) {
		return err
	}
	if err := r.FS.RemoveAll(r.path(WorkName)); err != nil {
		return err
	}
	return r.FS.SyncDir(r.Dir)
}

func (r *repair) close() {
	for _, s := range r.sources {
		if s.table != nil {
			_ = s.table.Close() // it was only read
		}
	}
}

// prepare makes the new files and commits.
func (r *repair) prepare(ctx context.Context) error {
	if err := r.FS.MkdirAll(r.path(WorkName)); err != nil {
		return err
	}
	groups := r.plan()
	if err := r.begin(groups); err != nil {
		return err
	}
	if err := r.rewrite(ctx, groups); err != nil {
		return err
	}
	l, err := r.newList()
	if err != nil {
		return err
	}
	if err := l.end(r.expose(ctx, l)); err != nil {
		return err
	}
	if r.state == nil {
		// Which versions were dropped is not known. All rows are in one run, newest first, and none will be older.
		r.base.Floor, r.base.Unordered = r.base.LastVersion, false
	}
	if !seededbug.Enabled(seededbug.EngineRepairSkipSync) {
		if err := r.FS.SyncDir(r.path(WorkName)); err != nil {
			return err
		}
	}
	return manifest.Store(r.FS, r.path(WorkName), &r.base.State)
}

// begin makes the state that the new tables are added to: with the tables that stay as they are.
func (r *repair) begin(groups []group) error {
	next, err := r.nextFile()
	if err != nil {
		return err
	}
	r.base.NextFile = max(next, r.base.NextFile)
	rewritten := map[*source]bool{}
	for _, g := range groups {
		for _, s := range g.sources {
			rewritten[s] = true
		}
	}
	for i, s := range r.sources {
		if !rewritten[s] {
			r.base.Tables = append(r.base.Tables, r.state.Tables[i])
		}
	}
	if r.logLost {
		r.base.LogUsed = false
	}
	r.base.LastSequence = max(r.base.LastSequence, r.tablesSequence())
	return nil
}

// nextFile is above every number that a table of this store ever had, as far as there are names.
func (r *repair) nextFile() (next uint64, err error) {
	lost, err := r.FS.List(r.path(LostName))
	if err != nil && !vfs.IsNotExist(err) {
		return 0, err
	}
	for _, name := range slices.Concat(r.names, lost) {
		name, _, _ = strings.Cut(name, "~")
		if n, ok := tableNumber(name); ok {
			next = max(next, n)
		}
	}
	return next + 1, nil
}

// finish puts the files of a repair that is committed into their places. Every step may have been done before.
func (r *repair) finish() error {
	state, err := manifest.Load(r.FS, r.path(WorkName))
	if err != nil {
		return err
	}
	names, err := r.FS.List(r.path(WorkName))
	if err != nil {
		return err
	}
	if err := r.complete(state, names); err != nil {
		return err
	}
	if err := r.moveAway(state); err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := tableNumber(name); ok {
			if err := r.FS.Rename(r.work(name), r.path(name)); err != nil {
				return err
			}
		}
	}
	if slices.Contains(names, reportName) {
		if r.report.ReportFile, err = r.rename(WorkName+"/"+reportName, reportName); err != nil {
			return err
		}
	}
	if err := errors.Join(r.FS.SyncDir(r.path(LostName)), r.FS.SyncDir(r.Dir)); err != nil {
		return err
	}
	if err := r.FS.Rename(r.work(manifest.Name), r.path(manifest.Name)); err != nil {
		return err
	}
	if err := errors.Join(r.FS.SyncDir(r.Dir), r.FS.SyncDir(r.path(WorkName))); err != nil {
		return err
	}
	if err := r.FS.RemoveAll(r.path(WorkName)); err != nil {
		return err
	}
	return r.FS.SyncDir(r.Dir)
}

// complete makes sure that every table is there before anything else goes.
func (r *repair) complete(state *manifest.State, work []string) error {
	names, err := r.FS.List(r.Dir)
	if err != nil {
		return err
	}
	for _, t := range state.Tables {
		if name := tableName(t.Number); !slices.Contains(work, name) && !slices.Contains(names, name) {
			return corrupt.Shape(name, 0, "file", "one, as the manifest of the repair names it", "none")
		}
	}
	return nil
}

// moveAway moves everything that the new manifest does not name, the old one included, to LostName (SV1).
func (r *repair) moveAway(state *manifest.State) error {
	if err := r.FS.MkdirAll(r.path(LostName)); err != nil {
		return err
	}
	names, err := r.FS.List(r.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, isTable := tableNumber(name)
		_, isLog := wal.FileNumber(name)
		named := isTable && slices.ContainsFunc(state.Tables, func(t manifest.Table) bool { return t.Number == number })
		if name != manifest.Name && (!isTable || named) && (!isLog || state.LogUsed) {
			continue
		}
		to, err := r.rename(name, name)
		if err != nil {
			return err
		}
		r.report.Moved = append(r.report.Moved, to)
	}
	return nil
}

// rename moves a file to LostName, under a name that is free there.
func (r *repair) rename(from, to string) (string, error) {
	names, err := r.FS.List(r.path(LostName))
	if err != nil {
		return "", err
	}
	free := to
	for n := 2; slices.Contains(names, free); n++ {
		free = fmt.Sprintf("%s~%d", to, n)
	}
	free = LostName + "/" + free
	return free, r.FS.Rename(r.path(from), r.path(free))
}
