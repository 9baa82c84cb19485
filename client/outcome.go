package client

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
)

// verdict is what one failed attempt means.
type verdict struct {
	err *api.Error
	// mayHaveRun: the attempt may have executed the write, or may still.
	mayHaveRun bool
	// retry: another attempt, perhaps elsewhere, may succeed.
	retry bool
	// local: the attempt failed here, which says nothing about earlier ones.
	local bool
	// unreachable: the node broke off or did not answer in time.
	unreachable bool
}

// judge is the client's one decision about failures: what an attempt's error says about the
// attempt. sent tells whether gRPC gave the request to a connection; a request that was not
// certainly did not run. (K1)
func judge(err error, write, sent bool) verdict {
	var local *localError
	if errors.As(err, &local) {
		return verdict{err: local.verdict(), local: true}
	}
	var answer *answerError
	if errors.As(err, &answer) {
		return judgeAnswer(answer.answer, write)
	}
	s := status.Convert(err)
	if len(s.Details()) > 0 {
		return judgeAnswer(asError(api.FromStatus(err, write)), write)
	}
	// The error is gRPC's own.
	if s.Code() == codes.Unimplemented {
		return verdict{
			err:   &api.Error{Code: api.CodeUnavailable, Message: "not a Lightning node, or an older one: " + s.Message()},
			retry: true, unreachable: true,
		}
	}
	if s.Code() == codes.ResourceExhausted && !write {
		// Nodes refuse with details; this is the limit of one message, which a retry meets again.
		return verdict{err: &api.Error{Code: api.CodeTooLarge, Message: "the answer is over the limit of one message: " + s.Message()}}
	}
	write = write && sent
	return verdict{err: asError(api.FromStatus(err, write)), mayHaveRun: write, retry: true, unreachable: true}
}

// judgeAnswer judges an error that a node answered with.
func judgeAnswer(e *api.Error, write bool) verdict {
	row := api.Row(e.Code)
	return verdict{
		err:        e,
		mayHaveRun: write && row.Outcome == api.MayHaveRun,
		// The table says that an unknown outcome is not to be retried, because most callers
		// have no request id. This one has.
		retry: row.Retry || e.Code == api.CodeUnknownOutcome,
	}
}

// answersTheRequest reports whether a final error is the shard's answer to the request id, and
// so holds for every earlier attempt too, not only for the attempt that it refused. (K2)
func answersTheRequest(c api.Code) bool {
	switch c {
	case api.CodeNotInteger, api.CodeNotFloat, api.CodeOverflow, api.CodeNotFound, api.CodeTooLarge:
		return true // decided by evaluation, and kept as the answer
	case api.CodeReleased, api.CodeInternal:
		return true // they say themselves that it may have run
	default:
		return false
	}
}

func asError(err error) *api.Error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return &api.Error{Code: api.CodeUnavailable, Message: err.Error(), Cause: err}
}
