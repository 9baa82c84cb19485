package client

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

func TestJudgeFollowsTheErrorTable(t *testing.T) {
	for _, row := range api.Table {
		err := api.ToStatus(&api.Error{Code: row.Code, Leader: "n1", Shard: 7})
		v := judge(err, true, true)
		if v.err.Code != row.Code || v.err.Leader != "n1" || v.unreachable {
			t.Errorf("%s: %+v", row.Code, v)
		}
		if want := row.Outcome == api.MayHaveRun; v.mayHaveRun != want {
			t.Errorf("%s: may have run %t, want %t", row.Code, v.mayHaveRun, want)
		}
		if want := row.Retry || row.Code == api.CodeUnknownOutcome; v.retry != want {
			t.Errorf("%s: retry %t, want %t", row.Code, v.retry, want)
		}
		if judge(err, false, true).mayHaveRun {
			t.Errorf("%s: a read may have run", row.Code)
		}
	}
}

func TestJudgeOfErrorsOfTheConnection(t *testing.T) {
	broken := status.Error(codes.Unavailable, "broken pipe")
	late := status.Error(codes.DeadlineExceeded, "late")
	for _, test := range []struct {
		name        string
		err         error
		write, sent bool
		want        api.Code
		mayHaveRun  bool
	}{
		{"write, sent", broken, true, true, api.CodeUnknownOutcome, true},
		{"write, late", late, true, true, api.CodeUnknownOutcome, true},
		{"write, never sent", broken, true, false, api.CodeUnavailable, false},
		{"write, late to connect", late, true, false, api.CodeExpired, false},
		{"read", broken, false, true, api.CodeUnavailable, false},
		{"late read", late, false, true, api.CodeExpired, false},
		{"not a status", errors.New("odd"), true, true, api.CodeUnavailable, true},
		{"another service", status.Error(codes.Unimplemented, "unknown service"), true, true, api.CodeUnavailable, false},
	} {
		v := judge(test.err, test.write, test.sent)
		if v.err.Code != test.want || v.mayHaveRun != test.mayHaveRun || !v.retry || !v.unreachable {
			t.Errorf("%s: %+v", test.name, v)
		}
	}
}

func TestRanksPreferNodesThatDidNotFail(t *testing.T) {
	order := []rank{
		{place: 1}, {place: 2}, {slow: true}, {suspected: true}, {suspected: true, slow: true}, {failed: 1},
	}
	for i := range order {
		for j := range order {
			if got := order[i].before(order[j]); got != (i < j) {
				t.Errorf("%+v before %+v: %t", order[i], order[j], got)
			}
		}
	}
}

func TestResultsThatDoNotMatchTheBatchAreAnError(t *testing.T) {
	if _, err := batchResult(&pb.BatchResponse{Applied: true}, 1); !errors.Is(err, api.ErrInternal) {
		t.Errorf("got %v", err)
	}
	if r, err := batchResult(&pb.BatchResponse{}, 2); err != nil || len(r.Ops) != 2 {
		t.Errorf("not applied: %+v, %v", r, err)
	}
}

func TestAPageOutOfOrderOrRangeEndsTheScan(t *testing.T) {
	page := func(keys ...string) (items []*pb.Item) {
		for _, k := range keys {
			items = append(items, &pb.Item{Key: []byte(k)})
		}
		return items
	}
	for _, test := range []struct {
		name    string
		reverse bool
		keys    []string
		want    string // what is left, empty for an error
	}{
		{"in order", false, []string{"c", "d"}, "d\x00-m"},
		{"in reverse order", true, []string{"d", "c"}, "b-c"},
		{"out of order", false, []string{"d", "c"}, ""},
		{"twice", false, []string{"c", "c"}, ""},
		{"out of reverse order", true, []string{"c", "d"}, ""},
		{"below", false, []string{"a"}, ""},
		{"at the end", false, []string{"m"}, ""},
		{"empty", false, []string{""}, ""},
	} {
		s := &scan{from: &connection{}, rest: api.Range{Start: []byte("b"), End: []byte("m"), Reverse: test.reverse}}
		err := s.advance(page(test.keys...), nil)
		left := string(bytes.Join([][]byte{s.rest.Start, s.rest.End}, []byte("-")))
		if test.want == "" && !errors.Is(err, api.ErrInternal) || test.want != "" && (err != nil || left != test.want) {
			t.Errorf("%s: left %q, %v", test.name, left, err)
		}
	}
}
