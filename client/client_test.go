package client_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long is a limit that only a test that fails waits for.
const long = 20 * time.Second

// start makes a cluster of n nodes and a client of it that knows the map.
func start(t *testing.T, n int, edit ...func(*client.Options)) (*fakecluster.Cluster, *client.Client) {
	t.Helper()
	cluster := fakecluster.New(n)
	t.Cleanup(cluster.Close)
	return cluster, connect(t, cluster, edit...)
}

func connect(t *testing.T, cluster *fakecluster.Cluster, edit ...func(*client.Options)) *client.Client {
	t.Helper()
	o := client.Options{
		Addresses: cluster.Addresses(), Dialer: cluster.Dial, DefaultTimeout: long, AttemptTimeout: long / 2,
	}
	for _, e := range edit {
		e(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	testkit.Eventually(t, long, func() bool { return c.Map() != nil })
	return c
}

func withAttemptTimeout(d time.Duration) func(*client.Options) {
	return func(o *client.Options) { o.AttemptTimeout = d }
}

// keyOn finds a key of shard i+1 of n equal shards.
func keyOn(i, n int) []byte {
	for k := 0; ; k++ {
		key := []byte("key-" + strconv.Itoa(k))
		if int(router.Slot(0, key))/(api.SlotCount/n+1) == i && int(router.Slot(0, key))*n/api.SlotCount == i {
			return key
		}
	}
}

func mustPut(t *testing.T, c *client.Client, key, value string) {
	t.Helper()
	if _, err := c.Put(t.Context(), 0, []byte(key), []byte(value), client.PutOptions{}); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// increment is one batch with a request id that may be zero.
func increment(ctx context.Context, c *client.Client, key []byte, id api.RequestID) (int64, error) {
	r, err := c.Apply(ctx, api.Batch{Request: id, Ops: []api.Op{{Kind: api.OpIncrement, Key: key, Delta: 1}}})
	if err != nil {
		return 0, err
	}
	return r.Ops[0].Number, nil
}

func TestWritesAreReadBack(t *testing.T) {
	_, c := start(t, 3)
	mustPut(t, c, "name", "lightning")
	item, err := c.Get(t.Context(), 0, []byte("name"))
	if err != nil || !item.Found || string(item.Value) != "lightning" || item.Version == 0 {
		t.Fatalf("get: %+v, %v", item, err)
	}
	if existed, err := c.Delete(t.Context(), 0, []byte("name")); err != nil || !existed {
		t.Fatalf("delete: %t, %v", existed, err)
	}
	if existed, err := c.Delete(t.Context(), 0, []byte("name")); err != nil || existed {
		t.Fatalf("second delete: %t, %v", existed, err)
	}
	item, err = c.Get(t.Context(), 0, []byte("name"))
	if err != nil || item.Found || item.Value != nil || string(item.Key) != "name" {
		t.Fatalf("get after delete: %+v, %v", item, err)
	}
	for want := int64(5); want <= 10; want += 5 {
		if sum, err := c.Increment(t.Context(), 0, []byte("count"), 5); err != nil || sum != want {
			t.Fatalf("increment: %d, %v; want %d", sum, err, want)
		}
	}
}

func TestConditionsAndPreviousValues(t *testing.T) {
	_, c := start(t, 1)
	absent := client.PutOptions{Condition: api.Condition{Kind: api.ConditionAbsent}}
	first, err := c.Put(t.Context(), 0, []byte("k"), nil, absent)
	if err != nil || !first.Applied {
		t.Fatalf("put if absent: %+v, %v", first, err)
	}
	second, err := c.Put(t.Context(), 0, []byte("k"), []byte("v"), absent)
	if err != nil || second.Applied || second.FailedOp != 0 || len(second.Ops) != 1 {
		t.Fatalf("put if absent of a present key: %+v, %v", second, err)
	}
	third, err := c.Put(t.Context(), 0, []byte("k"), []byte("v"), client.PutOptions{
		Condition: api.Condition{Kind: api.ConditionVersion, Version: first.Version}, ReturnPrevious: true,
	})
	if err != nil || !third.Applied || !third.Ops[0].Existed || third.Ops[0].PreviousVersion != first.Version {
		t.Fatalf("put if version: %+v, %v", third, err)
	}
}

func TestMultiGetKeepsTheOrderOfKeys(t *testing.T) {
	_, c := start(t, 3)
	var keys [][]byte
	for i := range 100 {
		keys = append(keys, []byte("k"+strconv.Itoa(i)))
		if i%2 == 0 {
			mustPut(t, c, string(keys[i]), strconv.Itoa(i))
		}
	}
	items, err := c.MultiGet(t.Context(), 0, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range items {
		if string(item.Key) != string(keys[i]) || item.Found != (i%2 == 0) || item.Found && string(item.Value) != strconv.Itoa(i) {
			t.Errorf("item %d: %+v", i, item)
		}
	}
	if _, err := c.MultiGet(t.Context(), 0, [][]byte{[]byte("k"), nil}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("multiget of an empty key: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.MultiGet(ctx, 0, keys); !errors.Is(err, context.Canceled) {
		t.Errorf("multiget with a canceled context: %v", err)
	}
	if items, err := c.MultiGet(t.Context(), 0, nil); err != nil || len(items) != 0 {
		t.Errorf("multiget of nothing: %v, %v", items, err)
	}
}

func TestWhatCannotSucceedIsNotSent(t *testing.T) {
	cluster, c := start(t, 1)
	put := func(key, value int) error {
		_, err := c.Put(t.Context(), 0, make([]byte, key), make([]byte, value), client.PutOptions{})
		return err
	}
	if err := put(0, 1); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("empty key: %v", err)
	}
	if err := put(api.MaxKeyBytes+1, 1); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("large key: %v", err)
	}
	if err := put(1, api.MaxValueBytes+1); !errors.Is(err, api.ErrTooLarge) || !strings.Contains(err.Error(), strconv.Itoa(api.MaxValueBytes)) {
		t.Errorf("large value: %v", err)
	}
	if _, err := c.Apply(t.Context(), api.Batch{}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("empty batch: %v", err)
	}
	value := make([]byte, api.MaxValueBytes)
	two := []api.Op{{Kind: api.OpPut, Key: []byte("a"), Value: value}, {Kind: api.OpPut, Key: []byte("b"), Value: value}}
	if _, err := c.Apply(t.Context(), api.Batch{Ops: two}); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("large batch: %v", err)
	}
	if _, err := c.Apply(t.Context(), api.Batch{Ops: make([]api.Op, api.MaxBatchOps+1)}); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("long batch: %v", err)
	}
	if _, err := c.Get(t.Context(), 0, nil); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("get of an empty key: %v", err)
	}
	if writes := cluster.Writes(); len(writes) != 0 {
		t.Errorf("%d writes were sent", len(writes))
	}
	if err := put(api.MaxKeyBytes, api.MaxValueBytes); err != nil {
		t.Errorf("largest key and value: %v", err)
	}
}

