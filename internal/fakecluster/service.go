package fakecluster

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/router"
)

// scanPageItems is small, so that short scans have several pages.
const scanPageItems = 3

// Get implements the KV service.
func (n *Node) Get(_ context.Context, r *pb.GetRequest) (*pb.GetResponse, error) {
	if err := n.refuse(r.GetMaxStalenessMs(), r.GetKey()); err != nil {
		return nil, err
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.getLocked(r.GetKey()), nil
}

// MultiGet implements the KV service.
func (n *Node) MultiGet(_ context.Context, r *pb.MultiGetRequest) (*pb.MultiGetResponse, error) {
	if err := n.refuse(r.GetMaxStalenessMs(), r.GetKeys()...); err != nil {
		return nil, err
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &pb.MultiGetResponse{}
	size := 0
	for _, key := range r.GetKeys() {
		item := c.getLocked(key)
		if len(item.GetValue()) > api.MaxMessageValueBytes {
			return nil, api.Errorf(api.CodeTooLarge, "a value is over the limit of %d bytes for a message", api.MaxMessageValueBytes)
		}
		if size += len(item.GetValue()); size > api.MaxReplyBytes {
			return nil, api.Errorf(api.CodeTooLarge, "the values are over the limit of %d bytes", api.MaxReplyBytes)
		}
		response.Items = append(response.Items, item)
	}
	return response, nil
}

func (c *Cluster) getLocked(key []byte) *pb.GetResponse {
	r, ok := c.mu.data[string(key)]
	if !ok || evaluate.Expired(r.ExpiryMillis, c.nowLocked().Millis()) {
		return &pb.GetResponse{}
	}
	return &pb.GetResponse{Found: true, Value: r.Value, Version: uint64(r.Version), ExpiryMs: r.ExpiryMillis}
}

// Batch implements the KV service.
func (n *Node) Batch(_ context.Context, r *pb.BatchRequest) (*pb.BatchResponse, error) {
	c := n.cluster
	c.mu.Lock()
	c.mu.requests = append(c.mu.requests, r)
	c.mu.Unlock()
	if len(r.GetOps()) == 0 {
		return nil, api.Errorf(api.CodeInvalid, "a batch needs at least one operation")
	}
	if err := n.refuse(0, r.GetOps()[0].GetKey()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applyLocked(r)
}

// refuse sends the caller to the leader if the node is told to, unless any replica may answer.
func (n *Node) refuse(staleMillis uint32, keys ...[]byte) error {
	n.mu.Lock()
	redirect := n.mu.redirect
	n.mu.Unlock()
	if !redirect || staleMillis > 0 {
		return nil
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		slot := uint32(router.Slot(0, key))
		for _, s := range c.mu.clusterMap.GetShards() {
			leader := c.mu.leaders[api.ShardID(s.GetId())]
			if s.GetStartSlot() <= slot && slot < s.GetEndSlot() && leader != n.id {
				return &api.Error{Code: api.CodeNotLeader, Message: "not the leader", Shard: api.ShardID(s.GetId()), Leader: leader}
			}
		}
	}
	return nil
}

// applyLocked keeps J1.
func (c *Cluster) applyLocked(r *pb.BatchRequest) (*pb.BatchResponse, error) {
	id := r.GetRequestId()
	session := api.SessionID{CreatedMillis: id.GetSessionCreatedMs(), Random: id.GetSessionRandom()}
	if batch := batchFromProto(r); evaluate.ReadsOnly(&batch) {
		return c.evaluateLocked(r)
	}
	key := requestKey{session, id.GetSequence()}
	if known, ok := c.mu.answers[key]; ok {
		return known.response, known.err
	}
	c.mu.floors[session] = max(c.mu.floors[session], id.GetFloor())
	if id.GetSequence() < c.mu.floors[session] {
		return nil, api.Errorf(api.CodeReleased, "the request is released")
	}
	response, err := c.evaluateLocked(r)
	if !id.ProtoReflect().IsValid() {
		return response, err
	}
	c.mu.answers[key] = answer{response, err}
	return response, err
}

func (c *Cluster) evaluateLocked(r *pb.BatchRequest) (*pb.BatchResponse, error) {
	batch := batchFromProto(r)
	if _, refusal := evaluate.Check(&batch); refusal != nil {
		return nil, refusal
	}
	e := evaluate.Evaluator{
		Version: c.nowLocked() + 1,
		Lookup:  func(key []byte) (evaluate.Row, error) { return c.mu.data[string(key)], nil },
	}
	result, refusal, err := e.Run(&batch)
	if refusal != nil {
		return nil, refusal
	}
	if err != nil {
		return nil, err
	}
	switch {
	case evaluate.ReadsOnly(&batch):
		result.Version = 0 // nothing was written
	case result.Applied:
		c.mu.last = e.Version
	}
	for _, w := range e.Writes() {
		if w.Row.Live {
			w.Row.Value = bytes.Clone(w.Row.Value)
			c.mu.data[string(w.Key)] = w.Row
		} else {
			delete(c.mu.data, string(w.Key))
		}
	}
	return resultToProto(result), nil
}

// nowLocked is the time by which expiries are judged. It does not go back.
func (c *Cluster) nowLocked() api.Version {
	c.mu.last = max(c.mu.last, api.VersionAt(clock.Millis(c.mu.clock)))
	return c.mu.last
}

// Scan implements the KV service.
func (n *Node) Scan(r *pb.ScanRequest, stream pb.KV_ScanServer) error {
	items := n.cluster.items(r)
	for len(items) > 0 {
		page := items[:min(scanPageItems, len(items))]
		items = items[len(page):]
		response := &pb.ScanResponse{Items: page}
		if len(items) > 0 {
			response.Resume = items[0].GetKey()
			if r.GetReverse() {
				response.Resume = append(bytes.Clone(response.Resume), 0) // the end is exclusive
			}
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) items(r *pb.ScanRequest) []*pb.Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.scans = append(c.mu.scans, r)
	keys := slices.Sorted(maps.Keys(c.mu.data))
	if r.GetReverse() {
		slices.Reverse(keys)
	}
	var items []*pb.Item
	for _, key := range keys {
		if r.GetLimit() > 0 && uint64(len(items)) == r.GetLimit() {
			break
		}
		found := c.getLocked([]byte(key))
		if !found.GetFound() || key < string(r.GetStart()) || len(r.GetEnd()) > 0 && key >= string(r.GetEnd()) {
			continue
		}
		item := &pb.Item{Key: []byte(key), Version: found.GetVersion(), ExpiryMs: found.GetExpiryMs()}
		switch value := found.GetValue(); {
		case r.GetKeysOnly():
		case r.GetOmitLong() && len(value) > api.MaxMessageValueBytes:
			item.OmittedBytes = uint64(len(value))
		default:
			item.Value = value
		}
		items = append(items, item)
	}
	return items
}

// beforeDeadline is how long before the caller's deadline GetMap answers with what there is.
const beforeDeadline = 50 * time.Millisecond

// Stream implements the KV service. Each call of it is intercepted as the method of its name is.
func (n *Node) Stream(stream pb.KV_StreamServer) error {
	n.mu.Lock()
	unary := n.mu.unary
	n.mu.Unlock()
	if unary {
		return status.Error(codes.Unimplemented, "this node is older than streams")
	}
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	var calls sync.WaitGroup
	defer calls.Wait()
	var send sync.Mutex
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil // the client half-closed, or is gone
		}
		n.cluster.mu.Lock()
		n.cluster.mu.messages++
		n.cluster.mu.Unlock()
		for _, call := range m.GetCalls() {
			calls.Go(func() {
				a := n.answer(stream.Context(), call)
				send.Lock()
				defer send.Unlock()
				_ = stream.Send(&pb.StreamResponse{Answers: []*pb.Answer{a}}) // the client may be gone
			})
		}
	}
}

// answer runs a call as the unary method does.
func (n *Node) answer(ctx context.Context, call *pb.Call) *pb.Answer {
	if call.GetTimeoutMs() > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(call.GetTimeoutMs())*time.Millisecond)
		defer cancel()
	}
	response, err := n.dispatch(ctx, call)
	if err != nil {
		e := &api.Error{Code: api.CodeInternal, Message: err.Error()}
		errors.As(api.FromStatus(api.ToStatus(err), call.GetBatch() != nil), &e)
		failure := &pb.Failure{Message: e.Error(), Detail: e.Detail()}
		return &pb.Answer{Id: call.GetId(), Response: &pb.Answer_Failure{Failure: failure}}
	}
	a := &pb.Answer{Id: call.GetId()}
	switch r := response.(type) {
	case *pb.GetResponse:
		a.Response = &pb.Answer_Get{Get: r}
	case *pb.MultiGetResponse:
		a.Response = &pb.Answer_MultiGet{MultiGet: r}
	case *pb.BatchResponse:
		a.Response = &pb.Answer_Batch{Batch: r}
	}
	if proto.Size(a) > longAnswerBytes && call.GetBatch() == nil {
		a.Response = &pb.Answer_TooLong{TooLong: true}
	}
	return a
}

