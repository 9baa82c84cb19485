package engine

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// model is a store as simple as it can be: all rows ever applied.
type model struct {
	rows    map[string][]record.Row // in the order O1
	keys    []string                // of rows, sorted
	ranges  []record.Row            // range tombstones: to every key that is new they are as rows of it
	applied applied

	base    *model       // what the batches came after; nil for an empty store
	batches []modelBatch // what Apply got since then
}

// modelBatch is a batch with the versions that the store gives it.
type modelBatch struct {
	rows    []record.Row // Version 0 as in Batch
	horizon Horizon
}

func newModel() *model { return &model{rows: map[string][]record.Row{}} }

// index is the number of batches ever applied, and the position of the last one.
func (m *model) index() int { return int(m.applied.position.Index) }

func (m *model) apply(b modelBatch) {
	m.batches = append(m.batches, b)
	assigned := m.applied.version + 1
	for _, r := range b.rows {
		if r.Version == 0 {
			r.Version = uint64(assigned)
		}
		m.applied.sequence++
		r.Sequence = m.applied.sequence
		m.applied.version = max(m.applied.version, Version(r.Version))
		if r.Kind == record.DeleteRange {
			m.deleteRange(r)
			continue
		}
		if m.rows[string(r.User)] == nil {
			at, _ := slices.BinarySearch(m.keys, string(r.User))
			m.keys = slices.Insert(m.keys, at, string(r.User))
			for _, g := range m.ranges {
				if bytes.Compare(g.User, r.User) <= 0 && bytes.Compare(r.User, g.Value) < 0 {
					m.insert(g.Version, g.Sequence, record.Row{Key: record.Key{User: r.User}})
				}
			}
		}
		m.insert(r.Version, r.Sequence, r)
	}
	m.applied.horizon = m.applied.horizon.max(b.horizon)
	m.applied.position = Position{Index: m.applied.position.Index + 1, Term: 1}
}

// insert puts a row among those of its key.
func (m *model) insert(version, sequence uint64, r record.Row) {
	r.Version, r.Sequence = version, sequence
	rows := m.rows[string(r.User)]
	at := sort.Search(len(rows), func(i int) bool { return record.Compare(rows[i].Key, r.Key) >= 0 })
	m.rows[string(r.User)] = slices.Insert(rows, at, r)
}

// deleteRange deletes every key of a range that ever had a row.
func (m *model) deleteRange(r record.Row) {
	m.ranges = append(m.ranges, r)
	from, _ := slices.BinarySearch(m.keys, string(r.User))
	to, _ := slices.BinarySearch(m.keys, string(r.Value))
	for _, key := range m.keys[from:to] {
		m.insert(r.Version, r.Sequence, record.Row{Key: record.Key{User: []byte(key)}})
	}
}

// after is a model that begins where m is. Neither sees later changes of the other.
func (m *model) after() *model {
	next := &model{rows: maps.Clone(m.rows), keys: slices.Clone(m.keys), applied: m.applied, base: m, ranges: slices.Clip(m.ranges)}
	m.ranges = next.ranges
	for key, rows := range next.rows {
		next.rows[key] = slices.Clip(rows) // an insert copies
		m.rows[key] = next.rows[key]
	}
	return next
}

// newest is a model that begins where m is, without the rows that a store forgets which retains no versions and has no snapshots.
func (m *model) newest() *model {
	base := m.after()
	base.base = nil
	for key, rows := range base.rows {
		base.rows[key] = rows[:1:1]
	}
	return base.after()
}

// prefix is the model after so many batches of all, of which at least those of its base.
func (m *model) prefix(index int) *model {
	base := m.base
	if base == nil {
		base = newModel()
	}
	p := base.after()
	p.base = m.base
	for _, b := range m.since(base.index())[:index-base.index()] {
		p.apply(b)
	}
	return p
}

// since gives the batches behind the first so many.
func (m *model) since(index int) []modelBatch {
	return m.batches[index-(m.index()-len(m.batches)):]
}

// fill makes the batch that the engine gets.
func (m modelBatch) fill(b *Batch, index int) { m.fillIn(nil, b, index) }

