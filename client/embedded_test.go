package client_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// box is an embedded store on a disk in memory.
type box struct {
	t    *testing.T
	disk *vfs.Mem
	time *clock.Manual
	opts client.EmbeddedOptions
	log  engine.LogMode
	db   *engine.DB
	api.KV
}

func openBox(t *testing.T, o client.EmbeddedOptions) *box { return openBoxLogged(t, o, engine.LogOff) }

func openBoxLogged(t *testing.T, o client.EmbeddedOptions, log engine.LogMode) *box {
	b := &box{t: t, disk: vfs.NewMem(), time: clock.NewManual(time.UnixMilli(1_000_000)), opts: o, log: log}
	b.opts.Clock = b.time
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *box) open() {
	b.t.Helper()
	db, err := engine.Open("/db", engine.Options{FS: b.disk, MemtableBytes: 64 << 10, Log: b.log})
	if err != nil {
		b.t.Fatal(err)
	}
	b.db, b.KV = db, client.Embedded(db, b.opts)
}

func (b *box) close() {
	if err := errors.Join(b.KV.Close(), b.db.Close()); err != nil {
		b.t.Error(err)
	}
}

// crash leaves what is durable and opens it again.
func (b *box) crash() {
	b.t.Helper()
	left := b.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepNone})
	b.close()
	b.disk = left
	b.open()
}

func (b *box) put(key, value string, o client.PutOptions) api.Result {
	b.t.Helper()
	r, err := client.Put(b.t.Context(), b, 0, []byte(key), []byte(value), o)
	if err != nil {
		b.t.Fatalf("put %s: %v", key, err)
	}
	return r
}

func (b *box) get(key string) api.Item {
	b.t.Helper()
	item, err := b.Get(b.t.Context(), 0, []byte(key))
	if err != nil {
		b.t.Fatalf("get %s: %v", key, err)
	}
	return item
}

func TestAnEmbeddedStoreKeepsWhatWasFlushed(t *testing.T) {
	b := openBox(t, client.EmbeddedOptions{})
	b.put("flushed", "v", client.PutOptions{})
	if err := b.db.Flush(); err != nil {
		t.Fatal(err)
	}
	b.put("lost", "v", client.PutOptions{})
	b.crash()
	if !b.get("flushed").Found || b.get("lost").Found {
		t.Error("a crash must leave what was flushed, and nothing else")
	}
	b.put("closed", "v", client.PutOptions{})
	if err := b.KV.Close(); err != nil {
		t.Fatal(err)
	}
	b.crash()
	if !b.get("closed").Found {
		t.Error("Close lost a write")
	}
}

func TestFlushedWritesSurviveACrash(t *testing.T) {
	for _, log := range []engine.LogMode{engine.LogOff, engine.LogAlways, engine.LogInterval, engine.LogNever} {
		t.Run(fmt.Sprint(log), func(t *testing.T) { flushedWritesSurviveACrash(t, log) })
	}
}

