package fakecluster

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

// scanPageItems is small, so that short scans have several pages.
const scanPageItems = 3

// Get implements the KV service.
func (n *Node) Get(_ context.Context, r *pb.GetRequest) (*pb.GetResponse, error) {
	if err := n.refuse(r.GetKey()); err != nil {
		return nil, err
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.mu.data[string(r.GetKey())]
	return &pb.GetResponse{Found: ok, Value: found.value, Version: found.version}, nil
}

// Batch implements the KV service.
func (n *Node) Batch(_ context.Context, r *pb.BatchRequest) (*pb.BatchResponse, error) {
	c := n.cluster
	c.mu.Lock()
	c.mu.requests = append(c.mu.requests, r)
	c.mu.Unlock()
	if err := n.refuse(r.GetOps()[0].GetKey()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applyLocked(r)
}

// refuse sends the caller to the leader if the node is told to.
func (n *Node) refuse(key []byte) error {
	n.mu.Lock()
	redirect := n.mu.redirect
	n.mu.Unlock()
	if !redirect {
		return nil
	}
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	slot := uint32(router.Slot(0, key))
	for _, s := range c.mu.clusterMap.GetShards() {
		leader := c.mu.leaders[api.ShardID(s.GetId())]
		if s.GetStartSlot() <= slot && slot < s.GetEndSlot() && leader != n.id {
			return &api.Error{Code: api.CodeNotLeader, Message: "not the leader", Shard: api.ShardID(s.GetId()), Leader: leader}
		}
	}
	return nil
}

// applyLocked keeps J1.
func (c *Cluster) applyLocked(r *pb.BatchRequest) (*pb.BatchResponse, error) {
	id := r.GetRequestId()
	session := api.SessionID{CreatedMillis: id.GetSessionCreatedMs(), Random: id.GetSessionRandom()}
	key := requestKey{session, id.GetSequence()}
	if known, ok := c.mu.answers[key]; ok {
		return known.response, known.err
	}
	c.mu.floors[session] = max(c.mu.floors[session], id.GetFloor())
	if id.GetSequence() < c.mu.floors[session] {
		return nil, api.Errorf(api.CodeReleased, "the request is released")
	}
	response, err := c.evaluateLocked(r)
	c.mu.answers[key] = answer{response, err}
	return response, err
}

func (c *Cluster) evaluateLocked(r *pb.BatchRequest) (*pb.BatchResponse, error) {
	response := &pb.BatchResponse{Applied: true, Version: c.mu.versions + 1}
	data := maps.Clone(c.mu.data)
	for i, op := range r.GetOps() {
		old, existed := data[string(op.GetKey())]
		if !holds(op, old, existed) {
			return &pb.BatchResponse{FailedOp: uint32(i)}, nil
		}
		result := &pb.OpResult{Existed: existed, PreviousVersion: old.version}
		if op.GetReturnPrevious() {
			result.Previous = old.value
		}
		switch op.GetKind() {
		case pb.OpKind_OP_KIND_PUT:
			data[string(op.GetKey())] = row{op.GetValue(), response.Version}
		case pb.OpKind_OP_KIND_DELETE:
			delete(data, string(op.GetKey()))
		case pb.OpKind_OP_KIND_INCREMENT:
			number, err := strconv.ParseInt(string(old.value), 10, 64)
			if existed && err != nil {
				return nil, api.Errorf(api.CodeNotInteger, "the value is not an integer")
			}
			result.Number = number + op.GetDelta()
			data[string(op.GetKey())] = row{strconv.AppendInt(nil, result.Number, 10), response.Version}
		default:
			return nil, api.Errorf(api.CodeInvalid, "operation %s", op.GetKind())
		}
		response.Results = append(response.Results, result)
	}
	c.mu.data, c.mu.versions = data, response.Version
	return response, nil
}

func holds(op *pb.Op, old row, existed bool) bool {
	switch op.GetCondition() {
	case pb.ConditionKind_CONDITION_KIND_ABSENT:
		return !existed
	case pb.ConditionKind_CONDITION_KIND_PRESENT:
		return existed
	case pb.ConditionKind_CONDITION_KIND_VERSION:
		return old.version == op.GetConditionVersion()
	default:
		return true
	}
}

// Scan implements the KV service.
func (n *Node) Scan(r *pb.ScanRequest, stream pb.KV_ScanServer) error {
	for page := range slices.Chunk(n.cluster.items(r), scanPageItems) {
		if err := stream.Send(&pb.ScanResponse{Items: page}); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) items(r *pb.ScanRequest) []*pb.Item {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := slices.Sorted(maps.Keys(c.mu.data))
	if r.GetReverse() {
		slices.Reverse(keys)
	}
	var items []*pb.Item
	for _, key := range keys {
		if r.GetLimit() > 0 && uint64(len(items)) == r.GetLimit() {
			break
		}
		if bytes.Compare([]byte(key), r.GetStart()) < 0 || len(r.GetEnd()) > 0 && bytes.Compare([]byte(key), r.GetEnd()) >= 0 {
			continue
		}
		item := &pb.Item{Key: []byte(key), Version: c.mu.data[key].version}
		if !r.GetKeysOnly() {
			item.Value = c.mu.data[key].value
		}
		items = append(items, item)
	}
	return items
}

// beforeDeadline is how long before the caller's deadline GetMap answers with what there is.
const beforeDeadline = 50 * time.Millisecond

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

// Status implements the Cluster service.
func (n *Node) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	response := &pb.StatusResponse{
		NodeId: string(n.id), Version: "fake", Ready: true, Map: c.mu.clusterMap, Leaders: c.leadersLocked(),
		MasterId: string(c.nodes[0].id), FailuresTolerated: uint32((len(c.nodes) - 1) / 2),
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
