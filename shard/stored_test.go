package shard

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/lightning-db/lightning/api"
)

// readerOf reads the machine of a bench, which holds what it has applied.
func readerOf(b *bench) *reader {
	return &reader{id: 7, machine: b.m, applied: func(context.Context, api.Index) error { return nil }}
}

// stored reads a key now, which has a value in parts.
func (b *bench) stored(key string) *api.Stored {
	b.t.Helper()
	var items []api.Item
	_, err := readerOf(b).viewAt(1, b.m.state().last, 0, func(v *view) (err error) {
		items, err = v.get(0, [][]byte{[]byte(key)})
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return items[0].Stored
}

// retainingBench is one whose shard keeps versions for as long as a real one.
func retainingBench(t *testing.T) *bench {
	b := newBench(t)
	b.apply(b.entry(encodeConfigure(fullArc(defaultRetentionMillis))))
	return b
}

func TestPartsAreReadForAsLongAsTheShardKeepsThem(t *testing.T) {
	b := retainingBench(t)
	old, value := largeValue(1, 5*api.MaxPartBytes+7), largeValue(2, 2*api.MaxInlineBytes)
	b.putLarge(1, "k", old, api.Expiry{})
	before := b.stored("k")
	read := func(v *api.Stored) ([]byte, error) { return readStored(t.Context(), readerOf(b), v) }
	settle := func(millis uint64) {
		b.now += millis
		b.must(put("other", "v"))
		b.flush()
		b.compact()
	}
	// Nobody replaces it: it may take any time.
	settle(10 * defaultRetentionMillis)
	if got, err := read(before); err != nil || !bytes.Equal(got, old) {
		t.Fatalf("long after: %d bytes, %v", len(got), err)
	}
	// Replaced after the read: for a retention from the read on.
	before = b.stored("k")
	b.putLarge(2, "k", value, api.Expiry{})
	after := b.stored("k")
	settle(defaultRetentionMillis - 1000)
	if got, err := read(before); err != nil || !bytes.Equal(got, old) {
		t.Fatalf("soon after it was replaced: %d bytes, %v", len(got), err)
	}
	settle(2000)
	if _, err := read(before); !errors.Is(err, api.ErrSnapshotTooOld) {
		t.Fatalf("long after it was replaced: %v", err)
	}
	if got, err := read(after); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("what replaced it: %d bytes, %v", len(got), err)
	}
	// A rename takes the parts along.
	b.must(api.Op{Kind: api.OpRename, Key: []byte("j"), Source: []byte("k")})
	settle(2 * defaultRetentionMillis)
	if got, err := read(after); err != nil || !bytes.Equal(got, value) {
		t.Fatalf("renamed: %d bytes, %v", len(got), err)
	}
}

// A checkpoint has the parts of its values, and of those that were replaced a moment ago.
func TestACheckpointHasThePartsOfValues(t *testing.T) {
	b := retainingBench(t)
	old, value := largeValue(3, 2*api.MaxInlineBytes), largeValue(4, 2*api.MaxInlineBytes+1)
	b.putLarge(1, "k", old, api.Expiry{})
	before := b.stored("k")
	b.putLarge(2, "k", value, api.Expiry{})
	staged, final := stagedPut(b.now, requestID(3), "later", value, api.Expiry{})
	for _, c := range staged {
		b.do(c)
	}
	digest := b.digest()
	if _, err := b.m.Checkpoint("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	b.must(put("k", "gone"))
	if err := b.m.Install("/data/checkpoint"); err != nil {
		t.Fatal(err)
	}
	if got := b.digest(); got != digest {
		t.Error("the installed state differs")
	}
	for v, want := range map[*api.Stored][]byte{before: old, b.stored("k"): value} {
		if got, err := readStored(t.Context(), readerOf(b), v); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if a := b.do(final); a.Err != nil || !a.Result.Applied {
		t.Errorf("what was staged before: %+v", a)
	}
}

// A replica that has not applied what a read saw says so, and does not call it damage.
func TestAReplicaThatLagsDoesNotAnswerForParts(t *testing.T) {
	b, behind := configuredBench(t), configuredBench(t)
	b.putLarge(1, "k", largeValue(5, 2*api.MaxInlineBytes), api.Expiry{})
	v := b.stored("k")
	if _, err := readerOf(behind).ReadParts(t.Context(), v, 0, 1); !errors.Is(err, api.ErrTooStale) {
		t.Error(err)
	}
	fenced := readerOf(b)
	fenced.applied = func(context.Context, api.Index) error { return api.Errorf(api.CodeUnavailable, "fenced") }
	if _, err := fenced.ReadParts(t.Context(), v, 0, 1); !errors.Is(err, api.ErrUnavailable) {
		t.Error(err)
	}
}

func TestOnlyPartsOfAValueAreRead(t *testing.T) {
	b := configuredBench(t)
	b.putLarge(1, "k", largeValue(6, 2*api.MaxInlineBytes), api.Expiry{})
	v := b.stored("k")
	for _, r := range [][2]uint32{{0, 0}, {0, MaxReadParts + 1}, {v.Count, 1}, {v.Count - 1, 2}, {^uint32(0), 2}} {
		if _, err := readerOf(b).ReadParts(t.Context(), v, r[0], r[1]); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("%v: %v", r, err)
		}
	}
	for name, change := range map[string]func(*api.Stored){
		"no id": func(v *api.Stored) { v.ID = 0 }, "too long": func(v *api.Stored) { v.Bytes = api.MaxValueBytes + 1 },
		"far": func(v *api.Stored) { v.First = ^uint32(0) }, "empty": func(v *api.Stored) { v.Bytes = 0 },
	} {
		bad := *v
		change(&bad)
		if _, err := readerOf(b).ReadParts(t.Context(), &bad, 0, 1); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
