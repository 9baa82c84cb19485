package scenarios

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// cli runs lightning-cli against all nodes and wants exit code 0.
func cli(t *testing.T, c *cluster.Cluster, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var addresses []string
	for _, n := range c.Nodes {
		addresses = append(addresses, n.GRPC)
	}
	args = append([]string{"--addr", strings.Join(addresses, ","), "--timeout", "20s"}, args...)
	cmd := exec.CommandContext(ctx, cluster.Binary(t, "lightning-cli"), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("lightning-cli %v: %v\n%s%s", args, err, out, stderr.Bytes())
	}
	return string(out)
}

// exportLines makes the lines of an export in the order of their keys: any bytes, empty values,
// expiries, and two of the largest values.
func exportLines(seed uint64) []string {
	random := rand.New(rand.NewPCG(seed, 0))
	type pair struct {
		key, value []byte
		expires    uint64
	}
	bytesOf := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		b[0] = 0xff // never UTF-8, so that there is one way to write it
		return b
	}
	far := uint64(time.Now().Add(24 * time.Hour).UnixMilli())
	var list []pair
	for i := range 3000 {
		list = append(list, pair{bytesOf(8), bytesOf(1 + random.IntN(200)), 0}, pair{fmt.Appendf(nil, "user:%05d", i), fmt.Appendf(nil, "name %d", i), far + uint64(i)})
	}
	list = append(list, pair{[]byte("empty"), nil, 0}, pair{[]byte("large"), bytesOf(8 << 20), 0}, pair{[]byte("large text"), bytes.Repeat([]byte("x"), 8<<20), far})
	slices.SortFunc(list, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	lines := make([]string, len(list))
	for i, p := range list {
		key, value := fmt.Sprintf(`"key":%q`, p.key), fmt.Sprintf(`"value":%q`, p.value)
		if len(p.key) > 0 && p.key[0] == 0xff {
			key = fmt.Sprintf(`"key_b64":%q`, base64.StdEncoding.EncodeToString(p.key))
		}
		if len(p.value) > 0 && p.value[0] == 0xff {
			value = fmt.Sprintf(`"value_b64":%q`, base64.StdEncoding.EncodeToString(p.value))
		}
		lines[i] = "{" + key + "," + value + "}\n"
		if p.expires > 0 {
			lines[i] = fmt.Sprintf("{%s,%s,\"expires_at_ms\":%d}\n", key, value, p.expires)
		}
	}
	return lines
}

// TestImportAndExportAreTheSameFile imports a file, twice, exports everything and compares.
func TestImportAndExportAreTheSameFile(t *testing.T) {
	const seed = 3
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	lines := exportLines(seed)
	want := strings.Join(lines, "")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	if err := os.WriteFile(in, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	first := cli(t, c, "import", in)
	took := time.Since(began)
	if again := cli(t, c, "import", in, "--if-absent"); !strings.Contains(again, fmt.Sprintf("0 written, %d existing, 0 bad, 0 open", len(lines))) {
		t.Errorf("the second import: %s", again)
	}
	cli(t, c, "export", out)
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("seed %d: %d bytes were exported, %d imported, and they are not the same", seed, len(got), len(want))
	}
	say(t, "%s in %s; %d bytes came back as they were", strings.TrimSpace(first), took.Round(time.Millisecond), len(got))
}

// TestTheCLIShowsAndMeasuresARealCluster runs the verbs that need real nodes.
func TestTheCLIShowsAndMeasuresARealCluster(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	var nodes []struct {
		Name    string
		Answers bool
		Ready   bool
		Version string
	}
	if err := json.Unmarshal([]byte(cli(t, c, "nodes", "-o", "json")), &nodes); err != nil || len(nodes) != 3 {
		t.Fatalf("nodes: %v, %+v", err, nodes)
	}
	for _, n := range nodes {
		if !n.Answers || !n.Ready || n.Version == "" {
			t.Errorf("nodes: %+v", n)
		}
	}
	var shards []struct {
		Leader   string
		Replicas []struct {
			Answers bool
			Role    string
		}
	}
	if err := json.Unmarshal([]byte(cli(t, c, "shards", "-o", "json")), &shards); err != nil || len(shards) != 3 {
		t.Fatalf("shards: %v, %+v", err, shards)
	}
	for _, s := range shards {
		if s.Leader == "" || len(s.Replicas) != 3 || !s.Replicas[0].Answers || s.Replicas[0].Role == "" {
			t.Errorf("shards: %+v", s)
		}
	}
	for name, args := range map[string][]string{
		"by gRPC": nil, "by RESP": {"--redis", c.Nodes[1].RESP, "--pipeline", "8"}, "by RESP in cluster mode": {"--redis", c.Nodes[2].RESPCluster, "--redis-cluster"},
	} {
		for _, workload := range []string{"mixed", "incr"} {
			args := append([]string{"bench", "-o", "json", "--workload", workload, "--count", "2000", "--duration", "3m", "--keys", "200", "--warm-up", "100ms", "--clients", "8", "--ttl", "10m"}, args...)
			var r struct {
				All struct {
					Operations uint64  `json:"operations"`
					PerSecond  float64 `json:"per_second"`
					P50        float64 `json:"p50_ms"`
					P99        float64 `json:"p99_ms"`
				} `json:"all"`
				Errors map[string]uint64 `json:"errors"`
			}
			if err := json.Unmarshal([]byte(cli(t, c, args...)), &r); err != nil {
				t.Fatal(err)
			}
			if r.All.Operations != 2000 || len(r.Errors) > 0 {
				t.Errorf("%s, %s: %+v", name, workload, r)
			}
			say(t, "%s, %s: %.0f/s, p50 %.2f ms, p99 %.2f ms", name, workload, r.All.PerSecond, r.All.P50, r.All.P99)
		}
	}
}
