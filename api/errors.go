package api

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
)

// Code is the stable name of an error. It crosses the wire; texts may change, codes do not.
type Code string

// The codes. Table says what each means to every protocol.
const (
	CodeInvalid        Code = "INVALID"          // the request can never succeed
	CodeTooLarge       Code = "TOO_LARGE"        // a key, value or batch over its limit
	CodeNotInteger     Code = "NOT_INTEGER"      // increment of something that is not an integer
	CodeNotFloat       Code = "NOT_FLOAT"        // increment by or of something that is not a decimal number
	CodeOverflow       Code = "OVERFLOW"         // the sum does not fit into 64 bits, or is not finite
	CodeNotFound       Code = "NOT_FOUND"        // the source of a copy or rename does not exist
	CodeUnauthorized   Code = "UNAUTHENTICATED"  // no credentials, or wrong ones
	CodeDenied         Code = "DENIED"           // known, but not allowed
	CodeTooStale       Code = "TOO_STALE"        // a replica cannot prove that it is as fresh as asked for
	CodeCrossShard     Code = "CROSS_SHARD"      // a batch whose keys live on several shards
	CodeNotLeader      Code = "NOT_LEADER"       // this replica does not lead; a hint may say who does
	CodeStaleMap       Code = "STALE_MAP"        // the sender's map is older or newer than the shard
	CodeUnavailable    Code = "UNAVAILABLE"      // no leader or no majority; nothing was executed
	CodeNotReady       Code = "NOT_READY"        // this node has no cluster map yet
	CodeOverloaded     Code = "OVERLOADED"       // refused early; nothing was executed
	CodeExpired        Code = "DEADLINE_PASSED"  // the deadline passed before execution; nothing was executed
	CodeUnknownOutcome Code = "UNKNOWN_OUTCOME"  // a write may or may not have been executed
	CodeReleased       Code = "REQUEST_RELEASED" // the request id is below the floor or its session is forgotten
	CodePartsMissing   Code = "PARTS_MISSING"    // the parts of a value were dropped before their batch came
	CodeSnapshotTooOld Code = "SNAPSHOT_TOO_OLD" // a read below the retention horizon
	CodeStoreFailed    Code = "STORE_FAILED"     // the disk failed; the node stops
	CodeShuttingDown   Code = "SHUTTING_DOWN"    // the node is stopping; nothing was executed
	CodeInternal       Code = "INTERNAL"         // our bug
)

// Outcome says what the caller may assume about the write it asked for.
type Outcome uint8

// The outcomes.
const (
	NotExecuted Outcome = iota // certainly nothing happened
	MayHaveRun                 // it may have happened, may still happen, or not
)

// ErrorRow is one row of the error table.
type ErrorRow struct {
	Code    Code
	GRPC    codes.Code
	RESP    string // first word of a Redis error
	HTTP    int
	Retry   bool // a retry, perhaps elsewhere, may succeed
	Outcome Outcome
	Next    string // what the person who reads it should do
}

