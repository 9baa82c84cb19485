package directory

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Store is the directory of one replica: numbered engine directories, of which the file CURRENT
// names the one that counts.
//
//	LOCK            held while the store is open
//	CURRENT         "engine-000001 <CRC32C of the name, hex>\n", replaced atomically
//	engine-000001/  an engine
//
// CURRENT is written before anything is applied. Other engine directories are leftovers of an
// installation that a crash cut short, and are removed when the store opens (RD1).
type Store struct {
	fs      vfs.FS
	dir     string
	options engine.Options
	logger  *slog.Logger
	lock    io.Closer

	// engines counts the engines that are open; close waits for it.
	engines sync.WaitGroup

	// mu is a leaf.
	mu struct {
		sync.Mutex
		current *Handle // nil once closed
		// broken is set when nobody knows any more which engine CURRENT names on the disk.
		broken error
		// failure is the first error of closing an engine or removing one.
		failure error
	}
}

// Handle is an open engine that readers share. It is closed when nobody holds it any more.
type Handle struct {
	store *Store
	DB    *engine.DB
	// Members are the memberships of this engine.
	Members *Members
	number  uint64
	// refs is guarded by store.mu: one for being current and one for each holder.
	refs int
	// retired, guarded by store.mu, says that the directory goes with the engine.
	retired bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	lockName     = "LOCK"
	currentName  = "CURRENT"
	enginePrefix = "engine-"
)

// Loader looks at an engine that was just opened, and refuses it if it cannot be used.
type Loader func(*engine.DB, *Members) error

func engineName(number uint64) string { return fmt.Sprintf("%s%06d", enginePrefix, number) }

// Open opens a directory, which it makes if it is missing, and locks it.
func Open(fs vfs.FS, dir string, o engine.Options, logger *slog.Logger, load Loader) (*Store, error) {
	if err := fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make shard directory %s: %w", dir, err)
	}
	lock, err := fs.Lock(dir + "/" + lockName)
	if err != nil {
		return nil, fmt.Errorf("lock shard directory %s: %w", dir, err)
	}
	s := &Store{fs: fs, dir: dir, options: o, logger: logger, lock: lock}
	if err := s.openCurrent(load); err != nil {
		return nil, errors.Join(fmt.Errorf("open shard directory %s: %w", dir, err), lock.Close())
	}
	return s, nil
}

