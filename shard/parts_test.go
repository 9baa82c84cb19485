package shard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard/parts"
)

// largeValue is a value of so many bytes that differs from others.
func largeValue(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(rng.Uint32())
	}
	return value
}

func requestID(sequence uint64) api.RequestID {
	return api.RequestID{Session: api.SessionID{CreatedMillis: startMillis, Random: 7}, Sequence: sequence, Floor: 1}
}

// stagedPut is a put in parts: the commands that bring them, and the batch.
func stagedPut(now uint64, id api.RequestID, key string, value []byte, expiry api.Expiry) (stages []Command, final Command) {
	p := api.PartsOf(value, 0)
	for n := range p.Count {
		stages = append(stages, Command{Request: id, Epoch: 1, DeadlineMillis: now + 60_000, Stage: &Stage{
			Key: []byte(key), Number: n, Part: api.Part(value, n),
		}})
	}
	final = batch(api.Op{Kind: api.OpPut, Key: []byte(key), Parts: p, Expiry: expiry})
	final.Request = id
	return stages, final
}

// putLarge puts a value in parts.
func (b *bench) putLarge(sequence uint64, key string, value []byte, expiry api.Expiry) {
	b.t.Helper()
	stages, final := stagedPut(b.now, requestID(sequence), key, value, expiry)
	for _, c := range append(stages, final) {
		if a := b.do(c); a.Err != nil || !a.Result.Applied {
			b.t.Fatalf("%s: %+v", key, a)
		}
	}
}

// partCount counts the parts that a read at the newest version finds.
func (b *bench) partCount() (count int) {
	b.t.Helper()
	b.walk([]byte{rows.PartPrefix}, []byte{rows.PartPrefix + 1}, func(engine.Row) { count++ })
	return count
}

func (b *bench) wantParts(want int) {
	b.t.Helper()
	if got := b.partCount(); got != want {
		b.t.Fatalf("%d parts, want %d; %+v", got, want, b.m.state().parts)
	}
}

// tickAt moves shard time and cleans up.
func (b *bench) tickAt(millis uint64) {
	b.t.Helper()
	b.now = millis
	b.tick()
}

