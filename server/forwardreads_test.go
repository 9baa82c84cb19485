package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
)

// reading is a read on its way by a stream that nobody sends on.
func reading(t *testing.T, stream *readStream, keys ...[]byte) *forwardedRead {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	r := newForwardedRead(ctx, place{node: stream.node}, 0, keys)
	if !stream.enqueue(r) {
		t.Fatal("the stream takes nothing")
	}
	return r
}

func silentStream(t *testing.T) *readStream {
	s := New(Options{Entropy: entropy.System()})
	t.Cleanup(func() { s.Close() })
	return newReadStream(s, "a", clock.Real{}.Now())
}

func TestReadsOfManyCallersGoInOneMessage(t *testing.T) {
	stream := silentStream(t)
	key := []byte("first")
	first := reading(t, stream, key)
	copy(key, "XXXXX") // the caller's bytes are his own again
	gone := reading(t, stream, []byte("gone"))
	second := reading(t, stream, []byte("second"), []byte("third"))
	stream.abandon(gone)
	reads, over := stream.pack()
	if over || len(reads) != 2 || reads[0] != first.message || reads[1] != second.message || string(reads[0].Keys[0]) != "first" {
		t.Fatalf("the message is %v", reads)
	}
	found := stream.match(nil, []*peerv1.ForwardFound{{Id: second.message.Id}, {Id: gone.message.Id}, {Id: first.message.Id}})
	if len(found) != 3 || found[0] != second || found[1] != nil || found[2] != first {
		t.Errorf("answers are for %v", found)
	}
	stream.retire()
	if reads, over := stream.pack(); len(reads) > 0 || !over {
		t.Error("a retired stream without reads is not over")
	}
}

func TestAMessageOfReadsIsBounded(t *testing.T) {
	stream := silentStream(t)
	for range maxReadsPerMessage + 1 {
		reading(t, stream, []byte("k"))
	}
	for _, want := range []int{maxReadsPerMessage, 1, 0} {
		if reads, _ := stream.pack(); len(reads) != want {
			t.Errorf("%d reads in a message, want %d", len(reads), want)
		}
	}
	long := make([][]byte, 40)
	for i := range long {
		long[i] = bytes.Repeat([]byte("k"), api.MaxKeyBytes)
	}
	for range 5 {
		if r := reading(t, stream, long...); r.bytes > maxStreamedKeyBytes+40*answerOverhead || len(r.message.Keys) == 0 {
			t.Fatalf("one read has %d keys of %d bytes", len(r.message.Keys), r.bytes)
		}
	}
	for _, want := range []int{3, 2, 0} {
		if reads, _ := stream.pack(); len(reads) != want {
			t.Errorf("%d long reads in a message, want %d", len(reads), want)
		}
	}
}

func TestForwardedReadsFindWhatIsThere(t *testing.T) {
	c := newCluster(t, 6, nil)
	for i := range 200 {
		c.load(fmt.Sprint("key-", i), fmt.Sprint("value-", i))
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			s := c.servers[nodeNames[i%3]]
			item, err := s.Get(t.Context(), 0, fmt.Append(nil, "key-", i))
			if err != nil || string(item.Value) != fmt.Sprint("value-", i) || string(item.Key) != fmt.Sprint("key-", i) {
				t.Errorf("key %d: %+v, %v", i, item, err)
			}
			if item, err = s.Get(t.Context(), 0, fmt.Append(nil, "none-", i)); err != nil || item.Found {
				t.Errorf("absent key %d: %+v, %v", i, item, err)
			}
		})
	}
	wg.Wait()
	for node, s := range c.servers {
		if len(s.reads.streams) > 2 {
			t.Errorf("%s has %d streams to two nodes", node, len(s.reads.streams))
		}
	}
}

// Both shards are led by one node, to which one stream goes.
func TestAReadThatWaitsKeepsNoOtherWaiting(t *testing.T) {
	c := newCluster(t, 4, nil)
	stuck, free := c.keyOn(1, 0), c.keyOn(4, 0)
	c.load(free, "v")
	reached, end := make(chan struct{}, 100), make(chan struct{})
	c.groups[1].set(func(g *group) {
		g.before = func(ctx context.Context, _ api.NodeID, _ bool) error {
			reached <- struct{}{}
			select {
			case <-end:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.servers["b"].Get(t.Context(), 0, []byte(stuck)); err != nil {
				t.Error(err)
			}
		})
	}
	<-reached
	for range 50 {
		if item, err := c.servers["b"].Get(t.Context(), 0, []byte(free)); err != nil || string(item.Value) != "v" {
			t.Fatal(item, err)
		}
	}
	// A caller who gives up is not kept either.
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := c.servers["b"].Get(ctx, 0, []byte(stuck))
		gone <- err
	}()
	cancel()
	if err := <-gone; err == nil {
		t.Error("a read of somebody who gave up has an answer")
	}
	close(end)
	wg.Wait()
}