// Table maps every error to every protocol. There is no other list.
var Table = []ErrorRow{
	{CodeInvalid, codes.InvalidArgument, "ERR", 400, false, NotExecuted, "correct the request"},
	{CodeTooLarge, codes.InvalidArgument, "ERR", 413, false, NotExecuted, "split the value or the batch"},
	{CodeNotInteger, codes.FailedPrecondition, "ERR", 409, false, NotExecuted, "increment only decimal 64-bit integers"},
	{CodeNotFloat, codes.FailedPrecondition, "ERR", 409, false, NotExecuted, "increment only decimal numbers"},
	{CodeOverflow, codes.FailedPrecondition, "ERR", 409, false, NotExecuted, "keep whole sums within 64 bits and others finite"},
	{CodeNotFound, codes.NotFound, "ERR", 404, false, NotExecuted, "name a key that exists"},
	{CodeUnauthorized, codes.Unauthenticated, "NOAUTH", 401, false, NotExecuted, "give the password: AUTH, --password-file, or Authorization: Bearer"},
	{CodeDenied, codes.PermissionDenied, "NOPERM", 403, false, NotExecuted, "only nodes of the cluster may do this, by their certificates"},
	{CodeTooStale, codes.Unavailable, "UNAVAILABLE", 503, true, NotExecuted, "ask the leader, or allow more staleness"},
	{CodeCrossShard, codes.FailedPrecondition, "CROSSSLOT", 409, false, NotExecuted, "use keys with one {hash tag}"},
	{CodeNotLeader, codes.FailedPrecondition, "UNAVAILABLE", 503, true, NotExecuted, "ask the leader named in the details"},
	{CodeStaleMap, codes.FailedPrecondition, "UNAVAILABLE", 503, true, NotExecuted, "fetch the cluster map and retry"},
	{CodeUnavailable, codes.Unavailable, "UNAVAILABLE", 503, true, NotExecuted, "retry; if it lasts, check that a majority of nodes is up"},
	{CodeNotReady, codes.Unavailable, "UNAVAILABLE", 503, true, NotExecuted, "wait until the cluster has formed"},
	{CodeOverloaded, codes.ResourceExhausted, "OVERLOADED", 503, true, NotExecuted, "slow down and retry"},
	{CodeExpired, codes.DeadlineExceeded, "TIMEOUT", 504, true, NotExecuted, "retry with a longer deadline"},
	{CodeUnknownOutcome, codes.Unknown, "UNKNOWN", 504, false, MayHaveRun, "read the key, or retry under the same request id"},
	{CodeReleased, codes.FailedPrecondition, "UNKNOWN", 409, false, MayHaveRun, "the answer is no longer kept; read the key"},
	{CodePartsMissing, codes.Aborted, "UNAVAILABLE", 503, true, NotExecuted, "send the value again"},
	{CodeSnapshotTooOld, codes.OutOfRange, "UNAVAILABLE", 503, true, NotExecuted, "read again, which finds what is there now"},
	{CodeStoreFailed, codes.Unavailable, "UNKNOWN", 503, true, MayHaveRun, "check the node's disk; the node stops and its peers take over"},
	{CodeShuttingDown, codes.Unavailable, "UNAVAILABLE", 503, true, NotExecuted, "retry on another node"},
	{CodeInternal, codes.Internal, "UNKNOWN", 500, false, MayHaveRun, "report this with the node's log"},
}

// Row finds the row of a code; an unknown code, perhaps from a newer node, reads as CodeInternal.
func Row(c Code) ErrorRow {
	for _, r := range Table {
		if r.Code == c {
			return r
		}
	}
	return Row(CodeInternal)
}

// Error is every error that reaches a client. Compare codes with errors.Is and the sentinels
// below; read hints with errors.As.
type Error struct {
	Code    Code
	Message string
	// Hints, zero when they do not apply.
	Shard  ShardID
	Leader NodeID
	Epoch  Epoch
	// Cause is local and does not cross the wire.
	Cause error
}

// Sentinels for errors.Is.
var (
	ErrInvalid        = &Error{Code: CodeInvalid}
	ErrTooLarge       = &Error{Code: CodeTooLarge}
	ErrNotInteger     = &Error{Code: CodeNotInteger}
	ErrNotFloat       = &Error{Code: CodeNotFloat}
	ErrOverflow       = &Error{Code: CodeOverflow}
	ErrNotFound       = &Error{Code: CodeNotFound}
	ErrUnauthorized   = &Error{Code: CodeUnauthorized}
	ErrDenied         = &Error{Code: CodeDenied}
	ErrTooStale       = &Error{Code: CodeTooStale}
	ErrCrossShard     = &Error{Code: CodeCrossShard}
	ErrNotLeader      = &Error{Code: CodeNotLeader}
	ErrStaleMap       = &Error{Code: CodeStaleMap}
	ErrUnavailable    = &Error{Code: CodeUnavailable}
	ErrNotReady       = &Error{Code: CodeNotReady}
	ErrOverloaded     = &Error{Code: CodeOverloaded}
	ErrExpired        = &Error{Code: CodeExpired}
	ErrUnknownOutcome = &Error{Code: CodeUnknownOutcome}
	ErrReleased       = &Error{Code: CodeReleased}
	ErrPartsMissing   = &Error{Code: CodePartsMissing}
	ErrSnapshotTooOld = &Error{Code: CodeSnapshotTooOld}
	ErrStoreFailed    = &Error{Code: CodeStoreFailed}
	ErrShuttingDown   = &Error{Code: CodeShuttingDown}
	ErrInternal       = &Error{Code: CodeInternal}
)

// Errorf makes an error of code c; %w wraps a cause.
func Errorf(c Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: c, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Error implements error.
func (e *Error) Error() string {
	if e.Message == "" {
		return string(e.Code) + ": " + Row(e.Code).Next
	}
	return e.Message
}

// Unwrap gives the local cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches by code, so that errors.Is(err, ErrNotLeader) works across the wire.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf is the code of the first *Error in err's chain, CodeInternal when there is none, and
// empty for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