// fillIn is fill with rows of a family, or of none. A family's have no versions of the caller's.
func (m modelBatch) fillIn(f *Family, b *Batch, index int) {
	for _, r := range m.rows {
		switch {
		case f != nil && r.Kind == record.DeleteRange:
			b.In(f).DeleteRange(r.User, r.Value)
		case r.Kind == record.DeleteRange:
			b.DeleteRange(r.User, r.Value, Version(r.Version))
		case f != nil && r.Kind == record.Put:
			b.In(f).Put(r.User, r.Value, r.Expiry)
		case f != nil:
			b.In(f).Delete(r.User)
		case r.Kind == record.Put:
			b.Put(r.User, r.Value, Version(r.Version), r.Expiry)
		default:
			b.Delete(r.User, Version(r.Version))
		}
	}
	b.SetHorizon(m.horizon)
	b.SetPosition(Position{Index: uint64(index), Term: 1})
}

// get is the row that a read sees. A value that expired by the horizon counts as absent: the
// engine may have dropped it or not.
func (m *model) get(key []byte, at Version, sequence uint64) (Row, bool) {
	for _, r := range m.rows[string(key)] {
		if r.Version <= uint64(at) && r.Sequence <= sequence {
			ok := r.Kind == record.Put && !r.Expired(m.applied.horizon.ExpiryMillis)
			return Row{Key: r.User, Value: r.Value, Version: Version(r.Version), ExpiryMillis: r.Expiry}, ok
		}
	}
	return Row{}, false
}

// list is what an iterator sees.
func (m *model) list(at Version, sequence uint64, start, end []byte) (list []Row) {
	first, _ := slices.BinarySearch(m.keys, string(start))
	for _, key := range m.keys[first:] {
		if end != nil && key >= string(end) {
			break
		}
		if r, ok := m.get([]byte(key), at, sequence); ok {
			list = append(list, r)
		}
	}
	return list
}

func equalRow(a, b Row) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Version == b.Version && a.ExpiryMillis == b.ExpiryMillis
}

func (m *model) expired(r Row) bool {
	return r.ExpiryMillis != 0 && r.ExpiryMillis <= m.applied.horizon.ExpiryMillis
}

// checkGet compares a read with the model's answer.
func (m *model) checkGet(t testing.TB, what string, got Row, ok bool, err error, key []byte, at Version, sequence uint64) {
	t.Helper()
	want, wantOK := m.get(key, at, sequence)
	if ok && m.expired(got) {
		ok = false
	}
	if err != nil || ok != wantOK || ok && !equalRow(got, want) {
		t.Fatalf("%s: Get(%q, %d) at sequence %d: version %d, %v, %v; want version %d, %v",
			what, key, at, sequence, got.Version, ok, err, want.Version, wantOK)
	}
}

// checkAll compares everything that a fresh snapshot sees, both ways.
func (m *model) checkAll(t testing.TB, what string, db *DB, at Version) {
	t.Helper()
	s := db.Snapshot()
	defer s.Close()
	want := m.list(at, m.applied.sequence, nil, nil)
	it := movesOf(t, s, IteratorOptions{At: at})
	w := &walker{model: m, it: it}
	i := 0
	for ok := w.move(it.First, it.Next); ok; ok = w.move(it.Next, it.Next) {
		if i >= len(want) || !equalRow(it.Row(), want[i]) {
			t.Fatalf("%s: row %d of %d forward is %q@%d", what, i, len(want), it.Row().Key, it.Row().Version)
		}
		i++
	}
	if i != len(want) || it.Err() != nil {
		t.Fatalf("%s: %d rows forward, want %d, %v", what, i, len(want), it.Err())
	}
	for ok := w.move(it.Last, it.Prev); ok; ok = w.move(it.Prev, it.Prev) {
		i--
		if i < 0 || !equalRow(it.Row(), want[i]) {
			t.Fatalf("%s: row %d backward is %q@%d", what, i, it.Row().Key, it.Row().Version)
		}
	}
	if err := it.Close(); i != 0 || err != nil {
		t.Fatalf("%s: %d rows left backward, %v", what, i, err)
	}
}

// modelFamily is the one that the model's rows are in, in stores with families.
const modelFamily = "model"

// moves is what Iterator and FamilyIterator have in common.
type moves interface {
	First() bool
	Last() bool
	Next() bool
	Prev() bool
	SeekGE([]byte) bool
	SeekLT([]byte) bool
	Valid() bool
	Row() Row
	Err() error
	Close() error
}

