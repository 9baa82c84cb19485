package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell runs command lines against a cluster inside the test.
type shell struct {
	cluster   *fakecluster.Cluster
	dir       string
	stdin     string
	terminal  bool
	variables map[string]string
}

// do runs one command line and shows what a person would see.
func (s *shell) do(args ...string) string {
	var stdout, stderr bytes.Buffer
	env := environment{
		args: args, stdin: strings.NewReader(s.stdin), stdout: &stdout, stderr: &stderr, terminal: s.terminal,
		lookup: func(name string) (string, bool) { v, ok := s.variables[name]; return v, ok },
	}
	if s.cluster != nil {
		env.dial = s.cluster.Dial
	}
	code := run(context.Background(), env)
	out := stdout.String()
	if out != "" && !strings.HasSuffix(out, "\n") {
		out += "<no line feed>\n"
	}
	for line := range strings.Lines(stderr.String()) {
		out += "stderr: " + line
	}
	if code != exitOK {
		out += fmt.Sprintf("exit %d\n", code)
	}
	if s.dir == "" {
		return out
	}
	return strings.ReplaceAll(out, s.dir, "DIR")
}

// The scripts in testdata know:
//
//	cluster nodes=N        starts a cluster, which replaces the one before
//	stdin                  the block is the standard input of the commands after it
//	file name=F            writes the block to a file in DIR
//	terminal on=BOOL       whether stdout is a terminal
//	refuse code=C          makes every node answer writes with an error; empty stops that
//	cli                    runs the block's lines; '..' quotes, DIR is a directory
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &shell{dir: t.TempDir(), variables: map[string]string{}}
		t.Cleanup(func() { s.start(0) })
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.step(t, d) })
	})
}

func (s *shell) step(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "cluster":
		var nodes int
		d.ScanArgs(t, "nodes", &nodes)
		s.start(nodes)
	case "stdin":
		s.stdin = d.Input
	case "file":
		var name string
		d.ScanArgs(t, "name", &name)
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(d.Input), 0o600); err != nil {
			t.Fatal(err)
		}
	case "terminal":
		d.ScanArgs(t, "on", &s.terminal)
	case "refuse":
		var code string
		d.MaybeScanArgs(t, "code", &code)
		s.refuse(api.Code(code))
	case "cli":
		var out strings.Builder
		for line := range strings.Lines(d.Input) {
			out.WriteString(s.do(words(strings.ReplaceAll(line, "DIR", s.dir))...))
		}
		return out.String()
	default:
		t.Fatalf("unknown step %s", d.Cmd)
	}
	return ""
}

func (s *shell) start(nodes int) {
	if s.cluster != nil {
		s.cluster.Close()
		s.cluster = nil
	}
	if nodes > 0 {
		s.cluster = fakecluster.New(nodes)
		s.variables[addressVariable] = strings.Join(s.cluster.Addresses(), ",")
	}
}

func (s *shell) refuse(code api.Code) {
	for i := range s.cluster.Addresses() {
		if code == "" {
			s.cluster.Node(i).SetIntercept(nil)
			continue
		}
		s.cluster.Node(i).SetIntercept(func(_ context.Context, method string, _ any, next func() (any, error)) (any, error) {
			if method == "Batch" || method == "Get" || method == "Upload" || method == "Download" {
				return nil, api.Errorf(code, "refused by the test")
			}
			return next()
		})
	}
}

// words splits a line at spaces; '..' quotes and \n, \x00 and the like in it are escapes.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(strings.TrimSpace(line), "'") {
		if i%2 == 1 {
			out = append(out, strings.NewReplacer(`\n`, "\n", `\xff`, "\xff", `\t`, "\t").Replace(part))
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func TestEveryErrorHasAnExitCode(t *testing.T) {
	want := map[api.Code]int{
		api.CodeInvalid: 2, api.CodeTooLarge: 2, api.CodeCrossShard: 2, api.CodeNotInteger: 4,
		api.CodeNotLeader: 5, api.CodeStaleMap: 5, api.CodeUnavailable: 5, api.CodeNotReady: 5, api.CodeOverloaded: 5,
		api.CodeExpired: 5, api.CodeStoreFailed: 5, api.CodeShuttingDown: 5,
		api.CodeNotFloat: 4, api.CodeOverflow: 4, api.CodeNotFound: 3, api.CodeUnauthorized: 7, api.CodeDenied: 7, api.CodeTooStale: 5,
		api.CodeUnknownOutcome: 6, api.CodeReleased: 6, api.CodeSnapshotTooOld: 5, api.CodePartsMissing: 5, api.CodeInternal: 1,
	}
	for _, row := range api.Table {
		code, listed := want[row.Code]
		if !listed {
			t.Errorf("%s is not in this test", row.Code)
		}
		if got := exitCodeOf(row.Code); got != code {
			t.Errorf("%s: exit code %d, want %d", row.Code, got, code)
		}
	}
}

func TestNobodyListeningIsUnavailable(t *testing.T) {
	s := &shell{cluster: fakecluster.New(1)}
	s.cluster.Close()
	got := s.do("get", "k", "--addr", "node-0:8379", "--timeout", "100ms")
	for _, want := range []string{"connection refused", "next: retry", "exit 5"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q does not mention %q", got, want)
		}
	}
}

