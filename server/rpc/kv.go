package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// kvService is lightning.v1.KV on an api.KV.
type kvService struct {
	pb.UnimplementedKVServer
	kv api.KV
}

// Get implements pb.KVServer.
func (k kvService) Get(ctx context.Context, req *pb.GetRequest) (*pb.GetResponse, error) {
	item, err := k.kv.Get(ctx, api.Namespace(req.Namespace), req.Key)
	if err != nil {
		return nil, err
	}
	return &pb.GetResponse{Found: item.Found, Value: item.Value, Version: uint64(item.Version), ExpiryMs: item.ExpiryMillis}, nil
}

// Put implements pb.KVServer.
func (k kvService) Put(ctx context.Context, req *pb.PutRequest) (*pb.BatchResponse, error) {
	return k.apply(ctx, req.Namespace, req.RequestId, &pb.Op{
		Kind: pb.OpKind_OP_KIND_PUT, Key: req.Key, Value: req.Value, ExpiryMode: req.ExpiryMode, ExpiryMs: req.ExpiryMs,
		Condition: req.Condition, ConditionVersion: req.ConditionVersion, ReturnPrevious: req.ReturnPrevious,
	})
}

// Delete implements pb.KVServer.
func (k kvService) Delete(ctx context.Context, req *pb.DeleteRequest) (*pb.BatchResponse, error) {
	return k.apply(ctx, req.Namespace, req.RequestId, &pb.Op{
		Kind: pb.OpKind_OP_KIND_DELETE, Key: req.Key,
		Condition: req.Condition, ConditionVersion: req.ConditionVersion, ReturnPrevious: req.ReturnPrevious,
	})
}

// Increment implements pb.KVServer.
func (k kvService) Increment(ctx context.Context, req *pb.IncrementRequest) (*pb.BatchResponse, error) {
	return k.apply(ctx, req.Namespace, req.RequestId, &pb.Op{
		Kind: pb.OpKind_OP_KIND_INCREMENT, Key: req.Key, Delta: req.Delta, ExpiryMode: pb.ExpiryMode_EXPIRY_MODE_KEEP,
	})
}

// Batch implements pb.KVServer.
func (k kvService) Batch(ctx context.Context, req *pb.BatchRequest) (*pb.BatchResponse, error) {
	return k.apply(ctx, req.Namespace, req.RequestId, req.Ops...)
}

func (k kvService) apply(ctx context.Context, ns uint32, id *pb.RequestId, ops ...*pb.Op) (*pb.BatchResponse, error) {
	request, err := requestFromProto(id)
	if err != nil {
		return nil, err
	}
	batch := api.Batch{Namespace: api.Namespace(ns), Request: request, Ops: make([]api.Op, len(ops))}
	for i, op := range ops {
		if batch.Ops[i], err = opFromProto(op); err != nil {
			return nil, err
		}
	}
	res, err := k.kv.Apply(ctx, batch)
	if err != nil {
		return nil, err
	}
	return resultToProto(res), nil
}

// Scan implements pb.KVServer. It sends a page when it has enough items or bytes.
func (k kvService) Scan(req *pb.ScanRequest, stream grpc.ServerStreamingServer[pb.ScanResponse]) error {
	r := api.Range{
		Namespace: api.Namespace(req.Namespace), Start: req.Start, End: req.End,
		Reverse: req.Reverse, Limit: req.Limit, KeysOnly: req.KeysOnly,
	}
	var page pb.ScanResponse
	pageBytes := 0
	send := func() error {
		if len(page.Items) == 0 {
			return nil
		}
		err := stream.Send(&page)
		page, pageBytes = pb.ScanResponse{}, 0
		return err
	}
	for item, err := range k.kv.Scan(stream.Context(), r) {
		if err != nil {
			// What was found before the error is good; the client goes on behind it.
			if sendErr := send(); sendErr != nil {
				return sendErr
			}
			return err
		}
		page.Items = append(page.Items, &pb.Item{Key: item.Key, Value: item.Value, Version: uint64(item.Version), ExpiryMs: item.ExpiryMillis})
		pageBytes += len(item.Key) + len(item.Value)
		if len(page.Items) >= api.MaxScanPageItems || pageBytes >= api.MaxScanPageBytes {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// requestFromProto refuses an id that is half filled in: it would not protect (C2).
func requestFromProto(m *pb.RequestId) (api.RequestID, error) {
	if m == nil {
		return api.RequestID{}, nil
	}
	id := api.RequestID{
		Session:  api.SessionID{CreatedMillis: m.SessionCreatedMs, Random: m.SessionRandom},
		Sequence: m.Sequence, Floor: m.Floor,
	}
	if id.IsZero() {
		return id, api.Errorf(api.CodeInvalid, "a request id needs a sequence from 1 on")
	}
	return id, nil
}

func opFromProto(m *pb.Op) (api.Op, error) {
	if m == nil {
		return api.Op{}, api.Errorf(api.CodeInvalid, "an operation is empty")
	}
	if _, ok := pb.OpKind_name[int32(m.Kind)]; !ok || m.Kind == pb.OpKind_OP_KIND_UNSPECIFIED {
		return api.Op{}, api.Errorf(api.CodeInvalid, "operation kind %d is not known to this version", m.Kind)
	}
	if _, ok := pb.ExpiryMode_name[int32(m.ExpiryMode)]; !ok {
		return api.Op{}, api.Errorf(api.CodeInvalid, "expiry mode %d is not known to this version", m.ExpiryMode)
	}
	if _, ok := pb.ConditionKind_name[int32(m.Condition)]; !ok {
		return api.Op{}, api.Errorf(api.CodeInvalid, "condition %d is not known to this version", m.Condition)
	}
	return api.Op{
		Kind: api.OpKind(m.Kind), Key: m.Key, Value: m.Value, Delta: m.Delta,
		Expiry:         api.Expiry{Mode: api.ExpiryMode(m.ExpiryMode), Millis: m.ExpiryMs},
		Condition:      api.Condition{Kind: api.ConditionKind(m.Condition), Version: api.Version(m.ConditionVersion)},
		ReturnPrevious: m.ReturnPrevious,
	}, nil
}

func resultToProto(res api.Result) *pb.BatchResponse {
	m := &pb.BatchResponse{Applied: res.Applied, FailedOp: uint32(res.FailedOp), Version: uint64(res.Version)}
	for _, o := range res.Ops {
		m.Results = append(m.Results, &pb.OpResult{
			Existed: o.Existed, Previous: o.Previous, PreviousVersion: uint64(o.PreviousVersion), Number: o.Number,
		})
	}
	return m
}
