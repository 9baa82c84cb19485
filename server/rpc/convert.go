package rpc

import (
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// The numbers of the enumerations are the same in the API and in the messages.

// batchFromProto refuses what this version does not know: it would otherwise do something else
// than the client asked for.
func batchFromProto(ns uint32, id *pb.RequestId, independent bool, ops []*pb.Op) (api.Batch, error) {
	request, err := requestFromProto(id)
	if err != nil {
		return api.Batch{}, err
	}
	b := api.Batch{Namespace: api.Namespace(ns), Request: request, Independent: independent, Ops: make([]api.Op, len(ops))}
	for i, op := range ops {
		if b.Ops[i], err = opFromProto(op); err != nil {
			return api.Batch{}, err
		}
	}
	return b, nil
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
		Kind: api.OpKind(m.Kind), Key: m.Key, Source: m.Source, Value: m.Value, Delta: m.Delta, Offset: m.Offset,
		Expiry:         api.Expiry{Mode: api.ExpiryMode(m.ExpiryMode), Millis: m.ExpiryMs},
		Condition:      api.Condition{Kind: api.ConditionKind(m.Condition), Version: api.Version(m.ConditionVersion)},
		ReturnPrevious: m.ReturnPrevious, Joined: m.Joined, Blind: m.Blind,
	}, nil
}

func resultToProto(res api.Result) *pb.BatchResponse {
	m := &pb.BatchResponse{Applied: res.Applied, FailedOp: uint32(res.FailedOp), Version: uint64(res.Version)}
	for _, o := range res.Ops {
		m.Results = append(m.Results, &pb.OpResult{
			Applied: o.Applied, ErrorCode: string(o.Code), Existed: o.Existed, Previous: o.Previous,
			PreviousVersion: uint64(o.PreviousVersion), PreviousExpiryMs: o.PreviousExpiry, Number: o.Number, Text: o.Text,
		})
	}
	return m
}

func getToProto(item api.Item) *pb.GetResponse {
	return &pb.GetResponse{Found: item.Found, Value: item.Value, Version: uint64(item.Version), ExpiryMs: item.ExpiryMillis}
}

func itemToProto(item api.Item) *pb.Item {
	return &pb.Item{Key: item.Key, Value: item.Value, Version: uint64(item.Version), ExpiryMs: item.ExpiryMillis}
}

func rangeFromProto(m *pb.ScanRequest) api.Range {
	return api.Range{
		Namespace: api.Namespace(m.Namespace), Start: m.Start, End: m.End, Reverse: m.Reverse, Limit: m.Limit,
		KeysOnly: m.KeysOnly, MaxStaleness: staleness(m.MaxStalenessMs),
	}
}

func staleness(millis uint32) time.Duration { return time.Duration(millis) * time.Millisecond }
