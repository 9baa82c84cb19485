package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

func TestReadsCarryKeysAndTheirBoundOfStaleness(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	f.kv.found = []api.Item{{Found: true, Value: []byte("v"), Version: 7, ExpiryMillis: 9}}
	got, err := client.Get(t.Context(), &pb.GetRequest{Key: []byte("a"), MaxStalenessMs: 1500})
	if err != nil || !got.Found || string(got.Value) != "v" || got.Version != 7 || got.ExpiryMs != 9 {
		t.Fatal(got, err)
	}
	if q := f.kv.query; len(q.Keys) != 1 || string(q.Keys[0]) != "a" || q.MaxStaleness != 1500*time.Millisecond || q.Here {
		t.Fatalf("%+v", q)
	}
	f.kv.found = []api.Item{{Found: true, Value: []byte("v"), Version: 7}, {}, {Found: true, Value: []byte{}, Version: 8, ExpiryMillis: 3}}
	many, err := client.MultiGet(t.Context(), &pb.MultiGetRequest{Keys: [][]byte{[]byte("a"), []byte("b"), []byte("c")}})
	if err != nil || len(many.Items) != 3 {
		t.Fatal(many, err)
	}
	if q := f.kv.query; len(q.Keys) != 3 || string(q.Keys[2]) != "c" || q.MaxStaleness != 0 {
		t.Fatalf("%+v", q)
	}
	if i := many.Items; !i[0].Found || string(i[0].Value) != "v" || i[1].Found || i[1].Version != 0 || !i[2].Found || len(i[2].Value) != 0 || i[2].ExpiryMs != 3 {
		t.Fatal(many)
	}
	if _, err := client.MultiGet(t.Context(), &pb.MultiGetRequest{Keys: [][]byte{[]byte("a")}}); !errors.Is(api.FromStatus(err, false), api.ErrInternal) {
		t.Fatalf("three items for one key: %v", err)
	}
	if _, err := scanAll(t, client, &pb.ScanRequest{MaxStalenessMs: 20}); err != nil {
		t.Fatal(err)
	}
	if r := f.kv.rng; r.MaxStaleness != 20*time.Millisecond {
		t.Fatalf("%+v", r)
	}
}

// scanAll is every message of a scan.
func scanAll(t *testing.T, client pb.KVClient, req *pb.ScanRequest) ([]*pb.ScanResponse, error) {
	t.Helper()
	stream, err := client.Scan(t.Context(), req)
	if err != nil {
		return nil, err
	}
	var all []*pb.ScanResponse
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, page)
	}
}

// The two lists of numbers are one: what is added to the one and not to the other fails here.
func TestTheNumbersOfTheEnumerationsAreThoseOfTheAPI(t *testing.T) {
	for name, c := range map[string]struct {
		names map[int32]string
		last  int32
	}{
		"operations": {pb.OpKind_name, int32(api.OpRename)},
		"expiries":   {pb.ExpiryMode_name, int32(api.ExpiryAfter)},
		"conditions": {pb.ConditionKind_name, int32(api.ConditionExpiringSooner)},
	} {
		if len(c.names) != int(c.last)+1 || c.names[c.last] == "" {
			t.Errorf("%s: %d in the protocol, the last of the API is %d", name, len(c.names), c.last)
		}
	}
	for got, want := range map[string]string{
		pb.OpKind(api.OpPut).String(): "OP_KIND_PUT", pb.OpKind(api.OpDelete).String(): "OP_KIND_DELETE",
		pb.OpKind(api.OpIncrement).String(): "OP_KIND_INCREMENT", pb.OpKind(api.OpExpire).String(): "OP_KIND_EXPIRE",
		pb.OpKind(api.OpGet).String(): "OP_KIND_GET", pb.OpKind(api.OpCheck).String(): "OP_KIND_CHECK",
		pb.OpKind(api.OpAppend).String(): "OP_KIND_APPEND", pb.OpKind(api.OpSetRange).String(): "OP_KIND_SET_RANGE",
		pb.OpKind(api.OpSetBit).String(): "OP_KIND_SET_BIT", pb.OpKind(api.OpIncrementFloat).String(): "OP_KIND_INCREMENT_FLOAT",
		pb.OpKind(api.OpCopy).String(): "OP_KIND_COPY", pb.OpKind(api.OpRename).String(): "OP_KIND_RENAME",
		pb.ExpiryMode(api.ExpiryNone).String(): "EXPIRY_MODE_NONE", pb.ExpiryMode(api.ExpiryKeep).String(): "EXPIRY_MODE_KEEP",
		pb.ExpiryMode(api.ExpiryAt).String(): "EXPIRY_MODE_AT", pb.ExpiryMode(api.ExpiryAfter).String(): "EXPIRY_MODE_AFTER",
		pb.ConditionKind(api.ConditionNone).String(): "CONDITION_KIND_NONE", pb.ConditionKind(api.ConditionAbsent).String(): "CONDITION_KIND_ABSENT",
		pb.ConditionKind(api.ConditionPresent).String(): "CONDITION_KIND_PRESENT", pb.ConditionKind(api.ConditionVersion).String(): "CONDITION_KIND_VERSION",
		pb.ConditionKind(api.ConditionPersistent).String():     "CONDITION_KIND_PERSISTENT",
		pb.ConditionKind(api.ConditionExpiring).String():       "CONDITION_KIND_EXPIRING",
		pb.ConditionKind(api.ConditionExpiresLater).String():   "CONDITION_KIND_EXPIRES_LATER",
		pb.ConditionKind(api.ConditionExpiresSooner).String():  "CONDITION_KIND_EXPIRES_SOONER",
		pb.ConditionKind(api.ConditionExpiringSooner).String(): "CONDITION_KIND_EXPIRING_SOONER",
	} {
		if got != want {
			t.Errorf("%s is %s", want, got)
		}
	}
}

