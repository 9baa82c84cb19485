package shard

import (
	"context"
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// BenchmarkApply applies entries of 100 puts of 256 bytes, as front ends send them: without
// request ids, under one session of which 200 requests are outstanding, or under a hundred sessions
// with one each.
func BenchmarkApply(b *testing.B) {
	for _, sessions := range []uint64{0, 1, 100} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) { benchmarkApply(b, sessions) })
	}
}

func benchmarkApply(b *testing.B, sessions uint64) {
	const perEntry, outstanding, keys = 100, 200, 100_000
	bench := &bench{t: b, fs: vfs.NewMem(), term: 1, now: startMillis}
	o := machineOptions(b, bench.fs)
	o.Engine = engine.Options{}
	m, err := openMachine(o)
	if err != nil {
		b.Fatal(err)
	}
	bench.m = m
	defer bench.close()
	bench.apply(bench.entry(encodeConfigure(fullArc(defaultRetentionMillis))))
	value := make([]byte, 256)
	n := uint64(0)
	next := func() raft.Entry {
		bench.now++
		w := newEntryWriter(perEntry * 320)
		for range perEntry {
			n++
			c := batch(api.Op{Kind: api.OpPut, Key: fmt.Appendf(nil, "key:%012d", n*7919%keys), Value: value})
			if sessions > 0 {
				sequence := (n + sessions - 1) / sessions
				floor := sequence - min(sequence-1, outstanding/sessions)
				c.Request = api.RequestID{Session: api.SessionID{CreatedMillis: startMillis, Random: n % sessions}, Sequence: sequence, Floor: floor}
			}
			w.add(&c)
		}
		bench.index++
		return raft.Entry{Index: bench.index, Term: 1, Data: w.finish(Entry{
			Time: api.VersionAt(bench.now), CeilingMillis: bench.now + 500, Run: uint64(bench.index),
		}, false)}
	}
	entries := make([]raft.Entry, 1)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		entries[0] = next()
		b.StartTimer()
		results, err := m.Apply(entries)
		if err != nil {
			b.Fatal(err)
		}
		if a := results[0].(*Applied).Answers[perEntry-1]; a.Err != nil {
			b.Fatal(a.Err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perEntry, "ns/put")
}

// BenchmarkGet reads keys of 256 bytes in one read, on a leader that is confirmed at once.
func BenchmarkGet(b *testing.B) {
	const keys = 100_000
	bench := &bench{t: b, fs: vfs.NewMem(), term: 1, now: startMillis}
	o := machineOptions(b, bench.fs)
	o.Engine = engine.Options{}
	m, err := openMachine(o)
	if err != nil {
		b.Fatal(err)
	}
	bench.m = m
	defer bench.close()
	bench.apply(bench.entry(encodeConfigure(fullArc(defaultRetentionMillis))))
	key := func(n int) []byte { return fmt.Appendf(nil, "key:%012d", n*7919%keys) }
	for n := range keys {
		bench.must(api.Op{Kind: api.OpPut, Key: key(n), Value: make([]byte, 256)})
	}
	r := &reader{id: 7, machine: m, clock: &hybridClock{wall: clock.Real{}}, confirm: func(context.Context) error { return nil }}
	for _, count := range []int{1, 16} {
		b.Run(fmt.Sprintf("keys=%d", count), func(b *testing.B) {
			list := make([][]byte, count)
			b.ReportAllocs()
			for n := 0; b.Loop(); n += count {
				for i := range list {
					list[i] = key(n + i)
				}
				if items, err := r.Get(b.Context(), 1, 0, list); err != nil || !items[0].Found {
					b.Fatal(items, err)
				}
			}
		})
	}
}
