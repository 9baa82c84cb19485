package raft

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/vfs"
)

// snapshotStore is hashicorp/raft's SnapshotStore over a persistent state machine. There is no
// snapshot at rest: what the machine holds durably is the snapshot (R4).
//
//   - List names that state.
//   - A local snapshot is a flush: Create's sink receives nothing, and closing it means that
//     the machine has made everything durable that the library wants to cut from the log.
//   - Open of the durable state, which happens to send it to a follower, promises a fresh
//     checkpoint, which is made when it can be sent.
//   - A snapshot from the leader is staged: written to a directory and verified, before the
//     library hears of it. Then the library's sink receives nothing either; closing it takes
//     what was staged, and Open by the sink's id hands it to the machine.
type snapshotStore struct {
	machine StateMachine
	fs      vfs.FS
	staging string // directory of this replica, emptied at start
	log     *guardedLog

	// mu is a leaf.
	mu struct {
		sync.Mutex
		sequence uint64
		staged   map[position]*receivedSnapshot // complete, not yet taken by a sink
		received map[string]*receivedSnapshot   // taken, not yet opened, by sink id
		// installing says that the library puts a staged snapshot in place; ending counts the local ones that
		// are flushed and of which the library has not taken note yet.
		installing bool
		ending     int
	}
}

// position is an index and its term.
type position struct{ index, term uint64 }

// durableID is the id of the snapshot that List names.
const durableID = "durable"

func newSnapshotStore(machine StateMachine, fsys vfs.FS, staging string, log *guardedLog) *snapshotStore {
	s := &snapshotStore{machine: machine, fs: fsys, staging: staging, log: log}
	s.mu.staged = make(map[position]*receivedSnapshot)
	s.mu.received = make(map[string]*receivedSnapshot)
	return s
}

func (s *snapshotStore) nextName(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sequence++
	return fmt.Sprintf("%s-%d", prefix, s.mu.sequence)
}

func snapshotMeta(id string, state State, size int64) *hraft.SnapshotMeta {
	return &hraft.SnapshotMeta{
		Version: hraft.SnapshotVersionMax, ID: id, Index: uint64(state.Index), Term: uint64(state.Term),
		Configuration:      state.Configuration.toLibrary(),
		ConfigurationIndex: uint64(state.Configuration.Index), Size: size,
	}
}

// List implements hraft.SnapshotStore.
func (s *snapshotStore) List() ([]*hraft.SnapshotMeta, error) {
	state := s.machine.Durable()
	if state.Index == 0 {
		return nil, nil
	}
	return []*hraft.SnapshotMeta{snapshotMeta(durableID, state, 0)}, nil
}

// Open implements hraft.SnapshotStore.
func (s *snapshotStore) Open(id string) (*hraft.SnapshotMeta, io.ReadCloser, error) {
	if id == durableID {
		meta := snapshotMeta(durableID, s.machine.Durable(), 0)
		return meta, &sentSnapshot{store: s, meta: meta}, nil
	}
	s.mu.Lock()
	r := s.mu.received[id]
	delete(s.mu.received, id)
	s.mu.Unlock()
	if r == nil {
		s.installEnds()
		return nil, nil, fmt.Errorf("snapshot %s is not here", id)
	}
	return snapshotMeta(id, r.state, 0), r, nil
}

// sentSnapshot is a snapshot that is to be sent, or is being sent. It is made by prepare, when the transport can
// send it: what waits for its turn, or for a follower that is away, costs nothing and pins no log. The
// library asks for the description before and reads it again after the transfer, so prepare completes it.
//
// While it is open, and until the follower that put it in place has caught up, the log keeps what comes
// after it, so that the follower needs no second one; see catchup.go.
type sentSnapshot struct {
	store *snapshotStore
	meta  *hraft.SnapshotMeta

	// Set by prepare.
	*snapshotSource
	dir  string
	pin  *pin
	kept bool // somebody else releases the pin
}

var (
	errSnapshotUnmade   = errors.New("the snapshot is not made yet")
	errSnapshotOutgrown = errors.New("the log has grown by more than the snapshot is large, which is worth nothing now")
)