func TestABatchArrivesWithEveryFieldOfEveryOperation(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	var want []api.Op
	req := &pb.BatchRequest{Independent: true}
	for kind := api.OpPut; kind <= api.OpRename; kind++ {
		n := int(kind)
		op := api.Op{
			Kind: kind, Key: fmt.Append(nil, "key", n), Source: fmt.Append(nil, "source", n), Value: fmt.Append(nil, "value", n),
			Delta: int64(-n), Offset: uint64(n), Expiry: api.Expiry{Mode: api.ExpiryMode(n % 4), Millis: uint64(n)},
			Condition:      api.Condition{Kind: api.ConditionKind(n % 9), Version: api.Version(n)},
			ReturnPrevious: n%2 == 0, Joined: n%3 == 0, Blind: n%5 == 0,
		}
		want = append(want, op)
		req.Ops = append(req.Ops, &pb.Op{
			Kind: pb.OpKind(n), Key: op.Key, Source: op.Source, Value: op.Value, Delta: op.Delta, Offset: op.Offset,
			ExpiryMode: pb.ExpiryMode(n % 4), ExpiryMs: uint64(n), Condition: pb.ConditionKind(n % 9), ConditionVersion: uint64(n),
			ReturnPrevious: op.ReturnPrevious, Joined: op.Joined, Blind: op.Blind,
		})
	}
	if _, err := client.Batch(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if b := f.kv.batch; !b.Independent || !b.Request.IsZero() || !reflect.DeepEqual(b.Ops, want) {
		t.Fatalf("%+v", b)
	}
	// A field that is added to an operation must be added here, and so to the protocol. Parts is
	// between the nodes: a client cannot name what it has not staged.
	for _, typ := range []struct {
		of     reflect.Type
		fields int
	}{{reflect.TypeFor[api.Op](), 12}, {reflect.TypeFor[api.OpResult](), 8}, {reflect.TypeFor[api.Batch](), 4}, {reflect.TypeFor[api.Range](), 7}} {
		if typ.of.NumField() != typ.fields {
			t.Errorf("%s has %d fields, this test knows %d", typ.of, typ.of.NumField(), typ.fields)
		}
	}
}

func TestAResultArrivesWithEveryField(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	f.kv.result = api.Result{Applied: true, FailedOp: 2, Version: 11, Ops: []api.OpResult{
		{Applied: true, Existed: true, Previous: []byte("old"), PreviousVersion: 3, PreviousExpiry: 4, Number: -5, Text: []byte("1.5")},
		{Existed: true, Previous: []byte{}, PreviousVersion: 6, Code: api.CodeNotFloat},
		{},
	}}
	res, err := client.Batch(t.Context(), &pb.BatchRequest{Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_GET, Key: []byte("k")}}})
	if err != nil || !res.Applied || res.FailedOp != 2 || res.Version != 11 || len(res.Results) != 3 {
		t.Fatal(res, err)
	}
	r := res.Results
	if !r[0].Applied || !r[0].Existed || string(r[0].Previous) != "old" || r[0].PreviousVersion != 3 || r[0].PreviousExpiryMs != 4 ||
		r[0].Number != -5 || string(r[0].Text) != "1.5" || r[0].ErrorCode != "" {
		t.Errorf("%v", r[0])
	}
	if r[1].Applied || r[1].ErrorCode != "NOT_FLOAT" || r[1].Previous == nil || len(r[1].Previous) != 0 {
		t.Errorf("a previous value that is empty: %v", r[1])
	}
	if r[2].Previous != nil {
		t.Errorf("no previous value: %v", r[2])
	}
}

