package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/tests/cluster"
)

// The markers stand for what users do not want in logs. No other text contains them.
const (
	markedKey      = "kx7markerkey"
	markedValue    = "vx7markervalue"
	markedPassword = "px7markerpassword"
)

// TestLogsHoldNoKeysValuesOrPasswords sends marked keys, values and passwords through every face,
// in requests that succeed and in requests that fail, while nodes come and go, and looks for them
// in all that the nodes print at the level debug.
func TestLogsHoldNoKeysValuesOrPasswords(t *testing.T) {
	secure := cluster.NewSecure(t, cluster.NewAuthority(t))
	c := cluster.Start(t, cluster.Options{Secure: secure, Args: []string{"--log-level", "debug", "--log-format", "json"}})
	statuses := map[int]int{}
	for _, n := range c.Nodes {
		markByRESP(t, secure, n, secure.Password)
		markByGRPC(t, n, secure.DialOptions())
		markByHTTP(t, secure, n, secure.Password, statuses)
	}
	if statuses[http.StatusOK] == 0 || statuses[http.StatusBadRequest] == 0 || statuses[http.StatusNotFound] == 0 {
		t.Errorf("requests by HTTP had the statuses %v, want some of each kind", statuses)
	}
	c.Nodes[2].Kill()
	markByRESP(t, secure, c.Nodes[0], secure.Password)
	markByGRPC(t, c.Nodes[1], secure.DialOptions())
	// Wrong passwords come last: who guesses too often is refused without being heard.
	clear(statuses)
	for _, n := range c.Nodes[:2] {
		markByHTTP(t, secure, n, markedPassword, statuses)
		markByRESP(t, secure, n, markedPassword)
		markByGRPC(t, n, append(secure.DialOptions()[:1:1], grpc.WithPerRPCCredentials(cluster.Bearer(markedPassword))))
	}
	if statuses[http.StatusUnauthorized] == 0 || statuses[http.StatusOK] > 0 {
		t.Errorf("requests by HTTP with a wrong password had the statuses %v", statuses)
	}
	c.Nodes[2].Restart()
	c.WaitReady(recovery)
	c.StopAll()
	lines := 0
	for _, n := range c.Nodes {
		text, err := os.ReadFile(n.Log)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{markedKey, markedValue, markedPassword, secure.Password, strings.TrimSpace(string(secure.GossipA))} {
			if at := bytes.Index(text, []byte(secret)); at >= 0 {
				t.Errorf("%s logs %q: %q", n.Name, secret, text[max(at-300, 0):min(at+100, len(text))])
			}
		}
		lines += allJSON(t, n, text)
	}
	if lines < 30 {
		t.Errorf("only %d lines were logged: the test looks at the wrong place", lines)
	}
	say(t, "%d lines of logs, none with a marker", lines)
}

// allJSON counts the lines of a log and reports those that are no JSON objects. The harness itself
// writes a line that begins with --- for each start.
func allJSON(t *testing.T, n *cluster.Node, text []byte) int {
	count := 0
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("--- ")) {
			continue
		}
		count++
		var object map[string]any
		if json.Unmarshal(line, &object) != nil || object["msg"] == nil || object["level"] == nil {
			t.Errorf("%s printed a line that is not structured: %.300q", n.Name, line)
		}
	}
	return count
}

// markByRESP sends commands on both Redis ports. Most of them fail: errors are what gets logged.
func markByRESP(t *testing.T, secure *cluster.Secure, n *cluster.Node, password string) {
	for _, address := range []string{n.RESP, n.RESPCluster} {
		r := redis.NewClient(&redis.Options{Addr: address, Password: password, TLSConfig: secure.TLS(), MaxRetries: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		for i := range 20 {
			r.Set(ctx, fmt.Sprintf("%s:%d", markedKey, i), markedValue, 0)
		}
		for _, command := range [][]any{
			{"GET", markedKey}, {"INCR", markedKey}, {"SET", markedKey, markedValue, "NX", "XX"}, {markedKey, markedValue}, {"MSET", markedKey, markedValue, "other", markedValue},
			{"EXPIRE", markedKey, markedValue}, {"SCAN", "0", "MATCH", markedKey + "*"}, {"CLIENT", "SETNAME", markedValue},
			{"CONFIG", "SET", markedKey, markedValue}, {"EVAL", markedValue, "1", markedKey}, {"HSET", markedKey, markedKey, markedValue}, {"SELECT", markedKey},
		} {
			r.Do(ctx, command...) // the answer does not matter
		}
		cancel()
		_ = r.Close()
	}
}

func markByGRPC(t *testing.T, n *cluster.Node, options []grpc.DialOption) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := cluster.Dial(n.GRPC, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	kv := pb.NewKVClient(conn)
	for i := range 10 {
		_, _ = kv.Put(ctx, &pb.PutRequest{Key: fmt.Appendf(nil, "%s:%d", markedKey, i), Value: []byte(markedValue)})
	}
	_, _ = kv.Get(ctx, &pb.GetRequest{Key: []byte(markedKey), Namespace: 7})
	_, _ = kv.Increment(ctx, &pb.IncrementRequest{Key: []byte(markedKey)})
	_, _ = kv.Put(ctx, &pb.PutRequest{Key: bytes.Repeat([]byte(markedKey), 1<<13), Value: []byte(markedValue)})
	_, _ = kv.Batch(ctx, &pb.BatchRequest{Ops: []*pb.Op{{Kind: 99, Key: []byte(markedKey), Value: []byte(markedValue)}}})
}

func markByHTTP(t *testing.T, secure *cluster.Secure, n *cluster.Node, password string, statuses map[int]int) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure.TLS()}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for _, r := range []struct{ method, path string }{
		{"PUT", "/v1/kv/" + markedKey}, {"GET", "/v1/kv/" + markedKey}, {"POST", "/v1/incr/" + markedKey}, {"PUT", "/v1/kv/" + markedKey + "?ttl_ms=" + markedValue},
		{"GET", "/v1/scan?prefix=" + markedKey}, {"GET", "/" + markedKey}, {"PATCH", "/v1/kv/" + markedKey}, {"GET", "/v1/kv?" + markedKey + "=" + markedValue},
	} {
		body := "" // of others it would be refused before the key is looked at
		if r.method == http.MethodPut {
			body = markedValue
		}
		request, err := http.NewRequestWithContext(t.Context(), r.method, "https://"+n.HTTP+r.path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+password)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		statuses[response.StatusCode]++
	}
}