// longAnswerBytes is what a read may bring by a stream.
const longAnswerBytes = 1 << 20

func (n *Node) dispatch(ctx context.Context, call *pb.Call) (any, error) {
	f := n.interceptor()
	if f == nil {
		f = passOn
	}
	switch r := call.GetRequest().(type) {
	case *pb.Call_Get:
		return f(ctx, "Get", r.Get, func() (any, error) { return n.Get(ctx, r.Get) })
	case *pb.Call_MultiGet:
		return f(ctx, "MultiGet", r.MultiGet, func() (any, error) { return n.MultiGet(ctx, r.MultiGet) })
	case *pb.Call_Batch:
		return f(ctx, "Batch", r.Batch, func() (any, error) { return n.Batch(ctx, r.Batch) })
	}
	return nil, api.Errorf(api.CodeInvalid, "a call without a request")
}

// GetMap implements the Cluster service.
func (n *Node) GetMap(ctx context.Context, r *pb.GetMapRequest) (*pb.GetMapResponse, error) {
	c := n.cluster
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-beforeDeadline))
		defer cancel()
	}
	for {
		c.mu.Lock()
		response := &pb.GetMapResponse{Map: c.mu.clusterMap, Leaders: c.leadersLocked(), MasterId: string(c.nodes[0].id)}
		changed := c.mu.changed
		c.mu.Unlock()
		if response.Map.GetRevision() > r.GetAfterRevision() {
			return response, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return response, nil
		}
	}
}