func TestALargeValueComesInPartsOfAnyOrderAndIsReadWhole(t *testing.T) {
	b := configuredBench(t)
	value := largeValue(1, 2*api.MaxPartBytes+100)
	stages, final := stagedPut(b.now, requestID(1), "k", value, api.Expiry{})
	for _, n := range []int{2, 0, 0, 2, 1, 0} { // some again
		if a := b.do(stages[n]); a.Err != nil {
			t.Fatal(a.Err)
		}
		b.wantAbsent("k")
	}
	b.wantParts(3)
	other := stages[1]
	other.Stage = &Stage{Key: []byte("k"), Number: 1, Part: []byte("others")}
	if a := b.do(other); !errors.Is(a.Err, api.ErrInvalid) {
		t.Errorf("a part with other bytes: %+v", a)
	}
	first := b.do(final)
	b.want("k", string(value))
	if again := b.do(final); again.Err != nil || again.Result.Version != first.Result.Version {
		t.Errorf("again: %+v, first %+v", again, first)
	}
	// What comes late changes nothing.
	if a := b.do(stages[1]); a.Err != nil {
		t.Error(a.Err)
	}
	b.wantParts(3)
	if c := b.m.state().parts; c != (parts.Counts{Values: 1}) {
		t.Errorf("%+v", c)
	}
	// In one entry, and so in one run, the batch finds what stands before it.
	stages, final = stagedPut(b.now, requestID(2), "j", value, api.Expiry{})
	var encoded [][]byte
	for _, c := range append(stages, final, batch(api.Op{Kind: api.OpAppend, Key: []byte("j"), Value: []byte("!")})) {
		encoded = append(encoded, EncodeCommand(c))
	}
	for _, a := range b.apply(b.entry(encoded...))[0] {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b.want("j", string(value)+"!")
}

func TestAPartGoesThroughTheLog(t *testing.T) {
	stages, final := stagedPut(startMillis, requestID(1), "k", largeValue(1, api.MinStagedBytes), api.Expiry{})
	for _, c := range append(stages, final) {
		if c.ReadsOnly() {
			t.Errorf("%+v would be answered as a read", c.Stage)
		}
	}
}

func TestABatchWhosePartsAreNotAllThereIsNotExecuted(t *testing.T) { // LV1
	for missing := range 3 {
		b := configuredBench(t)
		b.must(put("k", "old"))
		value := largeValue(2, 2*api.MaxPartBytes+100)
		stages, final := stagedPut(b.now, requestID(1), "k", value, api.Expiry{})
		for n, c := range stages {
			if n != missing {
				b.do(c)
			}
		}
		refused := func() {
			t.Helper()
			a := b.do(final)
			if a.Err == nil || api.Row(a.Err.Code).Outcome != api.NotExecuted {
				t.Fatalf("without part %d: %+v", missing, a)
			}
			b.want("k", "old")
		}
		refused()
		other := *stages[missing].Stage
		other.Part = append([]byte{^other.Part[0]}, other.Part[1:]...)
		changed := stages[missing]
		changed.Stage = &other
		b.do(changed)
		refused() // all are there, but not the bytes that are meant
		b.do(Command{Request: requestID(1), Epoch: 1, Stage: &Stage{Key: []byte("k"), Drop: true}})
		b.wantParts(0)
		for _, c := range stages {
			b.do(c)
		}
		if a := b.do(final); a.Err != nil {
			t.Fatal(a.Err)
		}
		b.want("k", string(value))
	}
}

func TestPartsOfABatchThatDoesNotComeLeaveTheDisk(t *testing.T) { // LV4
	b := configuredBench(t)
	value := largeValue(3, 6*api.MaxPartBytes)
	late, _ := stagedPut(b.now, requestID(8), "late", value, api.Expiry{})
	released, _ := stagedPut(b.now, requestID(2), "released", value, api.Expiry{})
	refused, batch := stagedPut(b.now, requestID(3), "refused", value, api.Expiry{})
	for _, c := range append(append(late, released...), refused...) {
		if a := b.do(c); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b.flush()
	full := b.m.diskBytes()
	if b.wantParts(18); full < 18*api.MaxPartBytes {
		t.Fatalf("%d bytes on disk", full)
	}
	batch.Batch.Ops[0].Condition.Kind = api.ConditionPresent
	if a := b.do(batch); a.Err != nil || a.Result.Applied {
		t.Fatalf("%+v", a)
	}
	b.wantParts(12)
	next := Command{Request: requestID(9), Epoch: 1, Batch: api.Batch{Ops: []api.Op{put("x", "y")}}}
	next.Request.Floor = 3
	b.do(next)
	b.tickAt(b.now + 2000)
	b.wantParts(6)
	b.tickAt(late[0].DeadlineMillis)
	b.wantParts(6)
	b.tickAt(late[0].DeadlineMillis + sweepEveryMillis + 1)
	b.wantParts(0)
	if c := b.m.state().parts; c != (parts.Counts{}) {
		t.Errorf("%+v", c)
	}
	b.tickAt(b.now + defaultRetentionMillis + 1)
	b.flush()
	b.compact()
	if left := b.m.diskBytes(); left > full/10 {
		t.Errorf("%d of %d bytes are left on the disk", left, full)
	}
}

// A retry finds parts of the try before it, which had less time.
func TestPartsThatComeAgainAreKeptForTheLaterDeadline(t *testing.T) { // LV4
	b := configuredBench(t)
	value := largeValue(3, 3*api.MaxPartBytes)
	first, _ := stagedPut(b.now, requestID(2), "k", value, api.Expiry{})
	again, final := stagedPut(b.now+30_000, requestID(2), "k", value, api.Expiry{})
	for _, c := range append(append(first, again...), first[0]) {
		if a := b.do(c); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	b.tickAt(first[0].DeadlineMillis + sweepEveryMillis + 1)
	b.wantParts(3)
	if a := b.do(final); a.Err != nil || !a.Result.Applied {
		t.Fatalf("%+v", a)
	}
	b.want("k", string(value))
}

func TestWhatNoKeyHasAnyMoreLeavesTheDisk(t *testing.T) { // LV3
	value := largeValue(4, 2*api.MaxPartBytes)
	until := api.Expiry{Mode: api.ExpiryAt, Millis: startMillis + 5000}
	for name, test := range map[string]struct {
		expiry api.Expiry
		ops    []api.Op
		after  uint64 // milliseconds
		left   int    // parts
	}{
		"nothing":                {left: 2},
		"overwritten":            {ops: []api.Op{put("k", "v")}},
		"overwritten, blind":     {ops: []api.Op{{Kind: api.OpPut, Key: []byte("k"), Value: []byte("v"), Blind: true}}},
		"deleted":                {ops: []api.Op{remove("k")}},
		"expired":                {expiry: until, after: 6000},
		"not expired":            {expiry: until, after: 4000, left: 2},
		"overwritten later":      {expiry: until, ops: []api.Op{put("k", "v")}, after: 6000},
		"made persistent":        {expiry: until, ops: []api.Op{{Kind: api.OpExpire, Key: []byte("k")}}, after: 6000, left: 2},
		"made to expire":         {ops: []api.Op{{Kind: api.OpExpire, Key: []byte("k"), Expiry: until}}, after: 6000},
		"expired at once":        {ops: []api.Op{{Kind: api.OpExpire, Key: []byte("k"), Expiry: api.Expiry{Mode: api.ExpiryAt, Millis: 1}}}},
		"renamed":                {ops: []api.Op{{Kind: api.OpRename, Key: []byte("j"), Source: []byte("k")}}, left: 2},
		"renamed, with expiry":   {expiry: until, ops: []api.Op{{Kind: api.OpRename, Key: []byte("j"), Source: []byte("k")}}, after: 6000},
		"renamed and deleted":    {ops: []api.Op{{Kind: api.OpRename, Key: []byte("j"), Source: []byte("k")}, remove("j")}},
		"shortened":              {ops: []api.Op{put("k", ""), {Kind: api.OpAppend, Key: []byte("k"), Value: []byte("x")}}},
		"appended to":            {ops: []api.Op{{Kind: api.OpAppend, Key: []byte("k"), Value: value}}, left: 0}, // 1 MiB lies in its row
		"appended to, and large": {ops: []api.Op{{Kind: api.OpAppend, Key: []byte("k"), Value: append(value, value...)}}, left: 6},
	} {
		t.Run(name, func(t *testing.T) {
			b := configuredBench(t)
			b.putLarge(1, "k", value, test.expiry)
			b.wantParts(2)
			if len(test.ops) > 0 {
				b.must(test.ops...)
			}
			b.tickAt(b.now + test.after)
			b.wantParts(test.left)
		})
	}
}

func TestALargeValueIsReadAsItWasAtAnEarlierVersion(t *testing.T) { // LV3
	b := newBench(t)
	b.apply(b.entry(encodeConfigure(fullArc(defaultRetentionMillis))))
	value := largeValue(5, 3*api.MaxPartBytes)
	b.putLarge(1, "k", value, api.Expiry{})
	at := b.m.state().last
	b.must(remove("k"))
	b.now += defaultRetentionMillis - 100
	b.must(put("other", "v"))
	b.flush()
	b.compact()
	r := reader{id: 7, machine: b.m}
	_, err := r.viewAt(1, at, 0, func(v *view) error {
		v.exactly(at)
		row, err := v.row(rows.Key(0, []byte("k")))
		if err != nil || row.Parts == nil {
			return fmt.Errorf("the row is %+v, %w", row, err)
		}
		got, err := v.load(row.Parts)
		if err == nil && !bytes.Equal(got, value) {
			err = errors.New("other bytes")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// readStored reads a value that a read has named, some parts at a time.
func readStored(ctx context.Context, r *reader, v *api.Stored) ([]byte, error) {
	var value []byte
	for from := uint32(0); from < v.Count; {
		count := min(MaxReadParts, v.Count-from)
		some, err := r.ReadParts(ctx, v, from, count)
		if err != nil {
			return nil, err
		}
		value = append(value, some...)
		from += count
	}
	if got := api.PartsOf(value, 0).Checksum; got != v.Checksum {
		return nil, fmt.Errorf("checksum %08x, expected %08x", got, v.Checksum)
	}
	return value, nil
}

func TestReadsOfAReplicaFindLargeValuesWhole(t *testing.T) {
	b := configuredBench(t)
	value := largeValue(6, api.MaxInlineBytes+1)
	b.putLarge(1, "k", value, api.Expiry{})
	r := reader{
		id: 7, machine: b.m, clock: &hybridClock{wall: clock.NewManual(time.UnixMilli(int64(startMillis)))},
		confirm: func(context.Context) error { return nil }, tick: func(context.Context) error { return nil },
		applied: func(context.Context, api.Index) error { return nil },
	}
	items, err := r.Get(t.Context(), 1, 0, [][]byte{[]byte("k")})
	if err != nil || items[0].Value != nil || items[0].Stored == nil || items[0].Stored.Bytes != uint64(len(value)) {
		t.Fatalf("get: %+v, %v", items, err)
	}
	if got, err := readStored(t.Context(), &r, items[0].Stored); err != nil || !bytes.Equal(got, value) {
		t.Errorf("get: %d bytes, %v", len(got), err)
	}
	page, err := r.Scan(t.Context(), 1, api.Range{})
	if err != nil || len(page.Items) != 1 || page.Items[0].Stored == nil {
		t.Fatalf("scan: %+v, %v", page.Items, err)
	}
	if got, err := readStored(t.Context(), &r, page.Items[0].Stored); err != nil || !bytes.Equal(got, value) {
		t.Errorf("scan: %d bytes, %v", len(got), err)
	}
	if page, err = r.Scan(t.Context(), 1, api.Range{KeysOnly: true}); err != nil || len(page.Items) != 1 || page.Items[0].Stored != nil {
		t.Errorf("scan of keys: %+v, %v", page.Items, err)
	}
	if _, err := r.viewAt(1, b.m.state().last, 0, func(v *view) error {
		c := batch(previous(api.Op{Kind: api.OpGet, Key: []byte("k")}))
		res, refusal, err := v.evaluate(&c)
		if err == nil && (refusal != nil || !bytes.Equal(res.Ops[0].Previous, value)) {
			err = fmt.Errorf("%v", refusal)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsStagedIsBounded(t *testing.T) {
	b := configuredBench(t)
	stage := func(sequence uint64, change func(*Command)) Answer {
		c := Command{Request: requestID(sequence), Epoch: 1, DeadlineMillis: b.now + 1000, Stage: &Stage{Key: []byte("k"), Part: []byte("part")}}
		if change != nil {
			change(&c)
		}
		return b.do(c)
	}
	for name, test := range map[string]struct {
		change func(*Command)
		want   *api.Error
	}{
		"no request":       {func(c *Command) { c.DeadlineMillis = 0 }, api.ErrInvalid},
		"far deadline":     {func(c *Command) { c.DeadlineMillis += 1 << 20 }, api.ErrInvalid},
		"past deadline":    {func(c *Command) { c.DeadlineMillis = b.now - 1 }, api.ErrExpired},
		"other epoch":      {func(c *Command) { c.Epoch = 2 }, api.ErrStaleMap},
		"long part":        {func(c *Command) { c.Stage.Part = make([]byte, api.MaxPartBytes+1) }, api.ErrInvalid},
		"empty part":       {func(c *Command) { c.Stage.Part = nil }, api.ErrInvalid},
		"far part":         {func(c *Command) { c.Stage.Number = api.MaxBatchParts }, api.ErrTooLarge},
		"released request": {func(c *Command) { c.Request.Session.CreatedMillis -= 2 * sessionHorizonMillis }, api.ErrReleased},
	} {
		if a := stage(1, test.change); !errors.Is(a.Err, test.want) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	b.wantParts(0)
	for i := range uint64(256) {
		if a := stage(1+i, nil); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	if a := stage(300, nil); !errors.Is(a.Err, api.ErrOverloaded) {
		t.Errorf("one more: %+v", a)
	}
}

// mapped is a machine beside a map that is to be the same.
type mapped struct {
	*bench
	rng    *rand.Rand
	log    []raft.Entry
	values map[string]string
	expiry map[string]uint64
}

func (m *mapped) do(c Command) Answer {
	e := m.entry(EncodeCommand(c))
	m.log = append(m.log, e)
	return m.apply(e)[0][0]
}

func (m *mapped) set(key, value string, expiry uint64) {
	m.values[key], m.expiry[key] = value, expiry
}

func (m *mapped) remove(key string) {
	delete(m.values, key)
	delete(m.expiry, key)
}

// pass moves the time on and forgets what expires.
func (m *mapped) pass(millis uint64) {
	m.now += millis
	for key, at := range m.expiry {
		if at != 0 && at <= m.now {
			m.remove(key)
		}
	}
}

// putInParts puts a value in parts, perhaps one that expires, perhaps one that is given up.
func (m *mapped) putInParts(sequence uint64, key string) {
	value := largeValue(m.rng.Uint64(), api.MinStagedBytes+m.rng.IntN(2*api.MaxPartBytes))
	wish := api.Expiry{}
	if m.rng.IntN(2) == 0 {
		wish = api.Expiry{Mode: api.ExpiryAt, Millis: m.now + 1 + m.rng.Uint64N(4000)}
	}
	stages, final := stagedPut(m.now, requestID(sequence), key, value, wish)
	for _, i := range m.rng.Perm(len(stages)) {
		m.do(stages[i])
	}
	if m.rng.IntN(6) > 0 {
		if a := m.do(final); a.Err != nil {
			m.t.Fatal(a.Err)
		}
		m.set(key, string(value), wish.Millis)
	}
}

func (m *mapped) step(sequence uint64) {
	name := func() string { return fmt.Sprintf("key-%d", m.rng.IntN(5)) }
	key, other := name(), name()
	value, is := m.values[key]
	switch m.rng.IntN(9) {
	case 0, 1, 2:
		m.putInParts(sequence, key)
	case 3:
		m.do(batch(put(key, "small")))
		m.set(key, "small", 0)
	case 4:
		m.do(batch(remove(key)))
		m.remove(key)
	case 5:
		m.do(batch(api.Op{Kind: api.OpAppend, Key: []byte(key), Value: []byte("tail")}))
		m.set(key, value+"tail", m.expiry[key])
	case 6, 7:
		kind := api.OpCopy + api.OpKind(m.rng.IntN(2))
		if a := m.do(batch(api.Op{Kind: kind, Key: []byte(other), Source: []byte(key)})); is != (a.Err == nil) {
			m.t.Fatalf("%s: %t, %+v", key, is, a)
		}
		if is && key != other {
			if m.set(other, value, m.expiry[key]); kind == api.OpRename {
				m.remove(key)
			}
		}
	case 8:
		at := m.now + 1 + m.rng.Uint64N(3000)
		m.do(batch(api.Op{Kind: api.OpExpire, Key: []byte(key), Expiry: api.Expiry{Mode: api.ExpiryAt, Millis: at}}))
		if is {
			m.expiry[key] = at
		}
	}
}

// restart crashes the machine and brings back what was lost from the log.
func (m *mapped) restart() {
	durable := m.crash(m.rng)
	for _, e := range m.log {
		if e.Index > durable.Index {
			m.apply(e)
		}
	}
}

// compare looks at all keys, and returns the parts that they name.
func (m *mapped) compare() (parts int) {
	m.t.Helper()
	for i := range 5 {
		name := fmt.Sprintf("key-%d", i)
		row, ok := m.get(name)
		if want, is := m.values[name]; ok != is || string(row.Value) != want {
			m.t.Fatalf("%s has %d bytes, %t; want %d, %t", name, len(row.Value), ok, len(want), is)
		}
		if row.Parts != nil {
			parts += int(row.Parts.Count)
		}
	}
	return parts
}

// The machine and a map do the same, whatever is in parts, and after any crash the log brings back
// what was there. In the end only what keys have is left.
func TestValuesInPartsBehaveAsInAMap(t *testing.T) { // LV1, LV2, LV3, LV4
	m := &mapped{bench: newBench(t), rng: testkit.Rand(t), values: map[string]string{}, expiry: map[string]uint64{}}
	tick := func() {
		e := m.entry(encodeTick())
		m.log = append(m.log, e)
		m.apply(e)
	}
	first := m.entry(encodeConfigure(fullArc(0)))
	m.log = append(m.log, first)
	m.apply(first)
	for i := range uint64(150) {
		m.pass(m.rng.Uint64N(900))
		m.step(i + 1)
		if m.rng.IntN(8) == 0 {
			tick()
		}
		if m.rng.IntN(12) == 0 {
			m.flush()
		}
		if m.rng.IntN(25) == 0 {
			m.restart()
		}
		if m.m.state().last.Millis() >= m.now {
			m.pass(m.m.state().last.Millis() - m.now)
			m.compare()
		}
	}
	m.pass(300_000)
	tick()
	m.wantParts(m.compare())
	if c := m.m.state().parts; c.Stagings != 0 || c.StagedBytes != 0 || c.Due != 0 {
		t.Errorf("%+v", c)
	}
}
