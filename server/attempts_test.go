package server

import (
	"context"
	"errors"
	"testing"

	"github.com/lightning-db/lightning/api"
)

func notLeader(hint api.NodeID) error {
	return &api.Error{Code: api.CodeNotLeader, Leader: hint, Message: "not me"}
}

func codeError(c api.Code) error { return api.Errorf(c, "refused") }

// The table says for every code what a failed try means to a read and to a write, and what a
// caller gets whose time ends right afterwards.
func TestEveryErrorOfATryIsClassified(t *testing.T) {
	type want struct {
		next     step
		timedOut api.Code
	}
	stop := func(c api.Code) want { return want{stepStop, c} }
	table := map[api.Code]struct{ read, write want }{
		api.CodeInvalid:        {stop(api.CodeInvalid), stop(api.CodeInvalid)},
		api.CodeTooLarge:       {stop(api.CodeTooLarge), stop(api.CodeTooLarge)},
		api.CodeNotInteger:     {stop(api.CodeNotInteger), stop(api.CodeNotInteger)},
		api.CodeNotFloat:       {stop(api.CodeNotFloat), stop(api.CodeNotFloat)},
		api.CodeOverflow:       {stop(api.CodeOverflow), stop(api.CodeOverflow)},
		api.CodeNotFound:       {stop(api.CodeNotFound), stop(api.CodeNotFound)},
		api.CodeUnauthorized:   {stop(api.CodeUnauthorized), stop(api.CodeUnauthorized)},
		api.CodeDenied:         {stop(api.CodeDenied), stop(api.CodeDenied)},
		api.CodeTooStale:       {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnavailable}},
		api.CodeCrossShard:     {stop(api.CodeCrossShard), stop(api.CodeCrossShard)},
		api.CodeReleased:       {stop(api.CodeReleased), stop(api.CodeReleased)},
		api.CodeSnapshotTooOld: {stop(api.CodeSnapshotTooOld), stop(api.CodeSnapshotTooOld)},
		api.CodePartsMissing:   {stop(api.CodePartsMissing), stop(api.CodePartsMissing)},
		api.CodeInternal:       {stop(api.CodeInternal), stop(api.CodeInternal)},
		api.CodeNotLeader:      {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnavailable}},
		api.CodeStaleMap:       {want{stepMap, api.CodeUnavailable}, want{stepMap, api.CodeUnavailable}},
		api.CodeUnavailable:    {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnavailable}},
		api.CodeNotReady:       {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnavailable}},
		api.CodeShuttingDown:   {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnavailable}},
		api.CodeOverloaded:     {want{stepAgain, api.CodeUnavailable}, want{stepAgain, api.CodeUnavailable}},
		api.CodeExpired:        {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnavailable}},
		api.CodeUnknownOutcome: {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnknownOutcome}},
		api.CodeStoreFailed:    {want{stepOther, api.CodeUnavailable}, want{stepOther, api.CodeUnknownOutcome}},
	}
	for _, row := range api.Table {
		wants, ok := table[row.Code]
		if !ok {
			t.Errorf("%s is not in this table", row.Code)
			continue
		}
		for write, want := range map[bool]want{false: wants.read, true: wants.write} {
			a := attempts{write: write}
			err := codeError(row.Code)
			next := a.next(err)
			if next != want.next {
				t.Errorf("%s, write %v: step %d, want %d", row.Code, write, next, want.next)
			}
			got := a.stopped(err)
			if next != stepStop {
				got = a.timedOut(context.DeadlineExceeded)
			}
			if api.CodeOf(got) != want.timedOut {
				t.Errorf("%s, write %v: the caller gets %v, want %s", row.Code, write, got, want.timedOut)
			}
		}
	}
}