// scanItems makes a KV that scans keys as a server would.
func (f *fixture) scanItems(count int, valueBytes int) {
	for i := range count {
		f.kv.items = append(f.kv.items, api.Item{Key: fmt.Appendf(nil, "%05d", i), Value: make([]byte, valueBytes), Version: 1})
	}
}

// Whatever message a scan is broken off behind, the rest of the range is what follows it.
func TestAScanGoesOnFromEveryMessage(t *testing.T) {
	for _, reverse := range []bool{false, true} {
		for _, keysOnly := range []bool{false, true} {
			for _, c := range []struct {
				count, limit, valueBytes int
			}{{0, 0, 1}, {1, 0, 1}, {1, 1, 1}, {5, 5, 1}, {5, 9, 1}, {1024, 0, 1}, {1025, 0, 1}, {2048, 2048, 1}, {3000, 0, 1}, {40, 0, 100_000}} {
				f := start(t)
				f.scanItems(c.count, c.valueBytes)
				if reverse {
					slices.Reverse(f.kv.items)
				}
				pages, err := scanAll(t, pb.NewKVClient(f.conn), &pb.ScanRequest{Reverse: reverse, KeysOnly: keysOnly, Limit: uint64(c.limit)})
				if err != nil {
					t.Fatal(err)
				}
				seen := 0
				for i, page := range pages {
					seen += len(page.Items)
					last := i == len(pages)-1
					if ended := last && c.count != c.limit; ended != (len(page.Resume) == 0) {
						t.Fatalf("%+v, reverse %t: message %d of %d resumes at %q", c, reverse, i, len(pages), page.Resume)
					}
					if len(page.Resume) > 0 && !splits(f.kv.items, seen, page.Resume, reverse) {
						t.Fatalf("%+v, reverse %t: behind item %d the scan goes on from %q", c, reverse, seen, page.Resume)
					}
				}
				if seen != c.count {
					t.Fatalf("%+v: %d items", c, seen)
				}
			}
		}
	}
}

// splits reports whether a bound separates the first items from the rest.
func splits(items []api.Item, first int, bound []byte, reverse bool) bool {
	for i, item := range items {
		behind := bytes.Compare(item.Key, bound) >= 0
		if reverse {
			behind = bytes.Compare(item.Key, bound) < 0
		}
		if behind != (i >= first) {
			return false
		}
	}
	return true
}

func TestAScanThatFailsSaysWhereToGoOn(t *testing.T) {
	f := start(t)
	f.scanItems(3, 1)
	f.kv.err = api.Errorf(api.CodeUnavailable, "later")
	pages, err := scanAll(t, pb.NewKVClient(f.conn), &pb.ScanRequest{})
	if !errors.Is(api.FromStatus(err, false), api.ErrUnavailable) || len(pages) != 1 || string(pages[0].Resume) != "00002\x00" {
		t.Fatal(pages, err)
	}
}

// C1: a client in any language decides by the details, without a table of its own.
func TestEveryErrorSaysWhetherToRetryAndWhatToDo(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	for _, row := range api.Table {
		f.kv.err = api.Errorf(row.Code, "refused")
		_, err := client.Put(t.Context(), &pb.PutRequest{Key: []byte("k")})
		details := status.Convert(err).Details()
		if len(details) != 1 {
			t.Fatalf("%s: %v", row.Code, details)
		}
		d, ok := details[0].(*pb.ErrorDetail)
		if !ok || d.Code != string(row.Code) || d.Retry != row.Retry || d.MayHaveRun != (row.Outcome == api.MayHaveRun) || d.Next != row.Next || d.Next == "" {
			t.Errorf("%s: %v", row.Code, d)
		}
	}
}

// The deadline of the call is the deadline of the operation, and its end is told by the KV.
func TestTheDeadlineOfACallReachesTheOperation(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	f.kv.apply = func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		if left := time.Until(deadline); !ok || left > time.Minute || left < 30*time.Second {
			return api.Errorf(api.CodeInternal, "%v left, %t", left, ok)
		}
		return api.Errorf(api.CodeExpired, "not proposed in time")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := client.Put(ctx, &pb.PutRequest{Key: []byte("k")})
	if got := api.FromStatus(err, true); !errors.Is(got, api.ErrExpired) {
		t.Fatal(got)
	}
}