func TestLargeValuesAreReadAloneFromAfar(t *testing.T) {
	c := newCluster(t, 1, nil)
	sizes := []int{0, 10, smallAnswerBytes / 2, smallAnswerBytes, 3 << 20, api.MaxValueBytes}
	for i, size := range sizes {
		c.load(fmt.Sprint(i), strings.Repeat("v", size))
	}
	var wg sync.WaitGroup
	for n := range 4 * len(sizes) {
		wg.Go(func() {
			i := n % len(sizes)
			item, err := c.servers["b"].Get(t.Context(), 0, fmt.Append(nil, i))
			if err != nil || len(item.Value) != sizes[i] {
				t.Errorf("value %d has %d bytes, want %d: %v", i, len(item.Value), sizes[i], err)
			}
		})
	}
	wg.Wait()
	if used := c.servers["a"].gate.mu.found; used != 0 {
		t.Errorf("%d bytes of values are still counted", used)
	}
}

func TestAReadIsRepeatedWhenItsStreamBreaks(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	var broken atomic.Bool
	c.groups[1].set(func(g *group) {
		g.before = func(_ context.Context, node api.NodeID, _ bool) error {
			if node == "a" && !broken.Swap(true) {
				c.net.cut("a")
				c.net.mu.Lock()
				c.net.down["a"] = false
				c.net.mu.Unlock()
			}
			return nil
		}
	})
	item, err := c.servers["b"].Get(t.Context(), 0, []byte("k"))
	if err != nil || string(item.Value) != "v" || !broken.Load() {
		t.Fatal(item, err, broken.Load())
	}
}

func TestAnOldStreamOfReadsIsReplaced(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	s := c.servers["b"]
	get := func() *readStream {
		if item, err := s.Get(t.Context(), 0, []byte("k")); err != nil || string(item.Value) != "v" {
			t.Fatal(item, err)
		}
		s.reads.mu.Lock()
		defer s.reads.mu.Unlock()
		return s.reads.streams["a"]
	}
	first := get()
	if again := get(); again != first {
		t.Error("each read opens a stream")
	}
	s.reads.mu.Lock()
	first.born = first.born.Add(-maxReadStreamAge)
	s.reads.mu.Unlock()
	if second := get(); second == first {
		t.Error("an old stream is used")
	}
	<-first.ctx.Done() // it ends by itself
}

func TestAPanicOfAForwardedReadIsItsAnswer(t *testing.T) {
	c := newCluster(t, 4, nil)
	c.groups[1].set(func(g *group) {
		g.before = func(context.Context, api.NodeID, bool) error { panic("a bug") }
	})
	if _, err := c.servers["b"].Get(t.Context(), 0, []byte(c.keyOn(1, 0))); !errors.Is(err, api.ErrInternal) {
		t.Errorf("the error is %v", err)
	}
	if _, err := c.servers["b"].Get(t.Context(), 0, []byte(c.keyOn(4, 0))); err != nil {
		t.Errorf("another read of the stream: %v", err)
	}
}

// A node that asks and does not take its answers holds a bounded part of another one's memory.
func TestAnswersThatANodeDoesNotTakeAreBounded(t *testing.T) {
	s := New(Options{Entropy: entropy.System()})
	defer s.Close()
	v := &visitor{server: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	share := &budgetShare{bytes: replyBudget{gate: s.gate}}
	const size = smallAnswerBytes
	value := make([]byte, size)
	for i := range 3 * maxOpenAnswerBytes / size {
		share.left++
		v.answer([]foundHere{{
			ForwardFound: &peerv1.ForwardFound{Id: uint64(i), Items: []*peerv1.ForwardItem{{Value: value}}},
			bytes:        size, taken: 1, share: share,
		}})
	}
	v.mu.open = len(v.mu.answers)
	held, refused := 0, 0
	for {
		answers, taken := v.takeAnswers()
		if len(answers) == 0 {
			break
		}
		for _, a := range answers {
			for _, item := range a.Items {
				held += len(item.Value)
			}
			if a.Failure != nil {
				refused++
			}
		}
		v.sent(taken)
	}
	if held > maxOpenAnswerBytes || refused == 0 || v.mu.bytes != 0 || v.mu.open != 0 || share.left != 0 {
		t.Errorf("%d bytes are held, %d reads refused, %d bytes and %d reads left", held, refused, v.mu.bytes, v.mu.open)
	}
}

// P4: what was damaged on the way between two nodes is not served.
func TestADamagedForwardedItemIsNotServed(t *testing.T) {
	item := api.Item{Key: []byte("k"), Value: []byte("value"), Version: 7, ExpiryMillis: 9, Found: true}
	if got, err := itemsFromPeer(place{node: "a"}, itemsToPeer([]api.Item{item}, true)); err != nil || !reflect.DeepEqual(got[0], item) {
		t.Fatal(got, err)
	}
	for name, damage := range map[string]func(*peerv1.ForwardItem){
		"key":      func(m *peerv1.ForwardItem) { m.Key = []byte("l") },
		"value":    func(m *peerv1.ForwardItem) { m.Value = []byte("valuf") },
		"version":  func(m *peerv1.ForwardItem) { m.Version++ },
		"expiry":   func(m *peerv1.ForwardItem) { m.ExpiryMs = 0 },
		"found":    func(m *peerv1.ForwardItem) { m.Found = false },
		"checksum": func(m *peerv1.ForwardItem) { m.Checksum ^= 1 << 31 },
	} {
		list := itemsToPeer([]api.Item{item}, true)
		damage(list[0])
		if _, err := itemsFromPeer(place{node: "a"}, list); api.CodeOf(err) != api.CodeUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
