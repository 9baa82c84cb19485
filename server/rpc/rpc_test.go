package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a KV that answers what the test tells it to.
type recorder struct {
	item   api.Item
	result api.Result
	items  []api.Item
	err    error
	panics bool

	found []api.Item // what Read answers, if not nil
	apply func(context.Context) error

	query server.Query
	batch api.Batch
	rng   api.Range

	put    server.Put
	value  []byte // of the put
	whole  bool   // all of it came
	early  bool   // answer before it comes
	taken  atomic.Int64
	failed atomic.Bool
	open   *server.Value // what OpenValue answers
}

func (r *recorder) OpenValue(_ context.Context, q server.Query) (*server.Value, error) {
	r.query = q
	return r.open, r.err
}

func (r *recorder) Read(_ context.Context, q server.Query) ([]api.Item, error) {
	if r.panics {
		panic("bug")
	}
	r.query = q
	if r.err != nil {
		return nil, r.err
	}
	if r.found != nil {
		return r.found, nil
	}
	return slices.Repeat([]api.Item{r.item}, len(q.Keys)), nil
}

func (r *recorder) Apply(ctx context.Context, b api.Batch) (api.Result, error) {
	r.batch = b
	if r.apply != nil {
		return api.Result{}, r.apply(ctx)
	}
	return r.result, r.err
}

// Run is Read and Apply for each request.
func (r *recorder) Run(ctx context.Context, t *server.Turn) {
	for i := range t.Requests {
		q := &t.Requests[i]
		q.Done = true
		if q.Ops[0].Kind != api.OpGet {
			var result api.Result
			result, q.Err = r.Apply(ctx, api.Batch{Ops: q.Ops, Request: q.ID, Independent: !q.Atomic})
			q.Results, q.Applied, q.FailedOp, q.Version = result.Ops, result.Applied, result.FailedOp, result.Version
			continue
		}
		query := server.Query{MaxStaleness: q.MaxStaleness}
		for _, op := range q.Ops {
			query.Keys = append(query.Keys, op.Key)
		}
		var items []api.Item
		items, q.Err = r.Read(ctx, query)
		for _, item := range items {
			q.Results = append(q.Results, api.OpResult{
				Applied: true, Existed: item.Found, Previous: item.Value, PreviousVersion: item.Version, PreviousExpiry: item.ExpiryMillis,
			})
		}
	}
}

func (r *recorder) Home(*server.Request) (api.ShardID, bool) { return 1, true }

func (r *recorder) ScanShort(_ context.Context, rng api.Range, _ uint64) iter.Seq2[api.Item, error] {
	r.rng = rng
	return func(yield func(api.Item, error) bool) {
		if r.panics {
			panic("bug")
		}
		for _, item := range r.items {
			if !yield(item, nil) {
				return
			}
		}
		if r.err != nil {
			yield(api.Item{}, r.err)
		}
	}
}

// state is the View and the Status of a node.
type state struct {
	mu      sync.Mutex
	current *pb.ClusterMap
	changed chan struct{}
	ready   error
}

func (s *state) Map() *pb.ClusterMap {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

func (s *state) Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error) {
	for {
		s.mu.Lock()
		m, changed := s.current, s.changed
		s.mu.Unlock()
		if m != nil && m.Revision > after {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *state) Master() api.NodeID { return "a" }

func (s *state) Status() *pb.StatusResponse {
	return &pb.StatusResponse{NodeId: "a", Ready: s.Ready() == nil}
}

func (s *state) Leaders() []*pb.ShardLeader { return []*pb.ShardLeader{{ShardId: 1, NodeId: "a"}} }

func (s *state) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

func (s *state) set(revision uint64, ready error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
	if revision > 0 {
		s.current = &pb.ClusterMap{ClusterId: "c", Revision: revision}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

type observed struct {
	protocol, op string
	code         api.Code
}

type fixture struct {
	kv     *recorder
	state  *state
	server *Server
	conn   *grpc.ClientConn

	mu   sync.Mutex
	seen []observed
}

func start(t *testing.T) *fixture {
	t.Helper()
	return startWith(t, func(*Options) {})
}

func startWith(t *testing.T, change func(*Options)) *fixture {
	t.Helper()
	f := &fixture{kv: &recorder{}, state: &state{changed: make(chan struct{})}}
	o := Options{
		KV: f.kv, View: f.state, Status: f.state, Forward: peerv1.UnimplementedForwardServer{},
		Observe: func(protocol, op string, code api.Code, _ time.Duration) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.seen = append(f.seen, observed{protocol, op, code})
		},
	}
	change(&o)
	f.server = New(o)
	ln := bufconn.Listen(1 << 20)
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ln) }()
	conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return ln.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessageBytes), grpc.MaxCallSendMsgSize(2*api.MaxMessageBytes)))
	if err != nil {
		t.Fatal(err)
	}
	f.conn = conn
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		if err := f.server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}