// prepare makes a fresh checkpoint and describes it.
func (s *sentSnapshot) prepare(request *hraft.InstallSnapshotRequest) error {
	store := s.store
	s.dir = store.staging + "/" + store.nextName("send")
	s.pin = store.log.pin(uint64(store.machine.Durable().Index))
	state, err := store.machine.Checkpoint(s.dir)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if s.snapshotSource, err = newSnapshotSource(store.fs, s.dir, state); err != nil {
		return err
	}
	s.pin.settle(uint64(state.Index), s.size)
	m := snapshotMeta(durableID, state, s.size)
	*s.meta = *m
	request.LastLogIndex, request.LastLogTerm, request.Size = m.Index, m.Term, m.Size
	request.Configuration, request.ConfigurationIndex = hraft.EncodeConfiguration(m.Configuration), m.ConfigurationIndex
	return nil
}

// Read implements io.Reader.
func (s *sentSnapshot) Read(p []byte) (int, error) {
	switch {
	case s.snapshotSource == nil:
		return 0, errSnapshotUnmade
	case s.pin.isLost():
		return 0, errSnapshotOutgrown
	}
	return s.snapshotSource.Read(p)
}

// Close implements io.Closer.
func (s *sentSnapshot) Close() error {
	if s.pin == nil {
		return nil
	}
	if !s.kept {
		s.pin.release()
	}
	var err error
	if s.snapshotSource != nil {
		err = s.closeFile()
	}
	return errors.Join(err, s.store.fs.RemoveAll(s.dir))
}

// stage writes a snapshot of the announced size, index and term to a directory of its own and
// keeps it for the sink that the library will create. discard removes it if none took it.
func (s *snapshotStore) stage(index, term uint64, size int64, data io.Reader) (discard func(), err error) {
	if err := s.checkRoom(size); err != nil {
		return nil, err
	}
	w, err := newSnapshotWriter(s.fs, s.staging+"/"+s.nextName("receive"))
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(w, data)
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		if got := w.header.state; n != size || uint64(got.Index) != index || uint64(got.Term) != term {
			err = fmt.Errorf("snapshot of %d bytes holds index %d of term %d, announced were %d, %d and %d", n, got.Index, got.Term, size, index, term)
		}
	}
	if err != nil {
		return nil, errors.Join(err, w.abandon())
	}
	r := &receivedSnapshot{fs: s.fs, dir: w.dir, state: w.header.state}
	at := position{index, term}
	s.mu.Lock()
	s.mu.staged[at] = r
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		if s.mu.staged[at] == r {
			delete(s.mu.staged, at)
		}
		s.mu.Unlock()
		if !r.taken.Load() {
			_ = r.Close() // what stays is removed at the next start
		}
	}, nil
}

const (
	// maxReservedBytes is what a snapshot leaves free on a large disk, and a reservedShare-th of a small one: the
	// log of the node and what its other groups write meanwhile. A log that cannot be written ends the
	// node, with groups that are well.
	maxReservedBytes = 1 << 30
	reservedShare    = 20
)

// checkRoom refuses a snapshot that would fill the disk.
func (s *snapshotStore) checkRoom(size int64) error {
	disk, ok := s.fs.(vfs.Space)
	if !ok {
		return nil
	}
	free, total, err := disk.Space(s.staging)
	if err != nil {
		return fmt.Errorf("ask for the room on the disk: %w", err)
	}
	if reserved := min(maxReservedBytes, total/reservedShare); size > free-reserved {
		return fmt.Errorf("no room for a snapshot of %d bytes: %d of %d are free, and %d stay so for the log; free or add space on this node", size, free, total, reserved)
	}
	return nil
}

var errSnapshotOvertaken = errors.New("the log has reached the snapshot's last entry meanwhile")

// Create implements hraft.SnapshotStore. The library calls it for a staged snapshot on its main loop, where nothing is
// added to the log until the snapshot is in place. So this is where its log is looked at last (R16).
func (s *snapshotStore) Create(_ hraft.SnapshotVersion, index, term uint64, _ hraft.Configuration, _ uint64, _ hraft.Transport) (hraft.SnapshotSink, error) {
	k := &snapshotSink{store: s, id: s.nextName("sink"), at: position{index, term}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.staged[k.at] == nil {
		return k, nil
	}
	if last, err := s.log.LastIndex(); err != nil || last >= index {
		return nil, errors.Join(err, errSnapshotOvertaken)
	}
	if s.mu.ending > 0 {
		return nil, errSnapshotMeets
	}
	s.mu.installing = true
	return k, nil
}

// The library remembers the snapshot that it took note of last, in whatever order it did. So a local one must not end
// once a later one is being put in place: the library would take itself for as far as the former, and claim
// entries that it does not have (R17).
var errSnapshotMeets = errors.New("a local snapshot ends at this moment; the leader tries again")

// restart forgets what an instance of the library that has ended was about to do.
func (s *snapshotStore) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.installing, s.mu.ending = false, 0
}

