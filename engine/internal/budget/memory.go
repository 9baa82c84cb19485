package budget

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// fillShare is how much of the limit memtables may fill before one is sealed: the other half is for those that are written.
const fillShare = 2

// Memory is what the memtables of all members may hold. The zero value has no limit. Safe for concurrent use.
type Memory struct {
	limit   atomic.Int64 // 0 for none
	filling atomic.Int64 // of all members
	sealed  atomic.Int64
	waits   atomic.Uint64
	seals   atomic.Uint64
	watched atomic.Bool // that somebody watches: mu.changed is there

	mu struct {
		sync.Mutex
		members []*Member
		changed chan struct{} // closed when bytes are given back, while somebody waits
	}
}

// Member is a store's part in a Memory.
type Member struct {
	memory *Memory
	seal   func() bool

	filling atomic.Int64 // what the memtable holds, with what was reserved
	sealed  atomic.Int64 // less what the flush has written
	left    atomic.Bool
}

// Join adds a store. seal seals its memtable if it can do so without waiting for a lock or for a flush, and tells whether it did;
// Reserve calls it on the goroutine of any store's writer.
func (m *Memory) Join(seal func() bool) *Member {
	b := &Member{memory: m, seal: seal}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.members = append(m.mu.members, b)
	return b
}

// Leave gives back all that a store has. What it does afterwards is not counted.
func (b *Member) Leave() {
	m := b.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.left.Swap(true) {
		return
	}
	m.mu.members = slices.DeleteFunc(m.mu.members, func(other *Member) bool { return other == b })
	m.filling.Add(-b.filling.Swap(0))
	m.sealed.Add(-b.sealed.Swap(0))
	m.wakeLocked()
}

// SetLimit changes the limit; zero is none. One that is below what is held makes writers wait from now on.
func (m *Memory) SetLimit(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit.Store(max(bytes, 0))
	m.wakeLocked()
}

// Limit is the limit, zero for none.
func (m *Memory) Limit() int64 { return m.limit.Load() }

// Held is what memtables hold that fill, and those that are being written.
func (m *Memory) Held() (filling, sealed int64) { return m.filling.Load(), m.sealed.Load() }

// Counts tells how often a writer waited, and how often a memtable was sealed for the sake of the others.
func (m *Memory) Counts() (waits, seals uint64) { return m.waits.Load(), m.seals.Load() }

// Reserve takes bytes for a batch. It is called by the one writer of the store, which holds the lock that seal wants; its own
// memtable is sealed by sealOwn, which tells whether there was anything to seal and room for it. It waits while all is taken.
func (b *Member) Reserve(bytes int64, sealOwn func() (bool, error)) error {
	m := b.memory
	for waited := false; ; waited = true {
		limit := m.limit.Load()
		if b.left.Load() || limit == 0 {
			b.add(bytes)
			return nil
		}
		if m.filling.Load()+bytes > limit/fillShare {
			if err := m.sealLargest(b, sealOwn); err != nil {
				return err
			}
		}
		changed := m.watch()
		if m.take(b, bytes, limit) {
			return nil
		}
		if m.sealed.Load() > 0 { // BG2
			if !waited {
				m.waits.Add(1)
			}
			<-changed
			continue
		}
		if sealed, err := sealOwn(); err != nil {
			return err
		} else if !sealed && m.sealed.Load() == 0 {
			b.add(bytes)
			return nil
		}
	}
}

// take reserves bytes if they are within the limit (BG1). Bytes on their way from filling to sealed are in both for a moment, never in none.
func (m *Memory) take(b *Member, bytes, limit int64) bool {
	b.add(bytes)
	if m.filling.Load()+m.sealed.Load() <= limit {
		return true
	}
	b.add(-bytes)
	return false
}

func (b *Member) add(bytes int64) {
	if b.left.Load() {
		return
	}
	b.filling.Add(bytes)
	b.memory.filling.Add(bytes)
	b.leaveNothing()
}

// Give gives back what was reserved for a batch that is not added.
func (b *Member) Give(bytes int64) {
	b.add(-bytes)
	b.memory.wake()
}

// leaveNothing gives back what was counted beside Leave, which may have come too late for it to see.
func (b *Member) leaveNothing() {
	if !b.left.Load() {
		return
	}
	b.memory.filling.Add(-b.filling.Swap(0))
	b.memory.sealed.Add(-b.sealed.Swap(0))
	b.memory.wake()
}

// sealLargest has the memtable sealed that holds most, or the next one if that is busy.
func (m *Memory) sealLargest(own *Member, sealOwn func() (bool, error)) error {
	m.mu.Lock()
	members := slices.Clone(m.mu.members)
	m.mu.Unlock()
	sizes := make(map[*Member]int64, len(members))
	for _, b := range members {
		sizes[b] = b.filling.Load()
	}
	slices.SortFunc(members, func(a, b *Member) int { return cmp.Compare(sizes[b], sizes[a]) })
	for _, b := range members {
		sealed, err := false, error(nil)
		switch {
		case sizes[b] == 0:
		case b == own:
			sealed, err = sealOwn()
		default:
			sealed = b.seal()
		}
		if sealed {
			m.seals.Add(1)
		}
		if sealed || err != nil {
			return err
		}
	}
	return nil
}

// Fills tells what the memtable holds, in place of what was reserved for it.
func (b *Member) Fills(bytes int64) {
	if !b.left.Load() {
		b.memory.filling.Add(bytes - b.filling.Swap(bytes))
		b.leaveNothing()
	}
}

// Sealed tells what the sealed memtables hold that is not written yet.
func (b *Member) Sealed(bytes int64) {
	if b.left.Load() {
		return
	}
	if before := b.sealed.Swap(bytes); before != bytes {
		b.memory.sealed.Add(bytes - before)
		b.memory.wake()
		b.leaveNothing()
	}
}

// watch gives a channel that is closed when bytes are given back after the call.
func (m *Memory) watch() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.changed == nil {
		m.mu.changed = make(chan struct{})
		m.watched.Store(true)
	}
	return m.mu.changed
}

func (m *Memory) wake() {
	if !m.watched.Load() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakeLocked()
}

func (m *Memory) wakeLocked() {
	if m.mu.changed != nil {
		close(m.mu.changed)
		m.mu.changed = nil
		m.watched.Store(false)
	}
}
