package life

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

// writer counts and puts keys one after the other.
type writer struct {
	id                int
	answered, unknown int64
	put               int
}

func (w *writer) run(ctx context.Context, c *client.Client) {
	counter := fmt.Appendf(nil, "counter-%d", w.id)
	for ctx.Err() == nil {
		_, err := c.Increment(context.Background(), 0, counter, 1)
		switch {
		case err == nil:
			w.answered++
		case errors.Is(err, api.ErrUnknownOutcome):
			w.unknown++
		}
		if _, err := c.Put(context.Background(), 0, w.key(w.put), w.key(w.put), client.PutOptions{}); err == nil {
			w.put++
		}
	}
}

func (w *writer) key(i int) []byte { return fmt.Appendf(nil, "key-%d-%d", w.id, i) }

// check is invariant LF1.
func (w *writer) check(t *testing.T, c *client.Client) {
	value, err := c.Increment(t.Context(), 0, fmt.Appendf(nil, "counter-%d", w.id), 0)
	if err != nil || value < w.answered || value > w.answered+w.unknown {
		t.Errorf("counter %d is %d (%v), %d increments were answered and %d are unknown", w.id, value, err, w.answered, w.unknown)
	}
	for i := range w.put {
		if v, err := c.Get(t.Context(), 0, w.key(i)); err != nil || string(v.Value) != string(w.key(i)) {
			t.Fatalf("%s is %q: %v", w.key(i), v.Value, err)
		}
	}
}

// state is what lightning-cli cluster status -o json says, as far as the test looks at it.
type state struct {
	Nodes []struct {
		Name     string `json:"name"`
		State    string `json:"state"`
		Replicas int    `json:"replicas"`
		Leads    int    `json:"leads"`
	} `json:"nodes"`
	UnderReplicated []uint64          `json:"under_replicated"`
	Silent          []uint64          `json:"silent"`
	Moving          []json.RawMessage `json:"moving"`
	Planned         []string          `json:"planned"`
	Blocked         []string          `json:"blocked"`
}

func cli(ctx context.Context, t *testing.T, c *cluster.Cluster, args ...string) ([]byte, error) {
	args = append([]string{"--addr", c.Nodes[0].GRPC, "--timeout", "10s", "-o", "json"}, args...)
	out, err := exec.CommandContext(ctx, cluster.Binary(t, "lightning-cli"), args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("lightning-cli %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

// awaitEven waits until count nodes hold everything evenly and nothing moves.
func awaitEven(t *testing.T, c *cluster.Cluster, count, shards int) {
	t.Helper()
	began := time.Now()
	cluster.Eventually(t, 3*time.Minute, fmt.Sprintf("%d nodes that hold everything evenly", count), func() error {
		out, err := cli(t.Context(), t, c, "cluster", "status")
		if err != nil {
			return err
		}
		var s state
		if err := json.Unmarshal(out, &s); err != nil {
			return err
		}
		total := 0
		for _, n := range s.Nodes {
			total += n.Replicas
			if n.Replicas > 3*shards/count+2 {
				return fmt.Errorf("%s holds %d replicas: %s", n.Name, n.Replicas, out)
			}
		}
		if len(s.Nodes) != count || total != 3*shards || len(s.UnderReplicated)+len(s.Silent)+len(s.Moving)+len(s.Planned) > 0 {
			return fmt.Errorf("not yet: %s", out)
		}
		return nil
	})
	t.Logf("%d nodes are even after %s", count, time.Since(began).Round(10*time.Millisecond))
}

// TestAClusterGrowsAndShrinksUnderWriters goes from three nodes to five and back.
func TestAClusterGrowsAndShrinksUnderWriters(t *testing.T) {
	const shards = 6
	c := cluster.Start(t, cluster.Options{Args: append([]string{"--shards", fmt.Sprint(shards)}, cluster.Patient...)})
	sdk, err := client.New(client.Options{Addresses: []string{c.Nodes[0].GRPC, c.Nodes[1].GRPC}, DefaultTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sdk.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var writing sync.WaitGroup
	writers := make([]*writer, 4)
	for i := range writers {
		writers[i] = &writer{id: i}
		writing.Go(func() { writers[i].run(ctx, sdk) })
	}
	began := time.Now()
	added := c.Add(2)
	awaitEven(t, c, 5, shards)
	for _, n := range added {
		if _, err := cli(t.Context(), t, c, "node", "decommission", n.Name); err != nil {
			t.Error(err)
		}
	}
	awaitEven(t, c, 3, shards)
	stop()
	t.Logf("ready after %s, all even %s later", c.ReadyAfter.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	writing.Wait()
	for _, n := range added {
		n.Stop()
		n.Run()
		if code := n.WaitExit(time.Minute); code == 0 {
			t.Errorf("%s was decommissioned and starts again", n.Name)
		}
	}
	for _, w := range writers {
		w.check(t, sdk)
		t.Logf("writer %d: %d increments, %d unknown, %d keys", w.id, w.answered, w.unknown, w.put)
	}
}
