package life

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/tests/cluster"
)

const (
	// recovery is ten times what a node takes to be up again, or a shard to serve again.
	recovery = time.Minute
	// evenWithin bounds a wait for everything to be even; each shard adds evenPerShard.
	evenWithin   = 2 * time.Minute
	evenPerShard = 8 * time.Second
	// exitRefused is the code with which a node ends that its cluster does not take.
	exitRefused = 5
)

// fleet is a cluster that grows and shrinks.
type fleet struct {
	*cluster.Cluster
	t      *testing.T
	shards int
	sdk    *client.Client // for orders and questions
	killed int
}

func newFleet(t *testing.T, shards int, o cluster.Options) *fleet {
	t.Helper()
	o.Args = append([]string{"--shards", fmt.Sprint(shards)}, o.Args...)
	f := &fleet{Cluster: cluster.Start(t, o), t: t, shards: shards}
	f.sdk = f.client(client.Options{DefaultTimeout: 5 * time.Second})
	return f
}

// client is an SDK client that knows the founders, which stay.
func (f *fleet) client(o client.Options) *client.Client {
	f.t.Helper()
	for _, n := range f.Nodes[:3] {
		o.Addresses = append(o.Addresses, n.GRPC)
	}
	sdk, err := client.New(o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = sdk.Close() })
	return sdk
}

// status is what the master says.
func (f *fleet) status() (s *pb.ClusterStatusResponse, err error) {
	err = f.sdk.Admin(f.t.Context(), func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) (err error) {
		s, err = admin.ClusterStatus(ctx, &pb.ClusterStatusRequest{}, o...)
		return err
	})
	return s, err
}

