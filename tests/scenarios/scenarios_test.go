package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

const recovery = 30 * time.Second

// say prints a result at once, also when the test passes: these lines are the evidence of a run.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

func redisClient(t *testing.T, n *cluster.Node) *redis.Client {
	t.Helper()
	r := workload.DialRESP(n.RESP, nil)
	t.Cleanup(r.Close)
	return r.Client
}

func grpcClient(t *testing.T, n *cluster.Node) *workload.GRPC {
	t.Helper()
	g, err := workload.DialGRPC(n.GRPC, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// mustServe checks that every one of nodes takes a write and answers a read by both protocols. It allows the
// time of a failover.
func mustServe(t *testing.T, what string, nodes []*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		key := fmt.Sprintf("serves/%s/%s/%d", what, n.Name, time.Now().UnixNano())
		for _, s := range []workload.Store{workload.DialRESP(n.RESP, nil), grpcClient(t, n)} {
			cluster.Eventually(t, recovery, n.Name+" serves "+what, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				if _, err := s.Perform(ctx, history.Input{Kind: history.Write, Key: key, Value: "v"}); err != nil {
					return err
				}
				out, err := s.Perform(ctx, history.Input{Kind: history.Read, Key: key})
				if err == nil && out.Value != "v" {
					err = fmt.Errorf("read %q", out.Value)
				}
				return err
			})
		}
	}
}

// load writes with few writers in the background until stop is called, and stop returns what was acknowledged.
type load struct {
	*workload.Writers
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func startLoad(t *testing.T, c *cluster.Cluster, writers, valueBytes int, nodes ...*cluster.Node) *load {
	t.Helper()
	return startPacedLoad(t, c, 0, writers, valueBytes, nodes...)
}

// startPacedLoad is startLoad with a pause between two writes of a writer, for runs of many minutes.
func startPacedLoad(t *testing.T, c *cluster.Cluster, pause time.Duration, writers, valueBytes int, nodes ...*cluster.Node) *load {
	t.Helper()
	table := c.Table()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, Writers: &workload.Writers{Count: writers, Prefix: fmt.Sprintf("load/%d", time.Now().UnixNano()), Timeout: 5 * time.Second, Pause: pause,
		Padding: strings.Repeat("x", valueBytes),
		Shard:   func(key string) uint64 { return uint64(table.ShardOf(router.Slot(0, []byte(key))).ID) },
		Stores: func(int) []workload.Store {
			var out []workload.Store
			for _, n := range nodes {
				out = append(out, workload.DialRESP(n.RESP, nil))
			}
			return out
		}}}
	l.Begin("load")
	l.done.Go(func() { l.Run(ctx) })
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) stop() map[string]string {
	l.cancel()
	l.done.Wait()
	return l.Acked()
}

// verify reads every acknowledged write back through n and returns how many are missing, which fails the test.
func verify(t *testing.T, n *cluster.Node, acked map[string]string) (missing int) {
	t.Helper()
	client, keys := redisClient(t, n), slices.Collect(maps.Keys(acked))
	for chunk := range slices.Chunk(keys, 200) {
		for i, got := range readKeys(t, client, chunk) {
			if want := acked[chunk[i]]; got.Err() != nil || got.Val() != want {
				if missing++; missing <= 5 {
					t.Errorf("acknowledged %s through %s: %d bytes instead of %d, %v", chunk[i], n.Name, len(got.Val()), len(want), got.Err())
				}
			}
		}
	}
	say(t, "%d acknowledged writes read back through %s, %d missing", len(acked), n.Name, missing)
	return missing
}

// readKeys reads many keys in one pipeline. A key that is not there is an answer; everything else is asked for again.
func readKeys(t *testing.T, client *redis.Client, keys []string) (answers []*redis.StringCmd) {
	t.Helper()
	cluster.Eventually(t, recovery, "reads are answered", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		pipe := client.Pipeline()
		answers = answers[:0]
		for _, key := range keys {
			answers = append(answers, pipe.Get(ctx, key))
		}
		_, _ = pipe.Exec(ctx) // the error of one of them
		for _, a := range answers {
			if err := a.Err(); err != nil && !errors.Is(err, redis.Nil) {
				return err
			}
		}
		return nil
	})
	return answers
}
