package lightningtest_test

import (
	"context"
	"encoding/hex"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	otel "go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/lightningtest"
)

// collector is a collector of traces in this process.
type collector struct {
	address string

	// mu is a leaf.
	mu    sync.Mutex
	spans []*tracepb.Span
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{address: "http://" + listener.Addr().String()}
	server := grpc.NewServer(grpc.UnknownServiceHandler(c.export))
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // it ends with Stop
	}()
	t.Cleanup(func() { server.Stop(); <-served })
	return c
}

// export is the only method of the service.
func (c *collector) export(_ any, stream grpc.ServerStream) error {
	var m tracepb.TracesData
	if err := stream.RecvMsg(&m); err != nil {
		return err
	}
	c.mu.Lock()
	for _, r := range m.ResourceSpans {
		for _, s := range r.ScopeSpans {
			c.spans = append(c.spans, s.Spans...)
		}
	}
	c.mu.Unlock()
	return stream.SendMsg(&emptypb.Empty{})
}

func (c *collector) all() []*tracepb.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

func text(s *tracepb.Span, name string) string {
	for _, a := range s.Attributes {
		if a.Key == "lightning."+name {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// request waits for the trace of a request and all its spans of the given names, and returns the spans by name.
func (c *collector) request(t *testing.T, is func(*tracepb.Span) bool, names ...string) map[string]*tracepb.Span {
	t.Helper()
	var found map[string]*tracepb.Span
	testkit.Eventually(t, time.Minute, func() bool {
		spans := c.all()
		for _, root := range spans {
			if root.Name != "request" || !is(root) {
				continue
			}
			found = map[string]*tracepb.Span{}
			for _, s := range spans {
				if string(s.TraceId) == string(root.TraceId) {
					found[s.Name] = s
				}
			}
			if !slices.ContainsFunc(names, func(name string) bool { return found[name] == nil }) {
				return true
			}
		}
		return false
	}, "no trace has %v; the last one found: %v", names, found)
	return found
}

// wantChain fails unless each span is the child of the one before.
func wantChain(t *testing.T, spans map[string]*tracepb.Span, names ...string) {
	t.Helper()
	for i := 1; i < len(names); i++ {
		parent, child := spans[names[i-1]], spans[names[i]]
		if string(child.ParentSpanId) != string(parent.SpanId) {
			t.Errorf("%q is no child of %q", names[i], names[i-1])
		}
		if child.EndTimeUnixNano < child.StartTimeUnixNano || child.StartTimeUnixNano < parent.StartTimeUnixNano {
			t.Errorf("%q: from %d to %d, its parent from %d on", names[i], child.StartTimeUnixNano, child.EndTimeUnixNano, parent.StartTimeUnixNano)
		}
	}
}

func ofListener(listener, verb string) func(*tracepb.Span) bool {
	return func(s *tracepb.Span) bool { return text(s, "listener") == listener && text(s, "verb") == verb }
}

// follower is a node that does not lead the shard of a key.
func follower(c *lightningtest.Cluster, key string, nodes int) int {
	return (c.Leader(key) + 1) % nodes
}

var written = []string{"request", "forward", "serve apply", "propose", "log sync", "commit wait", "apply"}

func wantWrite(t *testing.T, spans map[string]*tracepb.Span) {
	t.Helper()
	wantChain(t, spans, "request", "forward", "serve apply", "propose", "log sync")
	wantChain(t, spans, "propose", "commit wait")
	wantChain(t, spans, "propose", "apply")
}

// TestAWriteIsOneTraceThroughTheNodesItPasses, whichever protocol it comes by.
func TestAWriteIsOneTraceThroughTheNodesItPasses(t *testing.T) {
	const nodes, key, secret = 3, "some-key", "some-value"
	traces := startCollector(t)
	c := lightningtest.StartWith(t, lightningtest.Options{Nodes: nodes, Shards: 1, Flags: []string{"--trace-endpoint=" + traces.address, "--trace-sample=1"}})
	at := follower(c, key, nodes)

	r := dialRedis(t, c.RedisAddresses()[at])
	r.send("SET", key, secret)
	if reply := r.reply(); reply != "+OK" {
		t.Fatalf("SET: %s", reply)
	}
	spans := traces.request(t, ofListener("resp", "set"), written...)
	wantWrite(t, spans)
	if len(spans["request"].ParentSpanId) != 0 {
		t.Error("a request by Redis has a parent")
	}

	r.send("GET", key)
	if reply := r.reply(); reply != secret {
		t.Fatalf("GET: %s", reply)
	}
	spans = traces.request(t, ofListener("resp", "get"), "request", "forward", "serve get", "read index", "engine read")
	wantChain(t, spans, "request", "forward", "serve get", "read index")
	wantChain(t, spans, "serve get", "engine read")

	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	putByHTTP(t, "http://"+c.HTTPAddresses()[at]+"/v1/kv/"+key, secret, "00-"+trace+"-"+parent+"-01")
	spans = traces.request(t, ofListener("http", "put"), written...)
	wantWrite(t, spans)
	wantParent(t, spans["request"], trace, parent)

	for _, s := range traces.all() {
		if shown := s.String(); strings.Contains(shown, key) || strings.Contains(shown, secret) {
			t.Errorf("a span shows a key or a value: %s", shown)
		}
	}
}

func wantParent(t *testing.T, s *tracepb.Span, trace, parent string) {
	t.Helper()
	if hex.EncodeToString(s.TraceId) != trace || hex.EncodeToString(s.ParentSpanId) != parent {
		t.Errorf("the request is in trace %x below %x, not in %s below %s", s.TraceId, s.ParentSpanId, trace, parent)
	}
}

func putByHTTP(t *testing.T, url, value, traceparent string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("traceparent", traceparent)
	request.Header.Set("Content-Type", "application/octet-stream")
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("put by HTTP: %s", response.Status)
	}
}

// TestTheSDKHandsTheTraceOfItsCallerOn by a stream and by a call of its own, and what the caller does not sample is in no trace,
// also if every request without a parent were.
func TestTheSDKHandsTheTraceOfItsCallerOn(t *testing.T) {
	traces := startCollector(t)
	c := lightningtest.StartWith(t, lightningtest.Options{Flags: []string{"--trace-endpoint=" + traces.address, "--trace-sample=1"}})
	db := c.Client(t)
	sampled, unsampled := callerOf(t, 1, otel.FlagsSampled), callerOf(t, 2, 0)
	if _, err := db.Put(unsampled, 0, []byte("a"), []byte("1"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Put(sampled, 0, []byte("b"), []byte("2"), client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	long := make([]byte, 300<<10) // too long for a stream
	if _, err := db.Put(sampled, 0, []byte("c"), long, client.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	of := otel.SpanContextFromContext(sampled).TraceID()
	testkit.Eventually(t, time.Minute, func() bool {
		requests := 0
		for _, s := range traces.all() {
			if s.Name == "request" && string(s.TraceId) == string(of[:]) {
				requests++
			}
		}
		return requests == 2
	}, "the requests of a caller who is traced are not in its trace")
	unseen := otel.SpanContextFromContext(unsampled).TraceID()
	for _, s := range traces.all() {
		if string(s.TraceId) == string(unseen[:]) {
			t.Errorf("a span of a trace that its caller does not keep: %s", s.Name)
		}
	}
}

// callerOf is the context of a program that is traced.
func callerOf(t *testing.T, id byte, flags otel.TraceFlags) context.Context {
	t.Helper()
	return otel.ContextWithSpanContext(t.Context(), otel.NewSpanContext(otel.SpanContextConfig{
		TraceID: otel.TraceID{id}, SpanID: otel.SpanID{id}, TraceFlags: flags,
	}))
}

// TestNothingIsTracedUnasked: with a sampling of 0 the first span is of a request whose sender wants it.
func TestNothingIsTracedUnasked(t *testing.T) {
	traces := startCollector(t)
	c := lightningtest.StartWith(t, lightningtest.Options{Flags: []string{"--trace-endpoint=" + traces.address, "--trace-sample=0"}})
	r := dialRedis(t, c.RedisAddresses()[0])
	for range 100 {
		r.send("SET", "k", "v")
		r.reply()
	}
	url := "http://" + c.HTTPAddresses()[0] + "/v1/kv/k"
	putByHTTP(t, url, "v", "00-00000000000000000000000000000001-0000000000000001-00")
	putByHTTP(t, url, "v", "00-00000000000000000000000000000002-0000000000000001-01")
	traces.request(t, ofListener("http", "put"), "request", "propose", "apply")
	for _, s := range traces.all() {
		if s.TraceId[15] != 2 {
			t.Errorf("a span %q of a trace that nobody asked for", s.Name)
		}
	}
}

// TestACollectorThatHangsHoldsNobodyUp, neither requests nor the end of a node.
func TestACollectorThatHangsHoldsNobodyUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // connections stay in its queue
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := lightningtest.StartWith(t, lightningtest.Options{Flags: []string{"--trace-endpoint=http://" + listener.Addr().String(), "--trace-sample=1"}})
	r := dialRedis(t, c.RedisAddresses()[0])
	for range 1000 {
		r.send("SET", "k", "v")
	}
	for range 1000 {
		if reply := r.reply(); reply != "+OK" {
			t.Fatalf("SET: %s", reply)
		}
	}
	c.StopNode(0) // fails if it takes too long
}