func (s *Store) openCurrent(load Loader) error {
	number, err := s.readCurrent()
	fresh := vfs.IsNotExist(err)
	if err != nil && !fresh {
		return err
	}
	numbers, err := s.list()
	if err != nil {
		return err
	}
	if fresh {
		return s.begin(numbers, load)
	}
	found := false
	for _, n := range numbers {
		if n == number {
			found = true
			continue
		}
		s.logger.Info("removing the rest of an installation that was cut short", "engine", engineName(n))
		if err := s.fs.RemoveAll(s.path(n)); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	if !found {
		return fmt.Errorf("%s names %s, which is missing", currentName, engineName(number))
	}
	return s.open(number, load, func(*engine.DB) error { return nil })
}

// open opens an engine, lets load and then confirm look at it, and makes it the current one.
func (s *Store) open(number uint64, load Loader, confirm func(*engine.DB) error) error {
	db, err := engine.Open(s.path(number), s.options)
	if err != nil {
		return err
	}
	members := &Members{}
	if err = load(db, members); err == nil {
		err = confirm(db)
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.adopt(&Handle{store: s, DB: db, Members: members, number: number, refs: 1})
	return nil
}

// begin makes the first engine of a directory without CURRENT. A crash may have left an engine
// to which nothing was applied; one that holds something means that CURRENT was lost, and then
// acknowledged writes would be.
func (s *Store) begin(numbers []uint64, load Loader) error {
	const first = 1
	for _, n := range numbers {
		if n != first {
			return fmt.Errorf("%s is missing beside %s", currentName, engineName(n))
		}
	}
	return s.open(first, load, func(db *engine.DB) error {
		if p := db.Applied(); p != (engine.Position{}) {
			return fmt.Errorf("%s is missing beside %s, which holds entries up to %d", currentName, engineName(first), p.Index)
		}
		if err := s.fs.SyncDir(s.dir); err != nil {
			return err
		}
		return writeCurrent(s.fs, s.dir, first)
	})
}

func (s *Store) path(number uint64) string { return s.dir + "/" + engineName(number) }

// list are the numbers of the engine directories.
func (s *Store) list() ([]uint64, error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, name := range names {
		if !strings.HasPrefix(name, enginePrefix) {
			continue
		}
		n, err := parseEngineName(name)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func parseEngineName(name string) (uint64, error) {
	var n uint64
	if _, err := fmt.Sscanf(name, enginePrefix+"%d", &n); err != nil || n == 0 || engineName(n) != name {
		return 0, fmt.Errorf("%q is not the name of an engine directory", name)
	}
	return n, nil
}

func (s *Store) readCurrent() (uint64, error) {
	b, err := vfs.ReadFile(s.fs, s.dir+"/"+currentName)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", currentName, err)
	}
	name, _, _ := strings.Cut(string(b), " ")
	if string(b) != currentLine(name) {
		return 0, fmt.Errorf("read %s: checksum mismatch: %w", currentName, engine.ErrCorrupt)
	}
	return parseEngineName(name)
}

func currentLine(name string) string {
	return fmt.Sprintf("%s %08x\n", name, crc32.Checksum([]byte(name), castagnoli))
}

func writeCurrent(fs vfs.FS, dir string, number uint64) error {
	if err := vfs.WriteFileAtomic(fs, dir, currentName, []byte(currentLine(engineName(number)))); err != nil {
		return fmt.Errorf("write %s: %w", currentName, err)
	}
	return nil
}

// adopt makes an engine the current one and retires the one before it.
func (s *Store) adopt(h *Handle) {
	s.engines.Add(1)
	s.mu.Lock()
	old := s.mu.current
	s.mu.current = h
	if old != nil {
		old.retired = true
	}
	s.mu.Unlock()
	if old != nil {
		old.Release()
	}
}

func (s *Store) unwell() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.broken
}

// Acquire returns the current engine; the caller must release it.
func (s *Store) Acquire() (*Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.broken != nil {
		return nil, s.mu.broken
	}
	if s.mu.current == nil {
		return nil, api.ErrShuttingDown
	}
	s.mu.current.refs++
	return s.mu.current, nil
}

// Release gives a handle back. The last one closes the engine and, if another has taken its
// place, removes its directory.
func (h *Handle) Release() {
	s := h.store
	s.mu.Lock()
	h.refs--
	last, retired := h.refs == 0, h.retired
	s.mu.Unlock()
	if !last {
		return
	}
	defer s.engines.Done()
	err := h.DB.Close()
	if retired {
		// What a crash leaves of it is removed at the next opening, and whether the old engine
		// closed well no longer matters.
		if err = s.fs.RemoveAll(s.path(h.number)); err != nil {
			err = fmt.Errorf("remove the replaced engine: %w", err)
		}
	}
	if err != nil {
		s.logger.Error("closing an engine failed", "engine", engineName(h.number), "error", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.failure == nil {
			s.mu.failure = err
		}
	}
}

// Install moves a checkpoint into the directory and makes it the current engine. Until CURRENT
// is replaced a crash leaves the old state, and afterwards the new one (RD1).
func (s *Store) Install(checkpoint string, load Loader) error {
	h, err := s.Acquire()
	if err != nil {
		return err
	}
	number := h.number + 1
	h.Release()
	if err := s.fs.RemoveAll(s.path(number)); err != nil {
		return fmt.Errorf("remove leftover: %w", err)
	}
	if err := s.fs.Rename(checkpoint, s.path(number)); err != nil {
		return fmt.Errorf("move checkpoint into place: %w", err)
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("sync shard directory: %w", err)
	}
	if err := s.open(number, load, func(*engine.DB) error { return s.switchTo(number) }); err != nil {
		if s.unwell() != nil {
			return err
		}
		// The next try would remove it, or the next opening; until then it may be what fills the disk.
		return errors.Join(err, s.fs.RemoveAll(s.path(number)))
	}
	return nil
}

// switchTo replaces CURRENT. What fails before the replacement, on a full disk for instance, leaves the old
// engine in use.
func (s *Store) switchTo(number uint64) error {
	tmp := s.dir + "/" + currentName + ".tmp"
	if err := s.writeSynced(tmp, currentLine(engineName(number))); err != nil {
		return fmt.Errorf("write the next %s: %w", currentName, err)
	}
	err := s.fs.Rename(tmp, s.dir+"/"+currentName)
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		err = fmt.Errorf("replace %s: %w", currentName, err)
		s.breakDown(err)
	}
	return err
}

func (s *Store) writeSynced(name, content string) error {
	f, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.Write([]byte(content)); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// breakDown refuses all further use: after a failed switch of CURRENT either engine may be the
// one that a restart finds. It says so itself, because a replica that waits for a snapshot applies
// nothing that would fail.
func (s *Store) breakDown(cause error) {
	err := api.Errorf(api.CodeStoreFailed, "shard directory %s: %w", s.dir, cause)
	s.mu.Lock()
	s.mu.broken = err
	s.mu.Unlock()
	s.options.OnFailure(err)
}

// Close refuses new holders, waits for the old ones, and unlocks the directory.
func (s *Store) Close() error {
	s.mu.Lock()
	h := s.mu.current
	s.mu.current = nil
	s.mu.Unlock()
	if h == nil {
		return nil
	}
	h.Release()
	s.engines.Wait()
	s.mu.Lock()
	failure := s.mu.failure
	s.mu.Unlock()
	return errors.Join(failure, s.lock.Close())
}