// C1: every row of the table, with its hints, survives the way over the wire.
func TestEveryErrorOfTheTableMakesTheRoundTrip(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	for _, row := range api.Table {
		sent := &api.Error{Code: row.Code, Message: "text of " + string(row.Code), Shard: 7, Leader: "node-b", Epoch: 3}
		f.kv.err = fmt.Errorf("wrapped: %w", sent)
		_, getErr := client.Get(t.Context(), &pb.GetRequest{Key: []byte("k")})
		_, putErr := client.Put(t.Context(), &pb.PutRequest{Key: []byte("k")})
		stream, err := client.Scan(t.Context(), &pb.ScanRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, scanErr := stream.Recv()
		for op, err := range map[string]error{"get": getErr, "put": putErr, "scan": scanErr} {
			if status.Code(err) != row.GRPC {
				t.Errorf("%s of %s: status %v", op, row.Code, status.Code(err))
			}
			var got *api.Error
			if !errors.As(api.FromStatus(err, op == "put"), &got) {
				t.Fatalf("%s of %s: %v", op, row.Code, err)
			}
			if got.Code != row.Code || got.Message != sent.Message || got.Shard != 7 || got.Leader != "node-b" || got.Epoch != 3 {
				t.Errorf("%s of %s: %+v", op, row.Code, got)
			}
		}
	}
}

// C2: every field of a write reaches the KV, the request id above all.
func TestWritesReachTheKVAsTheyAre(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	f.kv.result = api.Result{Applied: true, Version: 9, Ops: []api.OpResult{{Existed: true, Previous: []byte("old"), PreviousVersion: 8, Number: -4}}}
	id := &pb.RequestId{SessionCreatedMs: 5, SessionRandom: 6, Sequence: 7, Floor: 4}
	request := api.RequestID{Session: api.SessionID{CreatedMillis: 5, Random: 6}, Sequence: 7, Floor: 4}
	check := func(res *pb.BatchResponse, err error, want api.Op) {
		t.Helper()
		if err != nil || !res.Applied || res.Version != 9 || res.Results[0].Number != -4 || string(res.Results[0].Previous) != "old" || res.Results[0].PreviousVersion != 8 {
			t.Fatal(res, err)
		}
		got := f.kv.batch
		if got.Request != request || len(got.Ops) != 1 || fmt.Sprintf("%+v", got.Ops[0]) != fmt.Sprintf("%+v", want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	res, err := client.Put(t.Context(), &pb.PutRequest{
		Key: []byte("k"), Value: []byte("v"), ExpiryMode: pb.ExpiryMode_EXPIRY_MODE_AFTER, ExpiryMs: 10,
		Condition: pb.ConditionKind_CONDITION_KIND_VERSION, ConditionVersion: 3, ReturnPrevious: true, RequestId: id,
	})
	check(res, err, api.Op{
		Kind: api.OpPut, Key: []byte("k"), Value: []byte("v"), Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: 10},
		Condition: api.Condition{Kind: api.ConditionVersion, Version: 3}, ReturnPrevious: true,
	})
	res, err = client.Delete(t.Context(), &pb.DeleteRequest{Key: []byte("k"), Condition: pb.ConditionKind_CONDITION_KIND_PRESENT, RequestId: id})
	check(res, err, api.Op{Kind: api.OpDelete, Key: []byte("k"), Condition: api.Condition{Kind: api.ConditionPresent}})
	res, err = client.Increment(t.Context(), &pb.IncrementRequest{Key: []byte("k"), Delta: -5, RequestId: id})
	check(res, err, api.Op{Kind: api.OpIncrement, Key: []byte("k"), Delta: -5, Expiry: api.Expiry{Mode: api.ExpiryKeep}})
	res, err = client.Batch(t.Context(), &pb.BatchRequest{RequestId: id, Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_EXPIRE, Key: []byte("k"), ExpiryMode: pb.ExpiryMode_EXPIRY_MODE_AT, ExpiryMs: 77}}})
	check(res, err, api.Op{Kind: api.OpExpire, Key: []byte("k"), Expiry: api.Expiry{Mode: api.ExpiryAt, Millis: 77}})
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	for name, op := range map[string]*pb.Op{
		"no kind": {Key: []byte("k")}, "kind": {Kind: 99}, "expiry": {Kind: 1, ExpiryMode: 99}, "condition": {Kind: 1, Condition: 99},
	} {
		_, err := client.Batch(t.Context(), &pb.BatchRequest{Ops: []*pb.Op{op}})
		if got := api.FromStatus(err, true); !errors.Is(got, api.ErrInvalid) {
			t.Errorf("%s: %v", name, got)
		}
	}
	_, err := client.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), RequestId: &pb.RequestId{SessionRandom: 1}})
	if got := api.FromStatus(err, true); !errors.Is(got, api.ErrInvalid) {
		t.Errorf("a request id without a sequence: %v", got)
	}
}