func TestOptionsReportEveryProblem(t *testing.T) {
	_, err := client.New(client.Options{Addresses: []string{"nohost"}, DefaultTimeout: -1, AttemptTimeout: -1})
	for _, want := range []string{"nohost", "default timeout", "attempt timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not mention %q", err, want)
		}
	}
	if _, err := client.New(client.Options{}); err == nil || !strings.Contains(err.Error(), "no addresses") {
		t.Errorf("no addresses: %v", err)
	}
}

func TestCallsGoToTheLeader(t *testing.T) {
	cluster, c := start(t, 3)
	var calls [3]atomic.Int64
	for i := range 3 {
		cluster.Node(i).SetIntercept(func(_ context.Context, method string, _ any, next func() (any, error)) (any, error) {
			if method == "Get" {
				calls[i].Add(1)
			}
			return next()
		})
	}
	for i := range 3 {
		for range 5 * (i + 1) {
			if _, err := c.Get(t.Context(), 0, keyOn(i, 3)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range 3 {
		if got, want := calls[i].Load(), int64(5*(i+1)); got != want {
			t.Errorf("node %d got %d calls, want %d", i, got, want)
		}
	}
}

func TestALeaderHintIsFollowedAndKept(t *testing.T) {
	cluster := fakecluster.New(3)
	t.Cleanup(cluster.Close)
	cluster.HideLeaders()
	for i := range 3 {
		cluster.Node(i).SetRedirect()
	}
	c := connect(t, cluster)
	key := keyOn(1, 3)
	for range 3 {
		if _, err := c.Put(t.Context(), 0, key, nil, client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	// At most one of the three had to ask.
	if n := len(cluster.Writes()); n > 4 {
		t.Errorf("three puts took %d attempts", n)
	}
	cluster.SetLeader(2, 2)
	if _, err := c.Put(t.Context(), 0, key, nil, client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestTwoNodesThatNameEachOtherDoNotMakeTheCallerSpin(t *testing.T) {
	cluster, c := start(t, 2)
	for i := range 2 {
		cluster.Node(i).SetIntercept(func(_ context.Context, method string, _ any, next func() (any, error)) (any, error) {
			if method != "Batch" {
				return next()
			}
			_, _ = next()
			return nil, &api.Error{Code: api.CodeNotLeader, Shard: 1, Leader: cluster.Node(1 - i).ID()}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.Put(ctx, 0, keyOn(0, 2), nil, client.PutOptions{})
	if !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("want no leader, got %v", err)
	}
	if n := len(cluster.Writes()); n > 20 {
		t.Errorf("%d attempts in 300 ms", n)
	}
}

func TestAStoppedNodeIsLeftAndUsedAgain(t *testing.T) {
	cluster, c := start(t, 3)
	key := keyOn(1, 3)
	mustPut(t, c, string(key), "before")
	cluster.Node(1).Stop()
	mustPut(t, c, string(key), "without")
	cluster.Node(1).Start()
	var served atomic.Bool
	cluster.Node(1).SetIntercept(func(_ context.Context, method string, _ any, next func() (any, error)) (any, error) {
		served.Store(served.Load() || method == "Get")
		return next()
	})
	testkit.Eventually(t, long, func() bool {
		_, err := c.Get(t.Context(), 0, key)
		return err == nil && served.Load()
	})
}

func TestAStalledNodeIsLeft(t *testing.T) {
	cluster, c := start(t, 3, withAttemptTimeout(50*time.Millisecond))
	cluster.Node(1).SetIntercept(func(ctx context.Context, _ string, _ any, _ func() (any, error)) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	mustPut(t, c, string(keyOn(1, 3)), "v")
}

func TestAnAttemptGetsMoreTimeWhenTimeWasShort(t *testing.T) {
	const needed = 200 * time.Millisecond
	cluster, c := start(t, 1, withAttemptTimeout(needed/5))
	cluster.Node(0).SetIntercept(func(ctx context.Context, method string, _ any, next func() (any, error)) (any, error) {
		if method == "Batch" {
			select {
			case <-time.After(needed):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return next()
	})
	mustPut(t, c, "k", "v")
}

func TestTheMapIsFollowed(t *testing.T) {
	cluster, c := start(t, 3)
	cluster.ChangeMap(func(m *pb.ClusterMap) {
		m.Nodes = m.Nodes[:2]
		for _, s := range m.Shards {
			s.Replicas = s.Replicas[:2]
		}
	})
	cluster.SetLeader(3, 0)
	testkit.Eventually(t, long, func() bool { return c.Map().GetRevision() == 2 })
	mustPut(t, c, string(keyOn(2, 3)), "v")
}

// messages collects what was logged.
type messages struct {
	mu   sync.Mutex
	text strings.Builder
}

func (m *messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(p)
}

func (m *messages) contain(s string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Contains(m.text.String(), s)
}

func TestTheMapOfAnotherClusterIsRefused(t *testing.T) {
	var log messages
	cluster, c := start(t, 1, func(o *client.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	cluster.ChangeMap(func(m *pb.ClusterMap) { m.ClusterId = "other" })
	testkit.Eventually(t, long, func() bool { return log.contain("another cluster") })
	if c.Map().GetRevision() != 1 {
		t.Errorf("revision %d was taken", c.Map().GetRevision())
	}
}

func TestABrokenMapIsRefused(t *testing.T) {
	var log messages
	cluster, c := start(t, 1, func(o *client.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	cluster.ChangeMap(func(m *pb.ClusterMap) { m.Shards = nil })
	testkit.Eventually(t, long, func() bool { return log.contain("cannot use a cluster map") })
	mustPut(t, c, "k", "v")
}

func TestStatusAsksASeed(t *testing.T) {
	_, c := start(t, 3)
	status, err := c.Status(t.Context())
	if err != nil || len(status.GetNodes()) != 3 {
		t.Fatalf("status: %v, %v", status, err)
	}
}
