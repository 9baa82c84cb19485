package client

import (
	"bytes"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

func batchRequest(b api.Batch) *pb.BatchRequest {
	request := &pb.BatchRequest{
		Namespace: uint32(b.Namespace),
		Ops:       make([]*pb.Op, len(b.Ops)), Independent: b.Independent,
		RequestId: &pb.RequestId{
			SessionCreatedMs: b.Request.Session.CreatedMillis,
			SessionRandom:    b.Request.Session.Random,
			Sequence:         b.Request.Sequence,
			Floor:            b.Request.Floor,
		},
	}
	for i, op := range b.Ops {
		// The numbers of the enumerations are the same in the API and in the messages.
		request.Ops[i] = &pb.Op{
			Kind: pb.OpKind(op.Kind), Key: op.Key, Value: op.Value, Delta: op.Delta,
			ExpiryMode: pb.ExpiryMode(op.Expiry.Mode), ExpiryMs: op.Expiry.Millis,
			Condition: pb.ConditionKind(op.Condition.Kind), ConditionVersion: uint64(op.Condition.Version),
			ReturnPrevious: op.ReturnPrevious, Source: op.Source, Offset: op.Offset, Joined: op.Joined, Blind: op.Blind,
		}
	}
	return request
}

// batchResult fails when an applied batch of n operations has another number of results: callers
// index them.
func batchResult(r *pb.BatchResponse, n int) (api.Result, error) {
	if r.GetApplied() && len(r.GetResults()) != n {
		return api.Result{}, api.Errorf(api.CodeInternal, "apply: %d results for %d operations", len(r.GetResults()), n)
	}
	result := api.Result{
		Applied:  r.GetApplied(),
		FailedOp: int(r.GetFailedOp()),
		Version:  api.Version(r.GetVersion()),
		Ops:      make([]api.OpResult, n),
	}
	for i, found := range r.GetResults()[:min(n, len(r.GetResults()))] {
		result.Ops[i] = api.OpResult{
			Applied: found.GetApplied(), Code: api.Code(found.GetErrorCode()),
			Existed: found.GetExisted(), Previous: found.GetPrevious(),
			PreviousVersion: api.Version(found.GetPreviousVersion()), PreviousExpiry: found.GetPreviousExpiryMs(),
			Number: found.GetNumber(), Text: found.GetText(),
		}
	}
	return result, nil
}

func getItem(key []byte, r *pb.GetResponse) api.Item {
	item := api.Item{Key: bytes.Clone(key)}
	if r.GetFound() {
		item.Found = true
		item.Value = r.GetValue()
		item.Version = api.Version(r.GetVersion())
		item.ExpiryMillis = r.GetExpiryMs()
	}
	return item
}

func scanItem(i *pb.Item) api.Item {
	return api.Item{
		Key: i.GetKey(), Value: i.GetValue(), Version: api.Version(i.GetVersion()),
		ExpiryMillis: i.GetExpiryMs(), Found: true,
	}
}