func TestScanSendsPagesAndThenTheError(t *testing.T) {
	f := start(t)
	var want []string
	for i := range 2500 {
		key := fmt.Sprintf("%05d", i)
		f.kv.items = append(f.kv.items, api.Item{Key: []byte(key), Value: bytes.Repeat([]byte("v"), 1000), Version: 1, ExpiryMillis: 2})
		want = append(want, key)
	}
	f.kv.err = api.Errorf(api.CodeUnavailable, "later")
	stream, err := pb.NewKVClient(f.conn).Scan(t.Context(), &pb.ScanRequest{Start: []byte("a"), End: []byte("b"), Reverse: true, Limit: 5000, KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	pages := 0
	for {
		page, err := stream.Recv()
		if err != nil {
			if !errors.Is(api.FromStatus(err, false), api.ErrUnavailable) {
				t.Fatal(err)
			}
			break
		}
		pages++
		bytes := 0
		for _, item := range page.Items {
			got = append(got, string(item.Key))
			bytes += len(item.Value)
		}
		if len(page.Items) > api.MaxScanPageItems || bytes > api.MaxScanPageBytes+1000 {
			t.Fatalf("a page of %d items, %d bytes", len(page.Items), bytes)
		}
	}
	if !slices.Equal(got, want) || pages != 3 {
		t.Fatalf("%d items in %d pages", len(got), pages)
	}
	if r := f.kv.rng; string(r.Start) != "a" || string(r.End) != "b" || !r.Reverse || r.Limit != 5000 || !r.KeysOnly {
		t.Fatalf("%+v", r)
	}
}

// C3: our bug is an error with a code, and the server goes on.
func TestAPanicIsAnInternalError(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	f.kv.panics = true
	_, err := client.Get(t.Context(), &pb.GetRequest{Key: []byte("k")})
	if !errors.Is(api.FromStatus(err, false), api.ErrInternal) {
		t.Fatal(err)
	}
	stream, err := client.Scan(t.Context(), &pb.ScanRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(api.FromStatus(err, false), api.ErrInternal) {
		t.Fatal(err)
	}
	f.kv.panics = false
	if _, err := client.Get(t.Context(), &pb.GetRequest{Key: []byte("k")}); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []observed{{"grpc", "get", api.CodeInternal}, {"grpc", "scan", api.CodeInternal}, {"grpc", "get", ""}}; !slices.Equal(f.seen, want) {
		t.Fatal(f.seen)
	}
}

func TestLargeMessagesPassAndLargerOnesAreRefused(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	if _, err := client.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, api.MaxWholeBytes)}); err != nil {
		t.Fatal(err)
	}
	if len(f.kv.batch.Ops[0].Value) != api.MaxWholeBytes {
		t.Fatal("the value was cut")
	}
	_, err := client.Put(t.Context(), &pb.PutRequest{Key: []byte("k"), Value: make([]byte, api.MaxMessageBytes+1)})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), fmt.Sprint(api.MaxMessageBytes)) {
		t.Fatal(err)
	}
}

