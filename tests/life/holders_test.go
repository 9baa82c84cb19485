package life

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

// holdersState is what lightning-cli cluster status says of who holds the map.
type holdersState struct {
	Master  string            `json:"master"`
	Nodes   []holderNode      `json:"nodes"`
	Moving  []json.RawMessage `json:"moving"`
	Planned []string          `json:"planned"`
}

type holderNode struct {
	Name     string `json:"name"`
	Replicas int    `json:"replicas"`
	HoldsMap bool   `json:"holds_map"`
}

func order(ctx context.Context, t *testing.T, at *cluster.Node, args ...string) ([]byte, error) {
	args = append([]string{"--addr", at.GRPC, "--timeout", "10s", "-o", "json"}, args...)
	out, err := exec.CommandContext(ctx, cluster.Binary(t, "lightning-cli"), args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("lightning-cli %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return out, nil
}

// awaitHolders waits until the cluster has so many nodes and holders, nothing moves, and reports the state that at tells.
func awaitHolders(t *testing.T, at *cluster.Node, nodes, holders int, further func(holdersState) error) (s holdersState) {
	t.Helper()
	began := time.Now()
	cluster.Eventually(t, 3*time.Minute, fmt.Sprintf("%d nodes of which %d hold the map", nodes, holders), func() error {
		out, err := order(t.Context(), t, at, "cluster", "status")
		if err != nil {
			return err
		}
		s = holdersState{}
		if err := json.Unmarshal(out, &s); err != nil {
			return err
		}
		hold := 0
		for _, n := range s.Nodes {
			if n.HoldsMap {
				hold++
			}
		}
		if len(s.Nodes) != nodes || hold != holders || len(s.Moving)+len(s.Planned) > 0 {
			return fmt.Errorf("not yet: %s", out)
		}
		return further(s)
	})
	t.Logf("%d nodes, %d holders after %s", nodes, holders, time.Since(began).Round(10*time.Millisecond))
	return s
}

func anyState(holdersState) error { return nil }

// TestTheMapOutlivesAllWhoFoundedIt: a cluster grows, its founders leave one by one, and then it still elects a master, takes a new
// node in and gives it replicas. A founder that comes back is refused, and a node that was away finds the holders.
func TestTheMapOutlivesAllWhoFoundedIt(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: append([]string{"--shards", "3"}, cluster.Patient...)})
	founders := slices.Clone(c.Nodes)
	added := c.Add(3)
	last := added[2]
	awaitHolders(t, last, 6, 5, anyState)
	sdk, err := client.New(client.Options{Addresses: []string{added[0].GRPC, added[1].GRPC}, DefaultTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sdk.Close() }()
	put := func(key string) {
		t.Helper()
		if _, err := sdk.Put(t.Context(), 0, []byte(key), []byte(key), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	for i, n := range founders {
		if _, err := order(t.Context(), t, last, "node", "decommission", n.Name); err != nil {
			t.Fatal(err)
		}
		awaitHolders(t, last, 5-i, []int{5, 3, 3}[i], anyState)
		if code := n.Stop(); code != 0 {
			t.Errorf("%s ends with %d", n.Name, code)
		}
	}
	put("after")
	masterOf := func(name string) *cluster.Node {
		return added[slices.IndexFunc(added, func(n *cluster.Node) bool { return n.Name == name })]
	}
	first := awaitHolders(t, last, 3, 3, anyState).Master
	killed := masterOf(first)
	killed.Kill()
	asked := added[(slices.Index(added, killed)+1)%len(added)]
	awaitHolders(t, asked, 3, 3, func(s holdersState) error {
		if s.Master == first || s.Master == "" {
			return fmt.Errorf("the master is %q", s.Master)
		}
		return nil
	})
	killed.Run()
	killed.WaitReady(time.Minute)
	joined := c.Add(1)[0]
	awaitHolders(t, joined, 4, 3, func(s holdersState) error {
		for _, n := range s.Nodes {
			if n.Name == joined.Name && n.Replicas == 0 {
				return fmt.Errorf("%s holds nothing", n.Name)
			}
		}
		return nil
	})
	for _, key := range []string{"before", "after"} {
		if v, err := sdk.Get(t.Context(), 0, []byte(key)); err != nil || string(v.Value) != key {
			t.Errorf("%s is %q: %v", key, v.Value, err)
		}
	}
	founders[0].Run()
	if code := founders[0].WaitExit(time.Minute); code == 0 {
		t.Errorf("%s was decommissioned and starts again", founders[0].Name)
	}
}

// TestADeadHolderOfTheMapIsReplaced: another node gets its place after the limit, the dead one finds when it is back that it holds the
// map no more and deletes its replica, and the map outlives the death of a further holder.
func TestADeadHolderOfTheMapIsReplaced(t *testing.T) {
	if !*dead {
		t.Skip("it takes a minute: make life runs it, or -life.dead")
	}
	c := cluster.Start(t, cluster.Options{Nodes: 4, Args: append([]string{"--shards", "3", "--replace-dead-after", deadAfter.String()}, cluster.Patient...)})
	holds := func(s holdersState, n *cluster.Node) bool {
		return slices.ContainsFunc(s.Nodes, func(x holderNode) bool { return x.Name == n.Name && x.HoldsMap })
	}
	before := awaitHolders(t, c.Nodes[0], 4, 3, anyState)
	victim := c.Nodes[slices.IndexFunc(c.Nodes, func(n *cluster.Node) bool { return holds(before, n) })]
	spare := c.Nodes[slices.IndexFunc(c.Nodes, func(n *cluster.Node) bool { return !holds(before, n) })]
	victim.Kill()
	replaced := func(s holdersState) error {
		if holds(s, victim) || !holds(s, spare) {
			return fmt.Errorf("%s has not the place of %s: %v", spare.Name, victim.Name, s.Nodes)
		}
		return nil
	}
	awaitHolders(t, spare, 4, 3, replaced)
	victim.Restart()
	cluster.Eventually(t, time.Minute, "the replica that was replaced is deleted", func() error {
		left, err := filepath.Glob(filepath.Join(victim.Dir, "meta", "*"))
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there is %v", left)
		}
		return err
	})
	awaitHolders(t, spare, 4, 3, replaced)
	second := c.Nodes[slices.IndexFunc(c.Nodes, func(n *cluster.Node) bool { return n != victim && n != spare })]
	second.Kill()
	awaitHolders(t, spare, 4, 3, func(s holdersState) error {
		if holds(s, second) {
			return fmt.Errorf("%s is dead and holds the map", second.Name)
		}
		return nil
	})
}
