package shard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/clock"
)

func backupReader(b *bench) *reader {
	return &reader{
		id: 7, machine: b.m, clock: &hybridClock{wall: clock.NewManual(time.UnixMilli(int64(startMillis)))},
		confirm: func(context.Context) error { return nil }, tick: func(context.Context) error { return nil },
	}
}

func putNew(key string) api.Op {
	return api.Op{Kind: api.OpPut, Key: []byte(key), Value: []byte("new")}
}

func TestABackupHasEveryRowAsItWasWhenItBegan(t *testing.T) {
	b := configuredBench(t)
	value := largeValue(6, 3*api.MaxInlineBytes+5)
	b.putLarge(1, "k050-long", value, api.Expiry{})
	for i := range 100 {
		b.putLarge(uint64(i+2), fmt.Sprintf("k%03d", i), largeValue(uint64(i), api.MaxInlineBytes/8), api.Expiry{})
	}
	found := make(map[string][]byte)
	var cut Cut
	var last string
	var counter record.Counter
	err := backupReader(b).Backup(t.Context(), func(c Cut) error {
		cut = c
		for i := range 100 { // what is written now is not in it
			b.must(putNew(fmt.Sprintf("k%03d", i)))
		}
		b.must(putNew("k050-long"))
		b.must(putNew("later"))
		return nil
	}, func(r *record.Record) error {
		if r.Kind != record.Piece {
			last = string(r.Key)
		}
		found[last] = append(found[last], r.Value...)
		return counter.Take(r)
	})
	if err := errors.Join(err, counter.Whole()); err != nil || cut.Shard != 7 || cut.Index == 0 || counter.Rows != 101 {
		t.Fatalf("%v, %+v, %d rows", err, cut, counter.Rows)
	}
	if !bytes.Equal(found["k050-long"], value) {
		t.Errorf("the long value has %d bytes, want %d", len(found["k050-long"]), len(value))
	}
	for i := range 100 {
		if !bytes.Equal(found[fmt.Sprintf("k%03d", i)], largeValue(uint64(i), api.MaxInlineBytes/8)) {
			t.Errorf("k%03d has other bytes", i)
		}
	}
}

func TestABackupEndsWhenItsTakerFails(t *testing.T) {
	b := configuredBench(t)
	b.must(putNew("k"))
	full := errors.New("full")
	err := backupReader(b).Backup(t.Context(), func(Cut) error { return nil }, func(*record.Record) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := backupReader(b)
	r.confirm = func(ctx context.Context) error { return ctx.Err() }
	if err := r.Backup(ctx, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What a majority has acknowledged may not have come to this replica yet: confirm waits for it.
func TestABackupHasWhatWasAcknowledgedBeforeIt(t *testing.T) {
	b := configuredBench(t)
	b.must(putNew("before"))
	r := backupReader(b)
	r.confirm = func(context.Context) error {
		late := putNew("late")
		late.Expiry = api.Expiry{Mode: api.ExpiryAt, Millis: startMillis + 1_000_000}
		b.must(late)
		return nil
	}
	found := make(map[string]uint64)
	err := r.Backup(t.Context(), func(Cut) error { return nil }, func(row *record.Record) error {
		found[string(row.Key)] = row.ExpiryMillis
		return nil
	})
	if err != nil || len(found) != 2 || found["late"] != startMillis+1_000_000 || found["before"] != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	r.confirm = func(context.Context) error { return api.ErrNotLeader }
	began := false
	if err := r.Backup(t.Context(), func(Cut) error { began = true; return nil }, nil); !errors.Is(err, api.ErrNotLeader) || began {
		t.Errorf("a replica that does not lead: began %t, %v", began, err)
	}
}
