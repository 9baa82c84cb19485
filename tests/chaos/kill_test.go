package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/workload"
)

// minAcked is what a phase must acknowledge: a small part of what it does, but far from nothing.
const minAcked = 200

// TestKillingNodesLosesNoAcknowledgedWrite kills the node that leads most shards under 32 writers, then
// all three at once, restarts what is dead, and reads every acknowledged write back.
func TestKillingNodesLosesNoAcknowledgedWrite(t *testing.T) {
	newSeed(t)
	c := cluster.Start(t, cluster.Options{})
	say(t, "three nodes ready after %v", c.ReadyAfter.Round(time.Millisecond))
	w := &workload.Writers{Count: 32, Prefix: "kill", Shard: shardOf(c), Timeout: 2 * time.Second,
		Stores: func(writer int) []workload.Store {
			switch writer % 4 {
			case 0:
				return []workload.Store{&workload.SDK{Client: newClient(t, c, client.Options{})}}
			case 1:
				return grpcStores(t, c, nil)
			default:
				return respStores(c, nil)
			}
		}}
	w.Begin("steady")
	whileRunning(w.Run, func() {
		atLeast(t, "steady", 2*time.Second, minAcked, w.PhaseAcked)
		rounds(func(i int) {
			killLeader(t, c, w)
			killAll(t, c, w)
			endPhase(t, w, "steady again")
			atLeast(t, "steady again", 2*time.Second, minAcked, w.PhaseAcked)
		})
		endPhase(t, w, "end")
	})
	verifyAcknowledged(t, c, w.Acked())
}

func endPhase(t *testing.T, w *workload.Writers, next string) {
	t.Helper()
	done := w.Begin(next)
	say(t, "%v", done)
	if done.Acked < minAcked {
		t.Errorf("phase %q acknowledged %d writes, want at least %d", done.Name, done.Acked, minAcked)
	}
}

func killLeader(t *testing.T, c *cluster.Cluster, w *workload.Writers) {
	leader, shards := c.LeaderOfMost(recovery)
	endPhase(t, w, "leader of most killed")
	leader.Kill()
	for _, s := range shards {
		c.WaitLeaderMoves(s, leader, recovery)
	}
	say(t, "killed %s, leader of shards %v; all of them have other leaders", leader.Name, shards)
	atLeast(t, "leader of most killed", 3*time.Second, minAcked, w.PhaseAcked)
	endPhase(t, w, "it comes back")
	leader.Restart()
	atLeast(t, "it comes back", 2*time.Second, minAcked, w.PhaseAcked)
}

func killAll(t *testing.T, c *cluster.Cluster, w *workload.Writers) {
	endPhase(t, w, "all three killed, restarted")
	c.KillAll()
	start := time.Now()
	c.StartAll(recovery)
	say(t, "all three killed at once; ready again after %v", time.Since(start).Round(time.Millisecond))
	atLeast(t, "all three restarted", 2*time.Second, minAcked, w.PhaseAcked)
}

// verifyAcknowledged reads everything through every node: by a scan, and key by key what the scan did not have.
func verifyAcknowledged(t *testing.T, c *cluster.Cluster, acked map[string]string) {
	t.Helper()
	if len(acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	for _, n := range c.Nodes {
		var found map[string]string
		cluster.Eventually(t, 2*recovery, "a scan through "+n.Name, func() (err error) {
			found, err = scanAll(n, "kill/")
			return err
		})
		missing := 0
		for key, value := range acked {
			got, ok := found[key]
			if ok && got == value {
				continue
			}
			if missing++; missing <= 10 {
				t.Errorf("acknowledged %s is %q (found=%t) in the scan through %s; a read says %s", key, got, ok, n.Name, readOne(n, key))
			}
		}
		say(t, "%d acknowledged writes, %d of them missing in a scan of %d keys through %s", len(acked), missing, len(found), n.Name)
	}
	sampleByRESP(t, c, acked)
}

func sampleByRESP(t *testing.T, c *cluster.Cluster, acked map[string]string) {
	t.Helper()
	left := 1500
	clients := respStores(c, nil)
	for key, value := range acked { // map order is the sample
		store := clients[left%len(clients)].(*workload.RESP)
		cluster.Eventually(t, recovery, "GET "+key+" through RESP", func() error {
			got, err := store.Client.Get(t.Context(), key).Result()
			if err == nil && got != value || errors.Is(err, redis.Nil) {
				t.Errorf("GET %s through RESP: %q, %v", key, got, err)
				err = nil
			}
			return err
		})
		if left--; left == 0 {
			break
		}
	}
	for _, s := range clients {
		s.Close()
	}
}

func scanAll(n *cluster.Node, prefix string) (map[string]string, error) {
	g, err := workload.DialGRPC(n.GRPC, nil)
	if err != nil {
		return nil, err
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := g.KV.Scan(ctx, &pb.ScanRequest{Start: []byte(prefix), End: api.PrefixEnd([]byte(prefix))})
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	last := ""
	for {
		page, err := stream.Recv()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		for _, item := range page.Items {
			if key := string(item.Key); key <= last {
				return found, fmt.Errorf("scan returned %q after %q", key, last)
			}
			last = string(item.Key)
			found[last] = string(item.Value)
		}
	}
}

func readOne(n *cluster.Node, key string) string {
	g, err := workload.DialGRPC(n.GRPC, nil)
	if err != nil {
		return err.Error()
	}
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r, err := g.KV.Get(ctx, &pb.GetRequest{Key: []byte(key)})
	return fmt.Sprintf("%v, %v", r, err)
}