func (s *snapshotStore) installEnds() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.installing = false
}

// end lets a local snapshot end, unless one was put in place since it was taken, or is being put in place.
func (s *snapshotStore) end(installed func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.installing || installed() {
		return false
	}
	s.mu.ending++
	return true
}

func (s *snapshotStore) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ending = max(s.mu.ending-1, 0)
}

// snapshotSink implements hraft.SnapshotSink.
type snapshotSink struct {
	store *snapshotStore
	id    string
	at    position
	// flushed is set by the local snapshot.
	flushed bool
}

// ID implements hraft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.id }

var errNotWritable = errors.New("a snapshot is staged, not written to its sink")

// Write implements io.Writer.
func (k *snapshotSink) Write([]byte) (int, error) { return 0, errNotWritable }

// Close implements io.Closer. A staged snapshot becomes one that Open finds.
func (k *snapshotSink) Close() error {
	if k.flushed {
		return nil
	}
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	r := k.store.mu.staged[k.at]
	if r == nil {
		k.store.mu.installing = false
		return fmt.Errorf("no snapshot at index %d of term %d is staged", k.at.index, k.at.term)
	}
	r.installEnds = k.store.installEnds
	r.taken.Store(true)
	delete(k.store.mu.staged, k.at)
	k.store.mu.received[k.id] = r
	return nil
}

// Cancel implements hraft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	k.store.mu.Lock()
	defer k.store.mu.Unlock()
	if k.store.mu.staged[k.at] != nil {
		k.store.mu.installing = false
	}
	return nil
}

// receivedSnapshot is a complete snapshot in a staging directory. The library passes it to the
// state machine adapter as a reader; nobody reads it.
type receivedSnapshot struct {
	fs    vfs.FS
	dir   string
	state State
	taken atomic.Bool // by a sink: the library closes it
	// installEnds is set by the sink.
	installEnds func()
}

var errNotReadable = errors.New("a received snapshot is installed, not read")

// Read implements io.Reader.
func (r *receivedSnapshot) Read([]byte) (int, error) { return 0, errNotReadable }

// Close implements io.Closer: what the machine did not consume goes away.
func (r *receivedSnapshot) Close() error {
	if r.installEnds != nil {
		r.installEnds()
	}
	return r.fs.RemoveAll(r.dir)
}

// localSnapshot implements hraft.FSMSnapshot: persisting it is flushing the machine.
type localSnapshot struct {
	machine StateMachine
	applied api.Index // when it was taken
	fail    func(error)
	// overtaken reports whether a snapshot was put in place since it was taken.
	overtaken func() bool
	store     *snapshotStore // set once it ends
}

// Persist implements hraft.FSMSnapshot. When it returns nil the library cuts its log up to
// what was applied when the snapshot was taken.
func (l *localSnapshot) Persist(sink hraft.SnapshotSink) error {
	k, ok := sink.(*snapshotSink)
	if !ok {
		return fmt.Errorf("snapshot sink is a %T", sink)
	}
	if err := l.machine.Flush(); err != nil {
		err = fmt.Errorf("flush state machine: %w", err)
		l.fail(err)
		return err
	}
	if durable := l.machine.Durable().Index; durable < l.applied {
		return fmt.Errorf("state machine flushed up to %d, applied was %d", durable, l.applied)
	}
	if !k.store.end(l.overtaken) {
		return errSnapshotPassed
	}
	l.store, k.flushed = k.store, true
	return nil
}

var errSnapshotPassed = errors.New("the leader's snapshot has taken the place of what was flushed")

// Release implements hraft.FSMSnapshot. By then the library has taken note of the snapshot.
func (l *localSnapshot) Release() {
	if l.store != nil {
		l.store.ended()
	}
}
