package lightningtest_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/lightningtest"
)

// hang is what only a test that fails waits for.
const hang = 3 * time.Minute

func longValue(seed byte, length int) []byte {
	value := make([]byte, length)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(value)
	return value
}

// A read-only io.ReadSeeker that tells when half of the value was read for the first time.
type halfway struct {
	*bytes.Reader
	half func()
	told atomic.Bool
}

func (h *halfway) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if int64(h.Len()) <= h.Size()/2 && !h.told.Swap(true) {
		h.half()
	}
	return n, err
}

func TestAPutIsExecutedOnceWhenTheLeaderIsKilledInTheMiddleOfIt(t *testing.T) {
	cluster := lightningtest.Start(t, 3)
	db := cluster.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	key, value := []byte("long"), longValue(1, 6<<20)
	old, err := db.Put(ctx, 0, key, longValue(2, 5<<20), client.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	leader := cluster.Leader(string(key))
	r := &halfway{Reader: bytes.NewReader(value), half: func() { cluster.KillNode(leader) }}
	// The condition holds once only: a second execution would find another version.
	result, err := db.PutFrom(ctx, 0, key, r, client.PutOptions{Condition: api.Condition{Kind: api.ConditionVersion, Version: old.Version}})
	if err != nil || !result.Applied {
		t.Fatalf("put: %+v, %v", result, err)
	}
	if !r.told.Load() {
		t.Fatal("no node was killed")
	}
	var got bytes.Buffer
	item, err := db.GetTo(ctx, 0, key, &got)
	if err != nil || item.Version != result.Version || !bytes.Equal(got.Bytes(), value) {
		t.Errorf("get: %d bytes of version %d, put as %d: %v", got.Len(), item.Version, result.Version, err)
	}
}

func TestAPutThatIsBrokenOffLeavesTheOldValue(t *testing.T) {
	cluster := lightningtest.Start(t, 1)
	db := cluster.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	key, value := []byte("long"), longValue(3, 5<<20)
	old, err := db.Put(ctx, 0, key, value, client.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	broken, breakOff := context.WithCancel(ctx)
	r := &halfway{Reader: bytes.NewReader(longValue(4, 6<<20)), half: breakOff}
	if _, err := db.PutFrom(broken, 0, key, r, client.PutOptions{}); err == nil || !r.told.Load() {
		t.Fatalf("a put that is broken off: %v", err)
	}
	item, err := db.Get(ctx, 0, key)
	if err != nil || item.Version != old.Version || !bytes.Equal(item.Value, value) {
		t.Errorf("%d bytes of version %d, want version %d: %v", len(item.Value), item.Version, old.Version, err)
	}
}

// The embedded store and a cluster take the same values, and refuse the same.
func largestBySDK(t *testing.T, cluster *lightningtest.Cluster) {
	db := cluster.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	value := longValue(5, largestBytes)
	key := []byte("largest")
	if result, err := db.Put(ctx, 0, key, value, client.PutOptions{}); err != nil || !result.Applied {
		t.Fatalf("%+v, %v", result, err)
	}
	item, err := db.Get(ctx, 0, key)
	if err != nil || !bytes.Equal(item.Value, value) {
		t.Errorf("get: %d bytes, %v", len(item.Value), err)
	}
	if _, err := db.Put(ctx, 0, key, make([]byte, api.MaxValueBytes+1), client.PutOptions{}); api.CodeOf(err) != api.CodeTooLarge {
		t.Errorf("a byte more: %v", err)
	}
	// The rest is the same for all that are too long for a message. A reader that can go back is sent again when a
	// leader moves, which it may on a machine as busy as this.
	value = value[:api.MaxWholeBytes+1]
	if result, err := db.PutFrom(ctx, 0, key, bytes.NewReader(value), client.PutOptions{}); err != nil || !result.Applied {
		t.Fatalf("from a reader: %+v, %v", result, err)
	}
	items, err := db.Stale(time.Minute).MultiGet(ctx, 0, [][]byte{key, []byte("absent")})
	if err != nil || !bytes.Equal(items[0].Value, value) || items[1].Found {
		t.Errorf("multiget: %v", err)
	}
	scanned := 0
	for item, err := range db.Scan(ctx, api.PrefixRange(key)) {
		if scanned++; err != nil || !bytes.Equal(item.Value, value) {
			t.Errorf("scan: %d bytes, %v", len(item.Value), err)
		}
	}
	if scanned != 1 {
		t.Errorf("%d keys", scanned)
	}
	// Several long values of one batch go together.
	half := value[:len(value)/2]
	result, err := db.Apply(ctx, api.Batch{Ops: []api.Op{
		{Kind: api.OpPut, Key: []byte("{a}1"), Value: half}, {Kind: api.OpPut, Key: []byte("{a}2"), Value: half},
		{Kind: api.OpIncrement, Key: []byte("{a}3"), Delta: 1},
	}})
	if err != nil || !result.Applied || result.Ops[2].Number != 1 {
		t.Errorf("batch: %+v, %v", result.Ops, err)
	}
}
