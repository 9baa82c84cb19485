package life

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

const (
	sdkWorkers   = 8
	redisWorkers = 8
	// drainPatience is what a request may take: nothing here waits for an election.
	drainPatience = 30 * time.Second
)

var drains = flag.Int("life.drains", 0, "how many of three nodes are drained and restarted in turn")

// unfailing are clients whose requests must not fail.
type unfailing struct {
	t       *testing.T
	done    atomic.Int64
	mu      sync.Mutex
	slowest time.Duration
}

// run puts and gets a key of the worker's own until ctx ends.
func (u *unfailing) run(ctx context.Context, name string, put func(key, value string) error, get func(key string) (string, error)) {
	for i := 0; ctx.Err() == nil; i++ {
		key, value := fmt.Sprintf("%s-%d", name, i%50), fmt.Sprint(i)
		began := time.Now()
		if err := put(key, value); err != nil {
			u.t.Errorf("%s: put: %v", name, err)
			return
		}
		got, err := get(key)
		if err != nil || got != value {
			u.t.Errorf("%s: %s is %q, %q was put: %v", name, key, got, value, err)
			return
		}
		u.done.Add(2)
		u.mu.Lock()
		u.slowest = max(u.slowest, time.Since(began))
		u.mu.Unlock()
		cluster.Wait(ctx, time.Millisecond)
	}
}

// more waits until so many requests more were answered.
func (u *unfailing) more(count int64) {
	u.t.Helper()
	want := u.done.Load() + count
	cluster.Eventually(u.t, recovery, "requests are answered", func() error {
		if u.t.Failed() {
			u.t.FailNow()
		}
		if n := u.done.Load(); n < want {
			return fmt.Errorf("%d of %d", n, want)
		}
		return nil
	})
}

// TestEveryNodeIsDrainedAndRestartedAndNoRequestFails, through the SDK and through go-redis' client of clusters, both of
// which know every node.
func TestEveryNodeIsDrainedAndRestartedAndNoRequestFails(t *testing.T) {
	if *drains == 0 {
		t.Skip("it takes most of a minute: make life runs it, or -life.drains")
	}
	f := newFleet(t, 6, cluster.Options{Args: cluster.Patient})
	f.awaitEven(3)
	sdk := f.client(client.Options{DefaultTimeout: drainPatience})
	var seeds []string
	for _, n := range f.Nodes {
		seeds = append(seeds, n.RESPCluster)
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: seeds, ReadTimeout: drainPatience, WriteTimeout: drainPatience})
	t.Cleanup(func() { _ = rdb.Close() })
	ctx, stop := context.WithCancel(context.Background())
	u := &unfailing{t: t}
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	for i := range sdkWorkers {
		working.Go(func() {
			u.run(ctx, fmt.Sprint("sdk-", i), func(key, value string) error {
				_, err := sdk.Put(context.Background(), 0, []byte(key), []byte(value), client.PutOptions{})
				return err
			}, func(key string) (string, error) {
				item, err := sdk.Get(context.Background(), 0, []byte(key))
				return string(item.Value), err
			})
		})
	}
	for i := range redisWorkers {
		working.Go(func() {
			u.run(ctx, fmt.Sprint("redis-", i), func(key, value string) error {
				return rdb.Set(context.Background(), key, value, 0).Err()
			}, func(key string) (string, error) { return rdb.Get(context.Background(), key).Result() })
		})
	}
	u.more(1000)
	for i := range min(*drains, len(f.Nodes)) {
		n := f.Nodes[len(f.Nodes)-1-i]
		f.order("node", "drain", n.Name)
		f.awaitLeads(n, 0)
		u.more(200)
		if code := n.Stop(); code != 0 {
			t.Errorf("%s ended with code %d", n.Name, code)
		}
		u.more(200)
		n.Restart()
		f.order("node", "undrain", n.Name)
		u.more(200)
		if i+1 < *drains {
			f.awaitEven(3)
		}
	}
	stop()
	working.Wait()
	say(t, "%d of 3 nodes drained, restarted and taken back in turn beside %d clients of the SDK and %d of go-redis: %d requests, none failed unless the test did; a put and a get took %s at most",
		*drains, sdkWorkers, redisWorkers, u.done.Load(), u.slowest.Round(time.Millisecond))
}

var errLeads = errors.New("it leads")

// awaitLeads waits until a node leads so many shards, as the others say.
func (f *fleet) awaitLeads(n *cluster.Node, count uint32) {
	f.t.Helper()
	cluster.Eventually(f.t, recovery, fmt.Sprintf("%s leads %d shards", n.Name, count), func() error {
		s, err := f.status()
		if err != nil {
			return err
		}
		for _, other := range s.Nodes {
			if other.Name == n.Name && other.Leaders != count {
				return fmt.Errorf("%w: %s", errLeads, brief(s))
			}
		}
		return nil
	})
}