// V2: once a try may have run, no refusal of a later one makes the write "not executed".
func TestAWriteThatMayHaveRunIsNeverSaidNotToHave(t *testing.T) {
	for _, first := range []error{codeError(api.CodeUnknownOutcome), codeError(api.CodeStoreFailed), context.DeadlineExceeded} {
		for _, row := range api.Table {
			a := attempts{write: true}
			a.next(first)
			err := codeError(row.Code)
			got := a.timedOut(context.DeadlineExceeded)
			if a.next(err) == stepStop {
				got = a.stopped(err)
			}
			switch row.Code {
			case api.CodeInvalid, api.CodeTooLarge, api.CodeNotInteger, api.CodeNotFloat, api.CodeOverflow, api.CodeNotFound:
				// Decided by evaluation, once for the request id: nothing was executed.
				if api.CodeOf(got) != row.Code {
					t.Errorf("%v then %s: %v", first, row.Code, got)
				}
			default:
				if api.Row(api.CodeOf(got)).Outcome != api.MayHaveRun {
					t.Errorf("%v then %s: %v says that nothing ran", first, row.Code, got)
				}
			}
		}
	}
}

func TestRedirectsAreFollowedAtOnceButNotForEver(t *testing.T) {
	a := attempts{write: true}
	var steps []step
	for range 2*maxRedirects + 2 {
		steps = append(steps, a.next(notLeader("b")))
	}
	want := []step{stepRedirect, stepRedirect, stepOther, stepRedirect, stepRedirect, stepOther}
	for i := range want {
		if steps[i] != want[i] {
			t.Fatalf("steps %v, want %v", steps, want)
		}
	}
}

func TestAFullQueueIsWaitedForAFewTimesOnly(t *testing.T) {
	a := attempts{write: true}
	for i := range maxOverloads {
		if got := a.next(codeError(api.CodeOverloaded)); got != stepAgain {
			t.Fatalf("try %d: step %d", i, got)
		}
	}
	err := codeError(api.CodeOverloaded)
	if got := a.next(err); got != stepStop {
		t.Fatalf("step %d, want the caller to be told", got)
	}
	if got := a.stopped(err); !errors.Is(got, api.ErrOverloaded) {
		t.Fatal(got)
	}
}

func TestATimeOutBeforeAnyTryIsDeadlinePassed(t *testing.T) {
	a := attempts{write: true}
	if got := a.timedOut(context.DeadlineExceeded); !errors.Is(got, api.ErrExpired) {
		t.Fatal(got)
	}
	if got := a.timedOut(context.Canceled); !errors.Is(got, context.Canceled) {
		t.Fatal(got)
	}
}

func TestTheLastTryCountsWhenTheTimeEnds(t *testing.T) {
	for _, c := range []struct {
		write bool
		err   error
		want  api.Code
	}{
		{true, context.DeadlineExceeded, api.CodeUnknownOutcome},
		{true, codeError(api.CodeUnknownOutcome), api.CodeUnknownOutcome},
		{true, codeError(api.CodeStoreFailed), api.CodeUnknownOutcome},
		{true, codeError(api.CodeInternal), api.CodeUnknownOutcome},
		{true, codeError(api.CodeReleased), api.CodeUnknownOutcome},
		{true, codeError(api.CodeExpired), api.CodeExpired},
		{true, codeError(api.CodeNotLeader), api.CodeUnavailable},
		{false, context.DeadlineExceeded, api.CodeExpired},
		{false, codeError(api.CodeExpired), api.CodeExpired},
	} {
		a := attempts{write: c.write}
		a.ended(c.err)
		if got := a.timedOut(context.DeadlineExceeded); api.CodeOf(got) != c.want {
			t.Errorf("write %v, %v: %v, want %s", c.write, c.err, got, c.want)
		}
	}
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	a := attempts{}
	last := a.backoff()
	for range 100 {
		a.next(codeError(api.CodeUnavailable))
		b := a.backoff()
		if b < last || b > maxBackoff {
			t.Fatalf("backoff %v after %v", b, last)
		}
		last = b
	}
	if last != maxBackoff {
		t.Fatalf("backoff ends at %v", last)
	}
}
