package api

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// ToStatus turns err into a gRPC status error whose details carry the code, the hints, and what
// Table says of the code.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		if s, ok := status.FromError(err); ok {
			return s.Err()
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			// Without details, as if gRPC itself had ended the call: nobody can say what ran.
			return status.FromContextError(err).Err()
		}
		e = &Error{Code: CodeInternal, Message: err.Error()}
	}
	s := status.New(Row(e.Code).GRPC, e.Error())
	detailed, detailErr := s.WithDetails(e.Detail())
	if detailErr != nil {
		return s.Err()
	}
	return detailed.Err()
}

// Detail is what messages carry of an error beside its text: its code, the hints, and what Table
// says of the code.
func (e *Error) Detail() *pb.ErrorDetail {
	row := Row(e.Code)
	return &pb.ErrorDetail{
		Code: string(e.Code), ShardId: uint64(e.Shard), LeaderId: string(e.Leader), Epoch: uint64(e.Epoch),
		Retry: row.Retry, MayHaveRun: row.Outcome == MayHaveRun, Next: row.Next,
	}
}

// FromDetail is the inverse of Error.Detail.
func FromDetail(message string, d *pb.ErrorDetail) *Error {
	return &Error{
		Code: Code(d.GetCode()), Message: message, Shard: ShardID(d.GetShardId()),
		Leader: NodeID(d.GetLeaderId()), Epoch: Epoch(d.GetEpoch()),
	}
}

// FromStatus is the inverse of ToStatus. An error without our details came from gRPC itself:
// the connection or the deadline broke, so whether the request ran is not known; write tells
// whether the request was one that changes anything.
func FromStatus(err error, write bool) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	for _, d := range s.Details() {
		if det, ok := d.(*pb.ErrorDetail); ok {
			return FromDetail(s.Message(), det)
		}
	}
	switch {
	case write:
		return &Error{Code: CodeUnknownOutcome, Message: s.Message(), Cause: err}
	case s.Code() == codes.DeadlineExceeded:
		return &Error{Code: CodeExpired, Message: s.Message(), Cause: err}
	default:
		return &Error{Code: CodeUnavailable, Message: s.Message(), Cause: err}
	}
}