func TestNoCommandIsWrongUsage(t *testing.T) {
	s := &shell{}
	if got := s.do(); !strings.Contains(got, "no command given") || !strings.Contains(got, "exit 2") {
		t.Errorf("got %q", got)
	}
}

func TestRetriesEndInTheExitCodeOfWhatIsKnown(t *testing.T) {
	s := &shell{cluster: fakecluster.New(1)}
	defer s.cluster.Close()
	s.refuse(api.CodeUnavailable)
	if got := s.do("get", "k", "--addr", "node-0:8379", "--timeout", "100ms"); !strings.Contains(got, "exit 5") {
		t.Errorf("get without a majority: %q", got)
	}
	s.refuse(api.CodeUnknownOutcome)
	got := s.do("put", "k", "v", "--addr", "node-0:8379", "--timeout", "100ms")
	if !strings.Contains(got, "may or may not have been executed") || !strings.Contains(got, "exit 6") {
		t.Errorf("put with an unknown outcome: %q", got)
	}
}

func TestALargeInputIsRefusedBeforeItIsRead(t *testing.T) {
	s := &shell{cluster: fakecluster.New(1), stdin: strings.Repeat("x", api.MaxValueBytes+1)}
	defer s.cluster.Close()
	got := s.do("put", "k", "-", "--addr", "node-0:8379")
	if !strings.Contains(got, strconv.Itoa(api.MaxValueBytes)+" bytes") || !strings.Contains(got, "exit 2") {
		t.Errorf("got %q", got)
	}
}

func TestVersionNamesTheProgram(t *testing.T) {
	s := &shell{}
	if got := s.do("version"); !strings.HasPrefix(got, "lightning-cli ") {
		t.Errorf("got %q", got)
	}
	if got := s.do("version", "--output", "json"); !strings.HasPrefix(got, `{"version":`) {
		t.Errorf("got %q", got)
	}
	if got := s.do("completion", "bash"); !strings.Contains(got, "lightning-cli") {
		t.Errorf("completion: %q", got)
	}
}

func TestStatusOfANodeWithoutAMap(t *testing.T) {
	v := viewOf(&pb.StatusResponse{Name: "n", Version: "v", NotReadyReason: "waiting for 2 of 3 nodes"})
	var out bytes.Buffer
	a := &app{environment: environment{stdout: &out}}
	if err := a.printStatus(v); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NOT READY: waiting for 2 of 3 nodes", "no cluster map"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q does not mention %q", out.String(), want)
		}
	}
}

func TestStatusSaysWhichShardsLostTheirMajority(t *testing.T) {
	nodes := []nodeView{{Name: "a", Liveness: "alive"}, {Name: "b", Liveness: "dead"}, {Name: "c", Liveness: "left"}, {Name: "d", Liveness: "suspect"}}
	v := view{Nodes: nodes, Shards: []shardView{
		{ID: 1, Replicas: []string{"a", "b", "d"}},
		{ID: 2, Replicas: []string{"a", "b", "c"}},
		{ID: 3, Replicas: []string{"a", "b"}},
	}}
	if got := tolerance(v); !strings.Contains(got, "2 of 3 shards (2, 3)") {
		t.Errorf("got %q", got)
	}
	v.Shards = v.Shards[:1]
	if got := tolerance(v); !strings.HasPrefix(got, "NO FAILURE: if one more") {
		t.Errorf("got %q", got)
	}
}

