package chaos

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/workload"
)

var (
	duration = flag.Duration("chaos.duration", 0, "repeat the faults of each scenario for this long; 0 is one short round")
	seedFlag = flag.Uint64("chaos.seed", 0, "seed of operations and faults; 0 chooses one")
)

// newSeed returns the seed of this run and prints how to repeat it.
func newSeed(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -chaos.seed=%d", seed)
	return seed
}

// say prints a result at once, also when the test passes: these lines are the evidence of a run.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

// recovery is how long a cluster may take from a fault, or from its end, to normal work. It is far above the
// failover's bar, because two busy cores are not a benchmark; the gaps are printed.
const recovery = 30 * time.Second

// newClient makes an SDK client that knows all nodes.
func newClient(t *testing.T, c *cluster.Cluster, o client.Options) *client.Client {
	t.Helper()
	for _, n := range c.Nodes {
		o.Addresses = append(o.Addresses, n.GRPC)
	}
	sdk, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return sdk
}

// stores makes one store per node by gRPC, RESP, or both in turn.
func grpcStores(t *testing.T, c *cluster.Cluster, dial workload.Dial) []workload.Store {
	var out []workload.Store
	for _, n := range c.Nodes {
		s, err := workload.DialGRPC(n.GRPC, dial)
		if err != nil {
			t.Error(err)
			continue
		}
		out = append(out, s)
	}
	return out
}

func respStores(c *cluster.Cluster, dial workload.Dial) []workload.Store {
	var out []workload.Store
	for _, n := range c.Nodes {
		out = append(out, workload.DialRESP(n.RESP, dial))
	}
	return out
}

// shardOf names the shard of a key by the map as it is now; shards do not move in these tests.
func shardOf(c *cluster.Cluster) func(key string) uint64 {
	table := c.Table()
	return func(key string) uint64 { return uint64(table.ShardOf(router.Slot(0, []byte(key))).ID) }
}

// whileRunning runs work in the background while script runs, then ends it and waits for it.
func whileRunning(work func(ctx context.Context), script func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); work(ctx) }()
	defer func() { cancel(); <-done }() // also when script fails the test, which ends its goroutine
	script()
}

// atLeast waits until d has passed and count has grown by n since the call; it fails the test after d plus recovery.
func atLeast(t *testing.T, what string, d time.Duration, n int, count func() int) {
	t.Helper()
	before := count()
	cluster.Wait(t.Context(), d)
	cluster.Eventually(t, recovery, fmt.Sprintf("%d acknowledged operations in phase %q", n, what), func() error {
		if got := count() - before; got < n {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
}

// rounds calls round once, or until -chaos.duration has passed.
func rounds(round func(i int)) {
	start := time.Now()
	for i := 0; i == 0 || time.Since(start) < *duration; i++ {
		round(i)
	}
}
