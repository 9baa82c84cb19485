package transfer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
	"github.com/lightning-db/lightning/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a store in memory of three shards.
type store struct {
	mu      sync.Mutex
	items   map[string]api.Item
	batches int
	// fail, when set, may refuse a batch or break off a scan before its n-th item.
	failBatch func(n int, b api.Batch) error
	failScan  func(n int) error
	scanned   int
}

func (s *store) group(key []byte) uint64 { return uint64(router.Slot(0, key)) % 3 }

func (s *store) Apply(_ context.Context, b api.Batch) (api.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	if s.failBatch != nil {
		if err := s.failBatch(s.batches, b); err != nil {
			return api.Result{}, err
		}
	}
	result := api.Result{Applied: true, Ops: make([]api.OpResult, len(b.Ops))}
	for i, op := range b.Ops {
		if s.group(op.Key) != s.group(b.Ops[0].Key) {
			return api.Result{}, api.Errorf(api.CodeCrossShard, "several shards")
		}
		if _, exists := s.items[string(op.Key)]; exists && op.Condition.Kind == api.ConditionAbsent {
			continue
		}
		if s.items == nil {
			s.items = make(map[string]api.Item)
		}
		s.items[string(op.Key)] = api.Item{Key: bytes.Clone(op.Key), Value: bytes.Clone(op.Value), ExpiryMillis: op.Expiry.Millis, Found: true}
		result.Ops[i].Applied = true
	}
	return result, nil
}

func (s *store) Scan(_ context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		keys := slices.Sorted(maps.Keys(s.items))
		if r.Reverse {
			slices.Reverse(keys)
		}
		count := uint64(0)
		for _, key := range keys {
			if key < string(r.Start) || len(r.End) > 0 && key >= string(r.End) {
				continue
			}
			s.scanned++
			if s.failScan != nil {
				if err := s.failScan(s.scanned); err != nil {
					yield(api.Item{}, err)
					return
				}
			}
			if !yield(s.items[key], nil) {
				return
			}
			if count++; count == r.Limit {
				return
			}
		}
	}
}

// fill puts items of every kind into a store: any bytes, empty and large values, expiries.
func fill(seed uint64) *store {
	random := rand.New(rand.NewPCG(seed, 0))
	s := &store{items: make(map[string]api.Item)}
	add := func(key, value string, expiry uint64) {
		s.items[key] = api.Item{Key: []byte(key), Value: []byte(value), ExpiryMillis: expiry, Found: true}
	}
	for range 2000 {
		key, value := make([]byte, 1+random.IntN(20)), make([]byte, random.IntN(100))
		for i := range key {
			key[i] = byte(random.Uint32())
		}
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		add(string(key), string(value), uint64(random.IntN(2))*random.Uint64N(1<<50))
		add(fmt.Sprintf("text %d ü <&>\u2028\"\\", random.IntN(1e6)), "\n\ttext", 0)
	}
	add("empty", "", 0)
	add("\x00", "\x00", 1)
	add(strings.Repeat("\xfe", api.MaxKeyBytes), "long key", 5)
	return s
}

func same(t *testing.T, got, want *store) {
	t.Helper()
	if len(got.items) != len(want.items) {
		t.Errorf("%d keys, want %d", len(got.items), len(want.items))
	}
	for key, w := range want.items {
		g, ok := got.items[key]
		if !ok || !bytes.Equal(g.Value, w.Value) || g.ExpiryMillis != w.ExpiryMillis {
			t.Errorf("key %.40q: found %v, %d bytes, expiry %d, want %d bytes, expiry %d", key, ok, len(g.Value), g.ExpiryMillis, len(w.Value), w.ExpiryMillis)
		}
	}
}

func importOptions(s *store) ImportOptions { return ImportOptions{Workers: 4, Group: s.group} }

func TestWhatIsExportedIsImported(t *testing.T) {
	const seed = 11
	from, to := fill(seed), &store{}
	large := make([]byte, api.MaxValueBytes)
	rand.NewChaCha8([32]byte{seed}).Read(large)
	for _, value := range []string{string(large), strings.Repeat("\x01", api.MaxValueBytes)} { // the second as escapes
		key := "large " + value[:1]
		from.items[key] = api.Item{Key: []byte(key), Value: []byte(value), Found: true}
	}
	var file bytes.Buffer
	exported, err := Export(t.Context(), from, &file, ExportOptions{})
	if err != nil || exported.Keys != uint64(len(from.items)) || exported.Bytes != uint64(file.Len()) {
		t.Fatalf("seed %d: %v, %+v", seed, err, exported)
	}
	done, err := Import(t.Context(), to, &file, importOptions(to))
	if want := (Imported{Lines: exported.Keys, Written: exported.Keys}); err != nil || done != want {
		t.Fatalf("seed %d: %v, %+v", seed, err, done)
	}
	same(t, to, from)
}