// movesOf makes an iterator over the rows that are the model's.
func movesOf(t testing.TB, s *Snapshot, o IteratorOptions) moves {
	t.Helper()
	if !s.db.options.Families {
		return s.NewIterator(o)
	}
	f, err := s.db.Family(modelFamily)
	if err != nil {
		t.Fatal(err)
	}
	return s.In(f).NewIterator(o)
}

// walker moves an iterator past rows that expired by the horizon, as a caller does.
type walker struct {
	model *model
	it    moves
}

func (w *walker) move(first, on func() bool) bool {
	ok := first()
	for ok && w.model.expired(w.it.Row()) {
		ok = on()
	}
	return ok
}

// history makes random batches.
type history struct {
	random   *rand.Rand
	versions bool // explicit versions out of order, reads in the past
	keys     int
	millis   uint64
	small    bool // no value is large
}

func (h *history) key() []byte {
	i := h.random.IntN(h.keys)
	if h.random.IntN(8) == 0 {
		i %= 3 // of these there are many versions
	}
	return fmt.Appendf(nil, "k/%c/%04d", 'a'+i%3, i)
}

func (h *history) batch(m *model) modelBatch {
	var b modelBatch
	h.millis += uint64(h.random.IntN(20))
	for range 1 + h.random.IntN(12) {
		r := record.Row{Key: record.Key{User: h.key(), Version: h.version(m)}, Kind: record.Kind(min(h.random.IntN(4), 1))}
		if r.Kind == record.Put {
			r.Value = h.value()
			if h.random.IntN(4) == 0 {
				r.Expiry = h.millis + uint64(h.random.IntN(2000))
			}
		}
		b.rows = append(b.rows, r)
		if h.random.IntN(rangeEvery) == 0 {
			b.rows = append(b.rows, h.rangeTombstone(m))
		}
	}
	if h.random.IntN(10) == 0 {
		b.horizon = h.horizon(m)
	}
	return b
}

// rangeEvery is for how many rows there is a range tombstone.
const rangeEvery = 60

// rangeTombstone covers a few keys, often, or very many.
func (h *history) rangeTombstone(m *model) record.Row {
	r := record.Row{Key: record.Key{User: h.key(), Version: h.version(m)}, Kind: record.DeleteRange}
	switch h.random.IntN(5) {
	case 0:
		r.Value = h.key()
	case 1:
		r.User, r.Value = []byte("k"), []byte("l")
		if h.random.IntN(3) > 0 {
			r.User = []byte{}
			r.Value = h.key()
		}
	case 2:
		r.Value = append(bytes.Clone(r.User), 0)
	default:
		r.Value = append(bytes.Clone(r.User[:len(r.User)-1]), 0xff)
	}
	if c := bytes.Compare(r.User, r.Value); c > 0 {
		r.User, r.Value = r.Value, r.User
	} else if c == 0 {
		r.Value = append(bytes.Clone(r.User), 0xff)
	}
	return r
}

// horizon is somewhere between the last one and the present.
func (h *history) horizon(m *model) Horizon {
	last := m.applied.horizon
	return Horizon{
		Version:      last.Version + Version(h.random.Uint64N(uint64(m.applied.version-last.Version)+1)),
		ExpiryMillis: max(last.ExpiryMillis, h.millis-uint64(h.random.IntN(300))),
	}
}

func (h *history) version(m *model) uint64 {
	if !h.versions || h.random.IntN(3) == 0 {
		return 0
	}
	floor := max(uint64(m.applied.horizon.Version), 1)
	return floor + h.random.Uint64N(uint64(m.applied.version)+6-floor)
}

func (h *history) value() []byte {
	n := h.random.IntN(60)
	if !h.small {
		switch h.random.IntN(60) {
		case 0:
			n = h.random.IntN(5000)
		case 1:
			n = h.random.IntN(90_000)
		}
	}
	at := h.random.IntN(len(noise) - n)
	return noise[at : at+n : at+n]
}

// noise is what values are cut out of: making new bytes for each takes longer than everything else.
var noise = func() []byte {
	random := rand.New(rand.NewPCG(3, 3))
	b := make([]byte, 1<<18)
	for i := range b {
		b[i] = byte(random.Uint32() & 0x37)
	}
	return b
}()

// readVersion is one that reads may ask for.
func (h *history) readVersion(m *model) Version {
	if !h.versions || h.random.IntN(3) == 0 {
		return MaxVersion
	}
	floor := max(m.applied.horizon.Version, 1)
	return floor + Version(h.random.Uint64N(uint64(max(m.applied.version, floor)-floor)+2))
}