func flushedWritesSurviveACrash(t *testing.T, log engine.LogMode) {
	b := openBoxLogged(t, client.EmbeddedOptions{FlushWrites: true}, log)
	done := make(chan error, 40)
	for range cap(done) {
		go func() {
			_, err := client.Increment(context.Background(), b.KV, 0, []byte("count"), 1)
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	m := b.db.Metrics()
	if log != engine.LogOff && (m.Flushes > 0 || m.Log.Syncs == 0) {
		t.Errorf("%d writes, %d flushes, %d syncs of the log, which alone is to be synced", m.Batches, m.Flushes, m.Log.Syncs)
	}
	b.crash()
	if got := string(b.get("count").Value); got != "40" {
		t.Errorf("count is %q after a crash, want 40", got)
	}
}

func TestAFlushIntervalBoundsWhatACrashTakes(t *testing.T) {
	b := openBox(t, client.EmbeddedOptions{FlushInterval: 5 * time.Millisecond})
	b.put("k", "v", client.PutOptions{})
	testkit.Eventually(t, long, func() bool { return b.db.Metrics().Flushes > 0 })
	b.crash()
	if !b.get("k").Found {
		t.Error("the interval passed and the write is lost")
	}
}

func TestEmbeddedVersionsNeverGoBack(t *testing.T) { // K5
	b := openBox(t, client.EmbeddedOptions{FlushWrites: true})
	first := b.put("k", "1", client.PutOptions{Expiry: client.ExpireAfter(time.Second)})
	b.time.Advance(-time.Minute)
	second := b.put("k", "2", client.PutOptions{Expiry: api.Expiry{Mode: api.ExpiryKeep}})
	b.crash()
	third := b.put("other", "3", client.PutOptions{})
	if first.Version >= second.Version || second.Version >= third.Version {
		t.Errorf("versions %v, %v, %v", first.Version, second.Version, third.Version)
	}
	b.time.Advance(time.Minute + time.Second)
	if b.get("k").Found {
		t.Error("the key has expired")
	}
	b.time.Advance(-time.Minute)
	if b.get("k").Found {
		t.Error("an expired key came back with the clock")
	}
	if r := b.put("k", "4", client.PutOptions{Condition: api.Condition{Kind: api.ConditionAbsent}}); !r.Applied {
		t.Error("a write found what a read did not")
	}
}

func TestAnEmbeddedStoreRunsARequestOnce(t *testing.T) { // K6
	b := openBox(t, client.EmbeddedOptions{FlushWrites: true})
	request := func(session api.SessionID, sequence, floor uint64) (int64, error) {
		r, err := b.Apply(t.Context(), api.Batch{
			Request: api.RequestID{Session: session, Sequence: sequence, Floor: floor},
			Ops:     []api.Op{{Kind: api.OpIncrement, Key: []byte("n"), Delta: 1}},
		})
		if err != nil {
			return 0, err
		}
		return r.Ops[0].Number, nil
	}
	s := api.SessionID{CreatedMillis: 1_000_000, Random: 7}
	for _, test := range []struct {
		sequence, floor uint64
		want            int64
		err             error
	}{
		{1, 1, 1, nil}, {1, 1, 1, nil}, {3, 1, 2, nil}, {2, 1, 3, nil}, {3, 2, 2, nil}, {1, 1, 0, api.ErrReleased}, {2, 2, 3, nil},
	} {
		if n, err := request(s, test.sequence, test.floor); n != test.want || !errors.Is(err, test.err) {
			t.Errorf("request %d: %d, %v; want %d, %v", test.sequence, n, err, test.want, test.err)
		}
	}
	b.time.Advance(time.Second)
	b.crash()
	if _, err := request(s, 3, 2); !errors.Is(err, api.ErrReleased) {
		t.Errorf("a request of before the crash: %v", err)
	}
	b.time.Advance(time.Second)
	young := api.SessionID{CreatedMillis: clock.Millis(b.time), Random: 8}
	if n, err := request(young, 1, 1); n != 4 || err != nil {
		t.Errorf("a session of after the crash: %d, %v", n, err)
	}
}

func TestAnEmbeddedStoreForgetsAnswersInOrderAndRefusesThem(t *testing.T) { // K6
	b := openBox(t, client.EmbeddedOptions{})
	request := func(session, sequence uint64) error {
		_, err := b.Apply(t.Context(), api.Batch{
			Request: api.RequestID{Session: api.SessionID{CreatedMillis: session}, Sequence: sequence, Floor: 1},
			Ops:     []api.Op{{Kind: api.OpIncrement, Key: fmt.Append(nil, session), Delta: 1}},
		})
		return err
	}
	const many = 5000
	for i := range uint64(many) {
		if err := request(1, i+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := request(1, 1); !errors.Is(err, api.ErrReleased) {
		t.Errorf("the first of %d requests: %v", many, err)
	}
	if err := request(1, many); err != nil {
		t.Errorf("the last of %d requests: %v", many, err)
	}
	for i := range uint64(2000) {
		if err := request(i+2, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := request(1, many+1); !errors.Is(err, api.ErrReleased) {
		t.Errorf("a session that was forgotten: %v", err)
	}
	if got := string(b.get("1").Value); got != fmt.Sprint(many) {
		t.Errorf("%d requests of a session counted %s times", many, got)
	}
}

func TestAnEmbeddedStoreHasTheClustersErrors(t *testing.T) {
	b := openBox(t, client.EmbeddedOptions{})
	b.put("word", "w", client.PutOptions{})
	increment := func(key string, delta int64) error {
		_, err := client.Increment(t.Context(), b, 0, []byte(key), delta)
		return err
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, ended := b.Get(canceled, 0, []byte("k"))
	_, namespace := b.Get(t.Context(), 1, []byte("k"))
	_, empty := b.MultiGet(t.Context(), 0, [][]byte{nil})
	_, large := client.Put(t.Context(), b, 0, []byte("k"), make([]byte, api.MaxValueBytes+1), client.PutOptions{})
	_, nothing := b.Apply(t.Context(), api.Batch{})
	for _, test := range []struct {
		err  error
		want error
	}{
		{increment("word", 1), api.ErrNotInteger}, {increment("", 1), api.ErrInvalid}, {ended, api.ErrExpired},
		{ended, context.Canceled}, {namespace, api.ErrInvalid}, {empty, api.ErrInvalid}, {large, api.ErrTooLarge},
		{nothing, api.ErrInvalid},
	} {
		if !errors.Is(test.err, test.want) {
			t.Errorf("got %v, want %v", test.err, test.want)
		}
	}
	if err := b.KV.Close(); err != nil {
		t.Fatal(err)
	}
	for item, err := range b.Scan(t.Context(), api.Range{}) {
		if !errors.Is(err, api.ErrShuttingDown) {
			t.Errorf("scan after Close: %s, %v", item.Key, err)
		}
	}
}

func TestAFailedDiskIsSaid(t *testing.T) {
	for _, log := range []engine.LogMode{engine.LogOff, engine.LogAlways, engine.LogInterval, engine.LogNever} {
		t.Run(fmt.Sprint(log), func(t *testing.T) { aFailedDiskIsSaid(t, log) })
	}
}

func aFailedDiskIsSaid(t *testing.T, log engine.LogMode) {
	rules := vfs.NewRules()
	db, err := engine.Open("/db", engine.Options{FS: vfs.NewFault(vfs.NewMem(), rules), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	kv := client.Embedded(db, client.EmbeddedOptions{FlushWrites: true})
	rules.Set(vfs.Rule{Ops: vfs.OpSync, Err: syscall.EIO})
	if _, err := client.Increment(t.Context(), kv, 0, []byte("n"), 1); !errors.Is(err, api.ErrStoreFailed) {
		t.Errorf("the write whose flush failed: %v", err)
	}
	if _, err := client.Increment(t.Context(), kv, 0, []byte("n"), 1); !errors.Is(err, api.ErrStoreFailed) {
		t.Errorf("a write after it: %v", err)
	}
	if err := kv.Close(); !errors.Is(err, api.ErrStoreFailed) {
		t.Errorf("close: %v", err)
	}
	_ = db.Close() // it fails for the same reason
}