func TestAnExportGoesOnAfterErrorsThatPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const seed = 12
		for _, r := range []api.Range{{}, {Reverse: true}, {Limit: 1000}, {Start: []byte("text 2"), End: []byte("text 7")}} {
			random := rand.New(rand.NewPCG(seed, 0))
			from := fill(seed)
			var whole, broken bytes.Buffer
			if _, err := Export(t.Context(), from, &whole, ExportOptions{Range: r}); err != nil {
				t.Fatal(err)
			}
			from.failScan = func(int) error {
				if random.IntN(50) == 0 {
					return api.Errorf(api.CodeUnavailable, "no leader")
				}
				return nil
			}
			done, err := Export(t.Context(), from, &broken, ExportOptions{Range: r, Patience: time.Minute})
			if err != nil || done.Resumed == 0 {
				t.Fatalf("seed %d: %v, %+v", seed, err, done)
			}
			if !bytes.Equal(whole.Bytes(), broken.Bytes()) {
				t.Errorf("seed %d, %+v: resuming lost or repeated something", seed, r)
			}
		}
	})
}

func TestAnExportLosesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from := fill(13)
		from.failScan = func(n int) error {
			if n > 100 {
				return api.Errorf(api.CodeUnavailable, "no leader")
			}
			return nil
		}
		began := time.Now()
		done, err := Export(t.Context(), from, io.Discard, ExportOptions{Patience: time.Minute})
		if !errors.Is(err, api.ErrUnavailable) || done.Keys != 100 {
			t.Fatalf("%v, %+v", err, done)
		}
		if took := time.Since(began); took < time.Minute || took > 90*time.Second {
			t.Errorf("it took %s", took)
		}
		from.failScan = func(int) error { return api.Errorf(api.CodeDenied, "no password") }
		began = time.Now()
		if _, err := Export(t.Context(), from, io.Discard, ExportOptions{Patience: time.Minute}); !errors.Is(err, api.ErrDenied) || time.Since(began) > 0 {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
	})
}

