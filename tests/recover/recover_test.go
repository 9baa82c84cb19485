package recover

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
)

const (
	shards = 4
	// exitRefused is the code with which a node ends that its cluster does not take.
	exitRefused = 5
)

func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), cluster.Binary(t, "lightning-cli"), args...).CombinedOutput()
	return string(out), err
}

func mustCommand(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...)
	if err != nil {
		t.Fatalf("lightning-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func connect(t *testing.T, nodes ...*cluster.Node) *client.Client {
	t.Helper()
	var addresses []string
	for _, n := range nodes {
		addresses = append(addresses, n.GRPC)
	}
	sdk, err := client.New(client.Options{Addresses: addresses, DefaultTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sdk.Close() })
	return sdk
}

// settled waits until all shards have three replicas and nothing is to be done, with so many nodes.
func settled(t *testing.T, at *cluster.Node, nodes int) {
	t.Helper()
	sdk := connect(t, at)
	cluster.Eventually(t, 3*time.Minute, fmt.Sprintf("%d nodes with three replicas of each shard", nodes), func() error {
		return sdk.Admin(t.Context(), func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error {
			s, err := admin.ClusterStatus(ctx, &pb.ClusterStatusRequest{}, o...)
			if err != nil {
				return err
			}
			replicas := 0
			for _, n := range s.Nodes {
				replicas += int(n.Replicas)
			}
			if len(s.Nodes) != nodes || replicas != 3*shards || len(s.UnderReplicated)+len(s.Moving)+len(s.Planned) > 0 {
				return fmt.Errorf("%d nodes, %d replicas, too few %v, moving %v, planned %v", len(s.Nodes), replicas, s.UnderReplicated, s.Moving, s.Planned)
			}
			return nil
		})
	})
}

var planID = regexp.MustCompile(`plan ([0-9a-f]{16}):`)

// plan collects from nodes that are stopped, the first by way of a file, and makes a plan.
func plan(t *testing.T, nodes ...*cluster.Node) (file, id, text string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "plan.json")
	args := []string{"recover", "plan", "--plan", file}
	for i, n := range nodes {
		if i > 0 {
			args = append(args, n.Dir)
			continue
		}
		collected := filepath.Join(dir, "node.json")
		if err := os.WriteFile(collected, []byte(mustCommand(t, "recover", "collect", n.Dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, collected)
	}
	text = mustCommand(t, args...)
	t.Log(text)
	found := planID.FindStringSubmatch(text)
	if found == nil {
		t.Fatal("the plan names no id")
	}
	return file, found[1], text
}

func apply(t *testing.T, n *cluster.Node, file, id string) {
	t.Helper()
	if out, err := command(t, "recover", "apply", "--plan", file, n.Dir); err == nil || !strings.Contains(out, "--accept "+id) {
		t.Fatalf("a plan that is not accepted: %v\n%s", err, out)
	}
	mustCommand(t, "recover", "apply", "--plan", file, "--accept", id, n.Dir)
	mustCommand(t, "recover", "apply", "--plan", file, "--accept", id, n.Dir) // once more does nothing
}

func start(t *testing.T, nodes ...*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		n.Run()
	}
	for _, n := range nodes {
		n.WaitReady(time.Minute)
	}
}

// refused starts a node that must end because its cluster went on without it.
func refused(t *testing.T, n *cluster.Node) {
	t.Helper()
	n.Run()
	if code := n.WaitExit(time.Minute); code != exitRefused || !strings.Contains(n.LogTail(4000), "was recovered as") {
		t.Errorf("%s ends with %d:\n%s", n.Name, code, n.LogTail(4000))
	}
}

// pair are two nodes that together have something of every shard: three nodes out of five cannot all miss the same two.
func pair(t *testing.T, nodes []*cluster.Node) []*cluster.Node {
	t.Helper()
	scratch := filepath.Join(t.TempDir(), "plan.json")
	for i, a := range nodes {
		for _, b := range nodes[:i] {
			out, err := command(t, "recover", "plan", "--plan", scratch, a.Dir, b.Dir)
			if err == nil {
				return []*cluster.Node{a, b}
			}
			if !strings.Contains(out, "nothing is left of the shards") {
				t.Fatalf("plan: %v\n%s", err, out)
			}
		}
	}
	t.Fatal("every pair of nodes misses a shard")
	return nil
}

func others(all, some []*cluster.Node) []*cluster.Node {
	return slices.DeleteFunc(slices.Clone(all), func(n *cluster.Node) bool { return slices.Contains(some, n) })
}

func key(i int) []byte { return fmt.Appendf(nil, "key-%04d", i) }

// TestNothingIsLostThatAnyoneLeftHas: everything is at rest, all nodes stop, three of five are gone for good. The other two have every write of
// the shards of which anything is left, and the cluster grows again with new nodes. A node that was given up and comes back is refused.
func TestNothingIsLostThatAnyoneLeftHas(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Nodes: 5, Args: append([]string{"--shards", fmt.Sprint(shards)}, cluster.Patient...)})
	settled(t, c.Nodes[0], 5)
	sdk := connect(t, c.Nodes...)
	const keys = 200
	for i := range keys {
		if _, err := sdk.Put(t.Context(), 0, key(i), key(i), client.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.KillAll()
	left := pair(t, c.Nodes)
	file, id, _ := plan(t, left...)
	for _, n := range left {
		apply(t, n, file, id)
	}
	start(t, left...)
	sdk = connect(t, left...)
	for i := range keys {
		got, err := sdk.Get(t.Context(), 0, key(i))
		if err != nil || string(got.Value) != string(key(i)) {
			t.Fatalf("%s: %q, %v", key(i), got.Value, err)
		}
	}
	refused(t, others(c.Nodes, left)[0])
	c.Add(2)
	settled(t, left[0], len(left)+2)
	if _, err := sdk.Put(t.Context(), 0, key(keys), key(keys), client.PutOptions{}); err != nil {
		t.Error(err)
	}
}