func (c *Cluster) leadersLocked() []*pb.ShardLeader {
	if c.mu.noHints {
		return nil
	}
	var leaders []*pb.ShardLeader
	for _, id := range slices.Sorted(maps.Keys(c.mu.leaders)) {
		leaders = append(leaders, &pb.ShardLeader{ShardId: uint64(id), NodeId: string(c.mu.leaders[id])})
	}
	return leaders
}

// ClearCaches implements the Cluster service: each node has dropped a thousand bytes for each letter of its name.
func (n *Node) ClearCaches(context.Context, *pb.ClearCachesRequest) (*pb.ClearCachesResponse, error) {
	return &pb.ClearCachesResponse{NodeId: string(n.id), RowBytes: uint64(1000 * len(n.id)), BlockBytes: 7}, nil
}

// Status implements the Cluster service.
func (n *Node) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &pb.StatusResponse{
		NodeId: string(n.id), Version: "fake", Ready: true, Map: c.mu.clusterMap, Leaders: c.leadersLocked(),
		MasterId: string(c.nodes[0].id), FailuresTolerated: uint32((len(c.nodes) - 1) / 2),
	}
	for _, shard := range c.mu.clusterMap.GetShards() {
		role := "follower"
		if c.mu.leaders[api.ShardID(shard.GetId())] == n.id {
			role = "leader"
		}
		response.Replicas = append(response.Replicas, &pb.ReplicaStatus{
			ShardId: shard.GetId(), Role: role, Term: 1, CommitIndex: uint64(len(c.mu.requests)), AppliedIndex: uint64(len(c.mu.requests)),
		})
	}
	for _, node := range c.mu.clusterMap.GetNodes() {
		response.Nodes = append(response.Nodes, &pb.NodeStatus{NodeId: node.GetId(), Liveness: "alive"})
		if node.GetId() == string(n.id) {
			response.Name = node.GetName()
		}
	}
	return response, nil
}

func cloneMap(m *pb.ClusterMap) *pb.ClusterMap { return proto.Clone(m).(*pb.ClusterMap) }
