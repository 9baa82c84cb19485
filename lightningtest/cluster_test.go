package lightningtest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/lightningtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAClusterServesWhenStartReturns(t *testing.T) {
	begun := time.Now()
	cluster := lightningtest.Start(t, 3)
	ready := time.Since(begun)
	db := cluster.Client(t)
	for i := range 20 {
		key := fmt.Appendf(nil, "key-%d", i)
		if _, err := db.Put(t.Context(), 0, key, key, client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ready after %v, 20 writes after %v", ready.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
}

func TestAClusterOutlivesAKilledNode(t *testing.T) {
	cluster := lightningtest.Start(t, 3)
	db := cluster.Client(t)
	key := []byte("counter")
	count := func(want int64) {
		t.Helper()
		if n, err := db.Increment(t.Context(), 0, key, 1); err != nil || n != want {
			t.Fatalf("increment: %d, %v; want %d", n, err, want)
		}
	}
	count(1)
	leader := cluster.Leader(string(key))
	begun := time.Now()
	cluster.KillNode(leader)
	count(2)
	t.Logf("counted %v after the leader was killed", time.Since(begun).Round(time.Millisecond))
	if next := cluster.Leader(string(key)); next == leader {
		t.Errorf("node %d still leads", next)
	}
	cluster.StartNode(leader)
	cluster.StopNode((leader + 1) % 3)
	count(3)
}

func TestCachesAreClearedAndFillAgain(t *testing.T) {
	cluster := lightningtest.Start(t, 1)
	db := cluster.Client(t)
	const keys = 500
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }
	for i := range keys {
		if _, err := db.Put(t.Context(), 0, key(i), key(i), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cluster.StopNode(0) // what it holds is in tables from then on
	cluster.StartNode(0)
	for round := range 2 {
		for i := range keys {
			if item, err := db.Get(t.Context(), 0, key(i)); err != nil || string(item.Value) != string(key(i)) {
				t.Fatalf("round %d: key %d has %q, %v", round, i, item.Value, err)
			}
		}
		cleared, err := db.ClearCaches(t.Context())
		if err != nil || cleared.NodeId == "" || cleared.RowBytes < keys*10 {
			t.Fatalf("round %d: cleared %v, %v", round, cleared, err)
		}
	}
}

func TestClustersOfOneProcessAreApart(t *testing.T) {
	for _, name := range []string{"one", "other"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := lightningtest.StartWith(t, lightningtest.Options{Nodes: 1, Shards: 2})
			db := cluster.Client(t)
			if n, err := db.Increment(t.Context(), 0, []byte("count"), 1); err != nil || n != 1 {
				t.Errorf("increment: %d, %v", n, err)
			}
			for db.Map() == nil { // it comes by itself, and an increment may be faster
				if _, err := db.Get(t.Context(), 0, []byte("count")); err != nil {
					t.Fatal(err)
				}
			}
			if shards := len(db.Map().GetShards()); shards != 2 {
				t.Errorf("%d shards", shards)
			}
		})
	}
}

func TestRedisAndHTTPAreServed(t *testing.T) {
	cluster := lightningtest.Start(t, 1)
	for _, address := range append(cluster.RedisAddresses(), cluster.RedisClusterAddresses()...) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 7)
		_, writeErr := conn.Write([]byte("PING\r\n"))
		_, readErr := io.ReadFull(conn, answer)
		if err := errors.Join(writeErr, readErr, conn.Close()); err != nil || string(answer) != "+PONG\r\n" {
			t.Errorf("%s: %q, %v", address, answer, err)
		}
	}
	for _, address := range cluster.HTTPAddresses() {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
}
