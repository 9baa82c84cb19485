package lightningtest_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/lightningtest"
	"github.com/lightning-db/lightning/router"
)

// BenchmarkSDK compares calls by the SDK, which go many in a message, with a gRPC call for each. The
// nodes run in the benchmark's process, so its allocations and CPU time are those of all of them and
// of the clients together.
func BenchmarkSDK(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		c := lightningtest.Start(b, nodes)
		paths := map[string]path{"stream": bySDK(c.Client(b)), "unary": byCalls(b, c)}
		for _, op := range []string{"get", "put"} {
			for _, clients := range []int{64, 256} {
				for _, name := range []string{"unary", "stream"} {
					b.Run(fmt.Sprintf("nodes=%d/op=%s/clients=%d/path=%s", nodes, op, clients, name), func(b *testing.B) {
						measure(b, clients, paths[name], op == "put")
					})
				}
			}
		}
	}
}

// BenchmarkForwarded has every write go to a node that does not lead its shard, and be passed on.
func BenchmarkForwarded(b *testing.B) {
	c := lightningtest.StartWith(b, lightningtest.Options{Nodes: 3, Shards: 1})
	leader := c.Leader("bench/0")
	conn := dial(b, c.Addresses()[(leader+1)%3])
	p := path{put: func(ctx context.Context, key, value []byte) error {
		_, err := conn.Put(ctx, &pb.PutRequest{Key: key, Value: value})
		return err
	}}
	for _, clients := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) { measure(b, clients, p, true) })
	}
}

func dial(b *testing.B, address string) pb.KVClient {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return pb.NewKVClient(conn)
}

// path is one way to a cluster.
type path struct {
	put func(ctx context.Context, key, value []byte) error
	get func(ctx context.Context, key []byte) error
}

func bySDK(db *client.Client) path {
	return path{
		put: func(ctx context.Context, key, value []byte) error {
			_, err := db.Put(ctx, 0, key, value, client.PutOptions{})
			return err
		},
		get: func(ctx context.Context, key []byte) error {
			_, err := db.Get(ctx, 0, key)
			return err
		},
	}
}

// byCalls knows the leader of every key, as the SDK does.
func byCalls(b *testing.B, c *lightningtest.Cluster) path {
	var nodes []pb.KVClient
	for _, address := range c.Addresses() {
		nodes = append(nodes, dial(b, address))
	}
	leaders := make(map[string]pb.KVClient)
	byShard := make(map[int]pb.KVClient)
	for n := range benchKeys {
		key := string(benchKey(n))
		shard := int(router.Slot(0, []byte(key))) * len(nodes) / api.SlotCount
		if byShard[shard] == nil {
			byShard[shard] = nodes[c.Leader(key)]
		}
		leaders[key] = byShard[shard]
	}
	return path{
		put: func(ctx context.Context, key, value []byte) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, err := leaders[string(key)].Put(ctx, &pb.PutRequest{Key: key, Value: value})
			return err
		},
		get: func(ctx context.Context, key []byte) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			_, err := leaders[string(key)].Get(ctx, &pb.GetRequest{Key: key})
			return err
		},
	}
}

const (
	benchKeys       = 2000
	benchValueBytes = 256
)

func benchKey(n int) []byte { return []byte("bench/" + strconv.Itoa(n)) }

// measure has clients call side by side, and reports the CPU time of a call.
func measure(b *testing.B, clients int, p path, write bool) {
	value := make([]byte, benchValueBytes)
	if !write {
		fill(b, clients, p, value)
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime()
	for range clients {
		workers.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				var err error
				if key := benchKey(int(n*7919) % benchKeys); write {
					err = p.put(context.Background(), key, value)
				} else {
					err = p.get(context.Background(), key)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-before).Nanoseconds())/float64(b.N)/1000, "cpu-us/op")
}

// fill writes every key.
func fill(b *testing.B, clients int, p path, value []byte) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range clients {
		workers.Go(func() {
			for n := next.Add(1); n <= benchKeys; n = next.Add(1) {
				if err := p.put(b.Context(), benchKey(int(n-1)), value); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// cpuTime is what the process has used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