func TestGetMapAnswersWhenTheMapChanges(t *testing.T) {
	f := start(t)
	client := pb.NewClusterClient(f.conn)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := client.GetMap(short, &pb.GetMapRequest{}); !errors.Is(api.FromStatus(err, false), api.ErrNotReady) {
		t.Fatalf("before the cluster formed: %v", err)
	}
	f.state.set(4, nil)
	res, err := client.GetMap(t.Context(), &pb.GetMapRequest{})
	if err != nil || res.Map.Revision != 4 || res.MasterId != "a" || len(res.Leaders) != 1 {
		t.Fatal(res, err)
	}
	answer := make(chan uint64)
	go func() {
		res, err := client.GetMap(t.Context(), &pb.GetMapRequest{AfterRevision: 4})
		if err != nil {
			t.Error(err)
		}
		answer <- res.GetMap().GetRevision()
	}()
	select {
	case revision := <-answer:
		t.Fatalf("answered with %d at once", revision)
	case <-time.After(50 * time.Millisecond):
	}
	f.state.set(5, nil)
	if revision := <-answer; revision != 5 {
		t.Fatal(revision)
	}
	short, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if res, err := client.GetMap(short, &pb.GetMapRequest{AfterRevision: 5}); err != nil || res.Map.Revision != 5 {
		t.Fatalf("at the deadline: %v, %v", res, err)
	}
}

func TestCloseEndsRequestsThatOnlyWait(t *testing.T) {
	f := start(t)
	f.state.set(1, nil)
	errs := make(chan error, 2)
	go func() {
		_, err := pb.NewClusterClient(f.conn).GetMap(t.Context(), &pb.GetMapRequest{AfterRevision: 1})
		errs <- err
	}()
	watch, err := grpc_health_v1.NewHealthClient(f.conn).Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := watch.Recv(); err != nil || res.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatal(res, err)
	}
	go func() {
		_, err := watch.Recv()
		errs <- err
	}()
	began := time.Now()
	f.server.Close()
	for range 2 {
		if err := <-errs; err == nil {
			t.Fatal("no error")
		}
	}
	if took := time.Since(began); took > closeGrace-time.Second {
		t.Fatalf("Close took %v", took)
	}
}

func TestHealthFollowsReadiness(t *testing.T) {
	f := start(t)
	client := grpc_health_v1.NewHealthClient(f.conn)
	check := func(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
		res, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return res.Status
	}
	if check("") != grpc_health_v1.HealthCheckResponse_SERVING || check("lightning.v1.KV") != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatal("not serving")
	}
	watch, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := watch.Recv(); err != nil || res.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatal(res, err)
	}
	f.state.set(0, errors.New("no leader"))
	if check("lightning.v1.KV") != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Fatal("serving")
	}
	if res, err := watch.Recv(); err != nil || res.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Fatal(res, err)
	}
	if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "nosuch"}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
}

func TestReflectionListsTheServices(t *testing.T) {
	f := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(f.conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	res, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range res.GetListServicesResponse().Service {
		names = append(names, s.Name)
	}
	for _, want := range []string{"lightning.v1.KV", "lightning.v1.Cluster", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not listed in %v", want, names)
		}
	}
}

func TestStatus(t *testing.T) {
	f := start(t)
	res, err := pb.NewClusterClient(f.conn).Status(t.Context(), &pb.StatusRequest{})
	if err != nil || res.NodeId != "a" || !res.Ready {
		t.Fatal(res, err)
	}
}