func TestAnOutputThatIsFullEndsAnExport(t *testing.T) {
	if _, err := Export(t.Context(), fill(14), fullDisk{}, ExportOptions{Patience: time.Hour}); !errors.Is(err, errFull) {
		t.Fatalf("got %v", err)
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestBadLinesAreNamedAndTheOthersWritten(t *testing.T) {
	input := strings.Join([]string{
		`{"key":"a","value":"1"}`, ``, `{"key":"b"}`, `{"key":"c","value":"3","expires_at_ms":99,"version":"12"}`, `{"key":"","value":"4"}`,
		`{"key":"d","value":"5"} extra`, `{"key":"e","value":"6","ttl":5}`, "{\"key\":\"\xff\",\"value\":\"7\"}", `{"key":"f","value":"\ud800"}`,
		`{"key":"g","key_b64":"Zw==","value":""}`, `{"key_b64":"/w==","value_b64":"AA=="}`, `{"key":"refused","value":"x"}`, `{"key":"last","value":"no line feed"}`,
	}, "\n")
	s := &store{failBatch: func(_ int, b api.Batch) error {
		for _, op := range b.Ops {
			if string(op.Key) == "refused" {
				return api.Errorf(api.CodeInvalid, "not this one")
			}
		}
		return nil
	}}
	o := importOptions(s)
	var bad []uint64
	o.Bad = func(line uint64, _ error) { bad = append(bad, line) }
	done, err := Import(t.Context(), s, strings.NewReader(input), o)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(bad)
	if fmt.Sprint(bad) != "[2 3 5 6 7 8 9 10 12]" || done != (Imported{Lines: 13, Written: 4, Bad: 9}) {
		t.Errorf("bad %v, %+v", bad, done)
	}
	if got := slices.Sorted(maps.Keys(s.items)); fmt.Sprintf("%q", got) != `["a" "c" "last" "\xff"]` || s.items["c"].ExpiryMillis != 99 {
		t.Errorf("got %q", got)
	}
}

func TestALineThatIsTooLongIsBadAndNotKept(t *testing.T) {
	s := &store{}
	input := io.MultiReader(strings.NewReader(`{"key":"`), io.LimitReader(endless{}, 2*maxLineBytes), strings.NewReader("\"}\n{\"key\":\"k\",\"value\":\"v\"}\n"))
	done, err := Import(t.Context(), s, input, importOptions(s))
	if err != nil || done != (Imported{Lines: 2, Written: 1, Bad: 1}) {
		t.Errorf("%v, %+v", err, done)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestTheLastLineOfAKeyWins(t *testing.T) {
	var input strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&input, `{"key":"k%d","value":"%d"}`+"\n", i%7, i)
	}
	s := &store{}
	done, err := Import(t.Context(), s, strings.NewReader(input.String()), importOptions(s))
	if err != nil || done.Written != 20000 {
		t.Fatal(err, done)
	}
	for i := range 7 {
		last := 19999 - (19999-i)%7
		if got := string(s.items[fmt.Sprintf("k%d", i)].Value); got != fmt.Sprint(last) {
			t.Errorf("k%d is %s, want %d", i, got, last)
		}
	}
}

func TestIfAbsentLeavesKeysAlone(t *testing.T) {
	s := &store{items: map[string]api.Item{"a": {Key: []byte("a"), Value: []byte("old"), Found: true}}}
	o := importOptions(s)
	o.IfAbsent = true
	done, err := Import(t.Context(), s, strings.NewReader(`{"key":"a","value":"new"}`+"\n"+`{"key":"b","value":"new"}`), o)
	if err != nil || done != (Imported{Lines: 2, Written: 1, Existing: 1}) || string(s.items["a"].Value) != "old" {
		t.Errorf("%v, %+v", err, done)
	}
}

func TestAnImportThatStoppedCanBeRepeated(t *testing.T) {
	const seed = 15
	from, to := fill(seed), &store{}
	var file bytes.Buffer
	if _, err := Export(t.Context(), from, &file, ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	to.failBatch = func(n int, _ api.Batch) error {
		if n == 5 {
			return api.Errorf(api.CodeUnknownOutcome, "connection lost")
		}
		return nil
	}
	for _, ifAbsent := range []bool{false, true} {
		to.items, to.batches = nil, 0
		o := importOptions(to)
		o.IfAbsent = ifAbsent
		done, err := Import(t.Context(), to, bytes.NewReader(file.Bytes()), o)
		if !errors.Is(err, api.ErrUnknownOutcome) || done.Open == 0 || done.Written+done.Open != done.Lines {
			t.Fatalf("seed %d: %v, %+v", seed, err, done)
		}
		if done, err = Import(t.Context(), to, bytes.NewReader(file.Bytes()), o); err != nil || done.Open != 0 {
			t.Fatalf("seed %d: %v, %+v", seed, err, done)
		}
		same(t, to, from)
	}
}

func TestAShardThatSplitGetsItsLinesOneByOne(t *testing.T) {
	s := &store{}
	o := importOptions(s)
	o.Group = func([]byte) uint64 { return 0 } // as if there were one shard
	var input strings.Builder
	for i := range 300 {
		fmt.Fprintf(&input, `{"key":"k%d","value":"v"}`+"\n", i)
	}
	done, err := Import(t.Context(), s, strings.NewReader(input.String()), o)
	if err != nil || done.Written != 300 || len(s.items) != 300 {
		t.Errorf("%v, %+v", err, done)
	}
}

func TestAnImportHoldsABoundedPart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &store{}
	o := importOptions(s)
	o.Group = func(key []byte) uint64 { return uint64(router.Slot(0, key)) } // 16384 shards
	entered := make(chan struct{}, 100)
	to := stuck{ctx, entered}
	value := strings.Repeat("x", 64<<10)
	read := 0
	input := readerFunc(func(p []byte) (int, error) {
		read++
		return copy(p, fmt.Sprintf(`{"key":"k%d","value":"%s"}`+"\n", read, value)), nil
	})
	finished := make(chan error, 1)
	go func() {
		_, err := Import(ctx, to, input, o)
		finished <- err
	}()
	<-entered
	cancel()
	if err := <-finished; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if held := read * len(value); held > pendingBytes+32<<20 {
		t.Errorf("%d bytes were read from the input while nothing was written", held)
	}
}

// stuck never answers.
type stuck struct {
	ctx     context.Context
	entered chan struct{}
}

func (s stuck) Apply(ctx context.Context, _ api.Batch) (api.Result, error) {
	s.entered <- struct{}{}
	<-ctx.Done()
	return api.Result{}, ctx.Err()
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestLinesGoThroughTheSDK(t *testing.T) {
	cluster := fakecluster.New(3)
	defer cluster.Close()
	c, err := client.New(client.Options{Addresses: cluster.Addresses(), Dialer: cluster.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var input strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&input, `{"key":"k%04d","value":"%d"}`+"\n", i, i)
	}
	done, err := Import(t.Context(), c, strings.NewReader(input.String()), ImportOptions{Workers: 4, Group: func([]byte) uint64 { return 0 }})
	if err != nil || done.Written != 1000 {
		t.Fatalf("%v, %+v", err, done)
	}
	var out bytes.Buffer
	if _, err := Export(t.Context(), c, &out, ExportOptions{}); err != nil || out.String() != input.String() {
		t.Errorf("%v, %d bytes, want %d", err, out.Len(), input.Len())
	}
}

func FuzzParseLine(f *testing.F) {
	for _, seed := range []string{`{"key":"a","value":"b","expires_at_ms":1}`, `{"key_b64":"/w==","value_b64":""}`, `{"key":"\ud800","value":""}`, `[]`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		item, err := parseLine(text)
		if err != nil {
			return
		}
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if _, err := writeLine(w, item); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		again, err := parseLine(out.Bytes())
		if err != nil || !bytes.Equal(again.Key, item.Key) || !bytes.Equal(again.Value, item.Value) || again.ExpiryMillis != item.ExpiryMillis {
			t.Fatalf("%q became %q: %v", text, out.Bytes(), err)
		}
	})
}
