package http

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type probes struct{ alive, ready error }

func start(t *testing.T) (*probes, *Metrics, string, *http.Client) {
	t.Helper()
	p := &probes{}
	metrics := NewMetrics("v1", "node-1", func() []*pb.ReplicaStatus {
		return []*pb.ReplicaStatus{
			{ShardId: 1, Role: "leader", LeaderId: "node-1", Term: 3, CommitIndex: 10, AppliedIndex: 9, DurableIndex: 8, DiskBytes: 4096},
			{ShardId: 2, Role: "follower", Term: 5},
		}
	})
	s := New(Options{
		Alive: func() error { return p.alive }, Ready: func() error { return p.ready }, Metrics: metrics,
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p, metrics, "http://" + ln.Addr().String(), client
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestProbesSayWhy(t *testing.T) {
	p, _, url, client := start(t)
	for _, path := range []string{"/livez", "/readyz"} {
		if code, body := get(t, client, url+path); code != 200 || body != "ok\n" {
			t.Fatal(path, code, body)
		}
	}
	p.ready = errors.New("shard 2 has no leader")
	if code, body := get(t, client, url+"/readyz"); code != 503 || body != "shard 2 has no leader\n" {
		t.Fatal(code, body)
	}
	if code, _ := get(t, client, url+"/livez"); code != 200 {
		t.Fatal("a node that is not ready is not dead")
	}
	p.alive = errors.New("fsync failed")
	if code, body := get(t, client, url+"/livez"); code != 503 || body != "fsync failed\n" {
		t.Fatal(code, body)
	}
	if code, _ := get(t, client, url+"/nosuch"); code != 404 {
		t.Fatal(code)
	}
	res, err := client.Post(url+"/livez", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 405 {
		t.Fatal(res.Status)
	}
}

func TestMetricsShowTheNode(t *testing.T) {
	_, metrics, url, client := start(t)
	metrics.Request("resp", "get", "", 3*time.Millisecond)
	metrics.Request("grpc", "put", api.CodeUnknownOutcome, time.Second)
	metrics.Request("grpc", "put", "SOMETHING_NEWER", time.Second)
	metrics.Forwarded("apply", "")
	code, body := get(t, client, url+"/metrics")
	if code != 200 {
		t.Fatal(code)
	}
	for _, want := range []string{
		`lightning_build_info{node_id="node-1",version="v1"} 1`,
		`lightning_requests_total{op="get",outcome="ok",protocol="resp"} 1`,
		`lightning_requests_total{op="put",outcome="UNKNOWN_OUTCOME",protocol="grpc"} 1`,
		`lightning_requests_total{op="put",outcome="INTERNAL",protocol="grpc"} 1`,
		`lightning_request_seconds_count{op="put",protocol="grpc"} 2`,
		`lightning_forwarded_total{op="apply",outcome="ok"} 1`,
		`lightning_shards_led 1`, `lightning_shards_held 2`,
		`lightning_raft_term{shard="1"} 3`, `lightning_raft_commit_index{shard="1"} 10`, `lightning_raft_applied_index{shard="1"} 9`,
		`lightning_raft_has_leader{shard="2"} 0`, `lightning_engine_disk_bytes{shard="1"} 4096`,
		`go_goroutines `, `process_resident_memory_bytes `,
	} {
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(want)).MatchString(body) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestAHeaderThatIsTooLongIsRefused(t *testing.T) {
	_, _, url, client := start(t)
	req, err := http.NewRequest(http.MethodGet, url+"/livez", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X", strings.Repeat("x", 64<<10))
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Fatal(res.Status)
	}
}

// TestOneSourceDoesNotTakeAllConnections: connections that send nothing are few, also without TLS.
func TestOneSourceDoesNotTakeAllConnections(t *testing.T) {
	_, _, url, client := start(t)
	address := strings.TrimPrefix(url, "http://")
	const most = 1_000
	for range most {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("connection %d is kept: %v", most+1, err)
	}
	elsewhere := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}
	client.Transport = elsewhere
	if code, _ := get(t, client, url+"/livez"); code != http.StatusOK {
		t.Fatal(code)
	}
}