// order runs lightning-cli against a founder that runs, until it succeeds: a master that was killed has a successor soon.
func (f *fleet) order(args ...string) {
	f.t.Helper()
	cluster.Eventually(f.t, recovery, "lightning-cli "+strings.Join(args, " "), func() error {
		at := slices.IndexFunc(f.Nodes[:3], (*cluster.Node).Running)
		command := append([]string{"--addr", f.Nodes[max(at, 0)].GRPC, "--timeout", "10s"}, args...)
		out, err := exec.CommandContext(f.t.Context(), cluster.Binary(f.t, "lightning-cli"), command...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

// within reports whether a number is near a share: by one, or by a tenth.
func within(number uint32, share float64) bool {
	return math.Abs(float64(number)-share) <= max(1, share/10)
}

// notEven says what keeps so many nodes from holding and leading everything evenly with nothing left to do.
func (f *fleet) notEven(count int) error {
	s, err := f.status()
	if err != nil {
		return err
	}
	if len(s.Nodes) != count || len(s.UnderReplicated)+len(s.Silent)+len(s.Moving)+len(s.Planned)+len(s.Blocked) > 0 {
		return fmt.Errorf("not yet: %s", brief(s))
	}
	replicas, leaders := 0, 0
	for _, n := range s.Nodes {
		replicas, leaders = replicas+int(n.Replicas), leaders+int(n.Leaders)
		if !n.Alive || !within(n.Replicas, float64(3*f.shards)/float64(count)) || !within(n.Leaders, float64(f.shards)/float64(count)) {
			return fmt.Errorf("%s does not have its share: %s", n.Name, brief(s))
		}
	}
	if replicas != 3*f.shards || leaders != f.shards {
		return fmt.Errorf("%d replicas and %d leaders: %s", replicas, leaders, brief(s))
	}
	return nil
}

// brief is a status in a few lines.
func brief(s *pb.ClusterStatusResponse) string {
	var b strings.Builder
	for _, n := range s.Nodes {
		fmt.Fprintf(&b, "%s %d/%d alive %t %s; ", n.Name, n.Replicas, n.Leaders, n.Alive, strings.ToLower(strings.TrimPrefix(n.State.String(), "NODE_STATE_")))
	}
	fmt.Fprintf(&b, "too few %v, silent %v, moving %v, planned %q, blocked %q", s.UnderReplicated, s.Silent, s.Moving, s.Planned, s.Blocked)
	return b.String()
}

// balance says how many replicas and leaders each node has, and what the mean of all nodes is.
func (f *fleet) balance() string {
	s, err := f.status()
	if err != nil {
		return err.Error()
	}
	var each []string
	replicas, leaders := 0, 0
	for _, n := range s.Nodes {
		each = append(each, fmt.Sprintf("%s %d/%d", n.Name, n.Replicas, n.Leaders))
		replicas, leaders = replicas+int(n.Replicas), leaders+int(n.Leaders)
	}
	slices.Sort(each)
	count := float64(max(1, len(each)))
	return fmt.Sprintf("replicas/leaders %s, mean %.1f/%.1f", strings.Join(each, ", "), float64(replicas)/count, float64(leaders)/count)
}

// awaitEven waits until so many nodes hold everything evenly, and returns how long that took.
func (f *fleet) awaitEven(count int) time.Duration {
	f.t.Helper()
	began := time.Now()
	limit := evenWithin + time.Duration(f.shards)*evenPerShard
	cluster.Eventually(f.t, limit, fmt.Sprintf("%d nodes that hold everything evenly", count), func() error { return f.notEven(count) })
	return time.Since(began)
}

// awaitMoves waits until something moves that choose likes, and returns what it chose; nil if everything is even before.
func (f *fleet) awaitMoves(count int, choose func(*pb.ClusterStatusResponse) string) (chosen *cluster.Node) {
	f.t.Helper()
	cluster.Eventually(f.t, evenWithin, "something moves", func() error {
		if f.notEven(count) == nil {
			return nil
		}
		s, err := f.status()
		if err != nil {
			return err
		}
		if len(s.Moving) == 0 {
			return fmt.Errorf("nothing moves: %s", brief(s))
		}
		id := choose(s)
		for _, n := range s.Nodes {
			at := slices.IndexFunc(f.Nodes, func(x *cluster.Node) bool { return x.Name == n.Name })
			if n.NodeId == id && at >= 0 && f.Nodes[at].Running() {
				chosen = f.Nodes[at]
				return nil
			}
		}
		return fmt.Errorf("%s is no node that runs: %s", id, brief(s))
	})
	return chosen
}

func theMaster(s *pb.ClusterStatusResponse) string { return s.MasterId }
func aMover(s *pb.ClusterStatusResponse) string    { return s.Moving[0].NodeId }

// killOne kills a node, kill -9, while something moves towards count nodes, and starts it again.
func (f *fleet) killOne(count int, choose func(*pb.ClusterStatusResponse) string) {
	f.t.Helper()
	n := f.awaitMoves(count, choose)
	if n == nil {
		return
	}
	n.Kill()
	f.killed++
	n.Run()
	// A node that is being decommissioned may leave the map meanwhile, and is refused.
	cluster.Eventually(f.t, recovery, n.Name+" is ready again, or refused", func() error {
		if !n.Running() {
			if code := n.WaitExit(recovery); code != exitRefused {
				f.t.Fatalf("%s ended with code %d: %s", n.Name, code, n.LogTail(2000))
			}
			return nil
		}
		return n.Ready(f.t.Context())
	})
}

// replace takes the volume of a node away for good, and a new node takes its name.
func (f *fleet) replace(n *cluster.Node) {
	f.t.Helper()
	n.Kill()
	if err := os.RemoveAll(n.Dir); err != nil {
		f.t.Fatal(err)
	}
	f.order("node", "replace", n.Name)
	n.Restart()
}

// retire decommissions nodes, waits until the others have everything, with kills in between, and stops them.
func (f *fleet) retire(nodes []*cluster.Node, left int, kills ...func(*pb.ClusterStatusResponse) string) time.Duration {
	f.t.Helper()
	began := time.Now()
	for _, n := range nodes {
		f.order("node", "decommission", n.Name)
	}
	for _, choose := range kills {
		f.killOne(left, choose)
	}
	f.awaitEven(left)
	took := time.Since(began)
	for _, n := range nodes {
		if n.Running() {
			n.Stop()
		}
	}
	return took
}

// refused starts a node that left the cluster, and expects that it is not taken.
func (f *fleet) refused(n *cluster.Node) {
	f.t.Helper()
	n.Run()
	if code := n.WaitExit(recovery); code != exitRefused {
		f.t.Errorf("%s was decommissioned, starts again and ends with code %d: %s", n.Name, code, n.LogTail(1000))
	}
}

// say prints a figure at once, also when the test passes.
func say(t *testing.T, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "    %s: %s\n", t.Name(), fmt.Sprintf(format, args...))
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func seedOf(t *testing.T) uint64 { return uint64(testkit.Seed(t)) }
