package fakecluster

import (
	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// batchFromProto leaves the request id out: that is the cluster's, not the evaluation's.
func batchFromProto(r *pb.BatchRequest) api.Batch {
	b := api.Batch{Namespace: api.Namespace(r.GetNamespace()), Independent: r.GetIndependent()}
	for _, op := range r.GetOps() {
		b.Ops = append(b.Ops, api.Op{
			Kind: api.OpKind(op.GetKind()), Key: op.GetKey(), Source: op.GetSource(), Value: op.GetValue(),
			Delta: op.GetDelta(), Offset: op.GetOffset(),
			Expiry:         api.Expiry{Mode: api.ExpiryMode(op.GetExpiryMode()), Millis: op.GetExpiryMs()},
			Condition:      api.Condition{Kind: api.ConditionKind(op.GetCondition()), Version: api.Version(op.GetConditionVersion())},
			ReturnPrevious: op.GetReturnPrevious(), Joined: op.GetJoined(), Blind: op.GetBlind(),
		})
	}
	return b
}

func resultToProto(r api.Result) *pb.BatchResponse {
	m := &pb.BatchResponse{Applied: r.Applied, FailedOp: uint32(r.FailedOp), Version: uint64(r.Version)}
	for _, o := range r.Ops {
		m.Results = append(m.Results, &pb.OpResult{
			Existed: o.Existed, Previous: o.Previous, PreviousVersion: uint64(o.PreviousVersion),
			PreviousExpiryMs: o.PreviousExpiry, Number: o.Number, Text: o.Text, Applied: o.Applied, ErrorCode: string(o.Code),
		})
	}
	return m
}