func TestShardsShowTheLeaderAndThePreferredOne(t *testing.T) {
	r := report{asked: &pb.StatusResponse{
		Map: &pb.ClusterMap{
			Nodes:  []*pb.Node{{Id: "1", Name: "ash"}, {Id: "2", Name: "oak"}},
			Shards: []*pb.Shard{{Id: 7, EndSlot: 16384, Epoch: 1, Replicas: []*pb.Replica{{NodeId: "2"}, {NodeId: "1"}}}},
		},
		Leaders: []*pb.ShardLeader{{ShardId: 7, NodeId: "1"}},
	}}
	var out bytes.Buffer
	a := &app{environment: environment{stdout: &out}}
	if err := a.printShards(shardsOf(r)); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(out.String(), "\n"); strings.Join(strings.Fields(lines[1])[:6], " ") != "7 0-16383 1 ash oak oak" {
		t.Errorf("the text is\n%s", out.String())
	}
	out.Reset()
	a.output = "json"
	if err := a.printShards(shardsOf(r)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"leader":"ash","preferred_leader":"oak"`) {
		t.Errorf("the JSON is %s", out.String())
	}
}

// TestAnExplanationOfAShardReadsLikeThis, for people and for programs.
func TestAnExplanationOfAShardReadsLikeThis(t *testing.T) {
	v := explanationOf(&pb.ExplainShardResponse{
		ShardId: 7, StartSlot: 0, EndSlot: 8192, Want: 3, ZoneLimit: 1, DiskBytes: 3 << 20, LeaderId: "A", LeaderWhy: "one leads as it should",
		Places: []*pb.ShardPlace{
			{NodeId: "A", Name: "one", Zone: "a", Holds: true, Claim: 1, Replicas: 4, Least: 3, Most: 5, LoadPercent: 120, Why: "one of the 3 strongest claims"},
			{NodeId: "X", Holds: true, Why: "stays until another one takes its place: the node is lost"},
			{NodeId: "C", Name: "three", Claim: 2, Replicas: 3, Least: 3, Most: 5, LoadPercent: 80, Why: "holds its share: 3 replicas"},
		},
		Next: "three gets a replica of shard 7 instead of X: the node is dead", Waiting: []string{"shard 7 waits until fewer replicas are made at once"},
	})
	for output, want := range map[string]string{
		"text": `shard 7, slots 0-8191, 3.0 MiB: 3 replicas wanted, at most 1 in a zone
NODE   ZONE  REPLICA  CLAIM  HOLDS    LOAD   WHY
one    a     yes      1      4 (3-5)  120 %  one of the 3 strongest claims
X      -     yes      -      -        -      stays until another one takes its place: the node is lost
three  -     no       2      3 (3-5)  80 %   holds its share: 3 replicas
leader: one leads as it should
next: three gets a replica of shard 7 instead of X: the node is dead
waiting: shard 7 waits until fewer replicas are made at once
`,
		"json": `"leader":"one"`,
	} {
		var out bytes.Buffer
		if err := (&app{environment: environment{stdout: &out}, output: output}).printExplanation(v); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); output == "text" && got != want || !strings.Contains(strings.ReplaceAll(got, ": ", ":"), want) && output == "json" {
			t.Errorf("%s:\n%s", output, got)
		}
	}
}

// TestShardsShowReplicasThatAreStopped, also one that the map does not give to its node any more.
func TestShardsShowReplicasThatAreStopped(t *testing.T) {
	asked := &pb.StatusResponse{Map: &pb.ClusterMap{
		Nodes:  []*pb.Node{{Id: "1", Name: "ash"}, {Id: "2", Name: "oak"}},
		Shards: []*pb.Shard{{Id: 7, EndSlot: 16384, Epoch: 1, Replicas: []*pb.Replica{{NodeId: "1"}}}},
	}}
	r := report{asked: asked, said: map[string]*pb.StatusResponse{
		"1": {Replicas: []*pb.ReplicaStatus{{ShardId: 7, Role: "stopped", Trouble: "nothing of it is there"}}},
		"2": {Replicas: []*pb.ReplicaStatus{{ShardId: 7, Role: "follower", AppliedIndex: 9, Trouble: "the map does not list it"}}},
	}}
	var out bytes.Buffer
	a := &app{environment: environment{stdout: &out}}
	if err := a.printShards(shardsOf(r)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ash      stopped", "shard 7 on ash: nothing of it is there\n", "oak      follower", "shard 7 on oak: the map does not list it\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestClusterStatusShowsTheVersions(t *testing.T) {
	var out bytes.Buffer
	a := &app{environment: environment{stdout: &out}}
	err := a.printCluster(clusterOf(&pb.ClusterStatusResponse{
		MasterId: "1", ClusterVersion: 3, Nodes: []*pb.NodeSummary{{NodeId: "1", Name: "ash", NewestClusterVersion: 4}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "ash active no, for 0s 0 0 - 4 -" || !strings.Contains(out.String(), "\ncluster version: 3\n") {
		t.Errorf("the text is\n%s", out.String())
	}
}
