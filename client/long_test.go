package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/fakecluster"
)

const longBytes = api.MaxMessageValueBytes + 1000

// longValue is a value of the given length that is like no other.
func longValue(seed uint64, length int) []byte {
	value := make([]byte, length)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(value)
	return value
}

// stream is a reader that cannot go back.
type stream struct{ io.Reader }

// onUpload intercepts uploads only.
func onUpload(f fakecluster.Intercept) fakecluster.Intercept {
	return func(ctx context.Context, method string, request any, next func() (any, error)) (any, error) {
		if method != "Upload" {
			return next()
		}
		return f(ctx, method, request, next)
	}
}

func putLong(t *testing.T, c *client.Client, key, value []byte) api.Version {
	t.Helper()
	result, err := c.Put(t.Context(), 0, key, value, client.PutOptions{})
	if err != nil || !result.Applied {
		t.Fatalf("put: %+v, %v", result, err)
	}
	return result.Version
}

func TestAValueGoesInChunksFromTheLimitOfAMessageOn(t *testing.T) {
	cluster, c := start(t, 3)
	for _, length := range []int{api.MaxMessageValueBytes - 1000, longBytes, api.MaxValueBytes} {
		before := cluster.Chunks()
		key, value := keyOn(1, 3), longValue(1, length)
		version := putLong(t, c, key, value)
		if long := length > api.MaxMessageValueBytes; long != (cluster.Chunks() > before) {
			t.Errorf("%d bytes: %d chunks", length, cluster.Chunks()-before)
		}
		item, err := c.Get(t.Context(), 0, key)
		if err != nil || !item.Found || item.Version != version || !bytes.Equal(item.Value, value) || string(item.Key) != string(key) {
			t.Errorf("get of %d bytes: found %t, version %d of %d, %d bytes, %v", length, item.Found, item.Version, version, len(item.Value), err)
		}
		items, err := c.MultiGet(t.Context(), 0, [][]byte{[]byte("absent"), key, keyOn(2, 3)})
		if err != nil || items[0].Found || !bytes.Equal(items[1].Value, value) || items[2].Found {
			t.Errorf("multiget of %d bytes: %v", length, err)
		}
	}
	if _, err := c.Put(t.Context(), 0, []byte("k"), make([]byte, api.MaxValueBytes+1), client.PutOptions{}); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("put of a byte more than the limit: %v", err)
	}
}

func TestPutFromAndGetToPassAValueOn(t *testing.T) {
	for _, length := range []int{0, 1, api.MaxInlineBytes, api.MaxInlineBytes + 1, 2 * api.MaxInlineBytes, longBytes} {
		value := longValue(2, length)
		for name, reader := range map[string]io.Reader{
			"seeker": bytes.NewReader(value), "reader": stream{bytes.NewReader(value)}, "bytewise": stream{fewBytes{bytes.NewReader(value)}},
		} {
			_, c := start(t, 3)
			result, err := c.PutFrom(t.Context(), 0, []byte("k"), reader, client.PutOptions{Expiry: api.Expiry{Mode: api.ExpiryAt, Millis: 1 << 50}})
			if err != nil || !result.Applied || len(result.Ops) != 1 || result.Ops[0].Existed {
				t.Fatalf("%s of %d bytes: %+v, %v", name, length, result, err)
			}
			var got bytes.Buffer
			item, err := c.GetTo(t.Context(), 0, []byte("k"), &got)
			if err != nil || !item.Found || item.Value != nil || item.Version != result.Version || item.ExpiryMillis != 1<<50 || !bytes.Equal(got.Bytes(), value) {
				t.Errorf("%s of %d bytes came back as %d: %+v, %v", name, length, got.Len(), item, err)
			}
		}
	}
	_, c := start(t, 1)
	for _, r := range []io.Reader{bytes.NewReader(make([]byte, api.MaxValueBytes+1)), stream{bytes.NewReader(make([]byte, api.MaxValueBytes+1))}} {
		if _, err := c.PutFrom(t.Context(), 0, []byte("k"), r, client.PutOptions{}); !errors.Is(err, api.ErrTooLarge) {
			t.Errorf("a byte more than the limit: %v", err)
		}
	}
	item, err := c.GetTo(t.Context(), 0, []byte("k"), io.Discard)
	if err != nil || item.Found {
		t.Errorf("what was refused is there: %+v, %v", item, err)
	}
}

// fewBytes reads few bytes at a time.
type fewBytes struct{ r io.Reader }

func (o fewBytes) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 1000)]) }

func TestAnUploadWhoseReplyIsLostIsRepeatedUnderTheSameRequestID(t *testing.T) {
	value := longValue(3, longBytes)
	for name, put := range map[string]func(*client.Client) (api.Result, error){
		"bytes": func(c *client.Client) (api.Result, error) {
			return c.Put(t.Context(), 0, keyOn(1, 3), value, client.PutOptions{})
		},
		"seeker": func(c *client.Client) (api.Result, error) {
			return c.PutFrom(t.Context(), 0, keyOn(1, 3), bytes.NewReader(value), client.PutOptions{})
		},
		"batch": func(c *client.Client) (api.Result, error) {
			return c.Apply(t.Context(), api.Batch{Ops: []api.Op{
				{Kind: api.OpIncrement, Key: []byte("{a}n"), Delta: 1},
				{Kind: api.OpPut, Key: []byte("{a}1"), Value: value},
				{Kind: api.OpPut, Key: []byte("{a}2"), Value: []byte("short")},
				{Kind: api.OpPut, Key: []byte("{a}3"), Value: value[:api.MinStagedBytes]},
			}})
		},
	} {
		cluster, c := start(t, 3)
		var lost atomic.Bool
		for i := range 3 {
			cluster.Node(i).SetIntercept(onUpload(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
				response, err := next()
				if !lost.Swap(true) {
					cluster.Node(i).Cut()
				}
				return response, err
			}))
		}
		result, err := put(c)
		if err != nil || !result.Applied || result.Version != 1 {
			t.Fatalf("%s: %+v, %v", name, result, err)
		}
		writes := cluster.Writes()
		if len(writes) < 2 {
			t.Fatalf("%s: %d attempts, want a retry", name, len(writes))
		}
		for _, w := range writes[1:] { // K3
			if w.GetRequestId().String() != writes[0].GetRequestId().String() {
				t.Errorf("%s: retried as %v, first sent as %v", name, w.GetRequestId(), writes[0].GetRequestId())
			}
		}
		if name == "batch" {
			if stored, _ := cluster.Value("{a}n"); string(stored) != "1" {
				t.Errorf("the batch ran %s times", stored)
			}
		}
	}
}

func TestAReaderThatCannotGoBackIsToldWhetherItsPutMayHaveRun(t *testing.T) {
	for _, test := range []struct {
		name      string
		intercept fakecluster.Intercept
		want      error
	}{
		{"reply lost", func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
			_, _ = next()
			return nil, status.Error(codes.Unavailable, "gone")
		}, api.ErrUnknownOutcome},
		{"broken in the middle", func(context.Context, string, any, func() (any, error)) (any, error) {
			return nil, status.Error(codes.Unavailable, "gone")
		}, api.ErrUnavailable},
		{"refused", func(context.Context, string, any, func() (any, error)) (any, error) {
			return nil, api.Errorf(api.CodeOverloaded, "refused")
		}, api.ErrOverloaded},
	} {
		cluster, c := start(t, 1)
		cluster.Node(0).SetIntercept(onUpload(test.intercept))
		value := longValue(4, longBytes)
		_, err := c.PutFrom(t.Context(), 0, []byte("k"), stream{bytes.NewReader(value)}, client.PutOptions{})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if test.want == api.ErrUnknownOutcome {
			continue
		}
		// A seeker is sent until the context ends, which on a busy machine may come before the first answer.
		for limit := 300 * time.Millisecond; !errors.Is(err, test.want) || limit == 300*time.Millisecond; limit *= 4 {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			_, err = c.PutFrom(ctx, 0, []byte("k"), bytes.NewReader(value), client.PutOptions{})
			cancel()
			if !errors.Is(err, test.want) && limit > 10*time.Second {
				t.Fatalf("%s, of a seeker: %v, want %v", test.name, err, test.want)
			}
		}
	}
}

// What the caller's reader does in a later attempt says nothing about the first, which may have run.
func TestAReaderThatFailsInALaterAttemptLeavesTheOutcomeUnknown(t *testing.T) {
	for name, later := range map[string]func([]byte) (int, error){
		"over the limit": func(p []byte) (int, error) { return len(p), nil },
		"broken":         func([]byte) (int, error) { return 0, errors.New("the cable is out") },
	} {
		cluster, c := start(t, 1)
		cluster.Node(0).SetIntercept(onUpload(func(_ context.Context, _ string, _ any, next func() (any, error)) (any, error) {
			_, _ = next()
			return nil, status.Error(codes.Unavailable, "gone")
		}))
		r := &changing{Reader: bytes.NewReader(longValue(4, longBytes)), later: later}
		_, err := c.PutFrom(t.Context(), 0, []byte("k"), r, client.PutOptions{})
		if r.begun < 2 || !errors.Is(err, api.ErrUnknownOutcome) {
			t.Errorf("%s: %v after %d attempts", name, err, r.begun)
		}
	}
}

// changing is a reader that is another one when it was read to its end.
type changing struct {
	*bytes.Reader
	later func([]byte) (int, error)
	begun int // attempts
}

func (c *changing) Read(p []byte) (int, error) {
	if c.begun > 1 {
		return c.later(p)
	}
	c.begun = max(c.begun, 1)
	return c.Reader.Read(p)
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if c.begun > 0 && whence == io.SeekStart {
		c.begun++
	}
	return c.Reader.Seek(offset, whence)
}

func TestAReaderOrWriterThatFailsEndsTheCall(t *testing.T) {
	cluster, c := start(t, 1)
	broken := errors.New("the cable is out")
	r := io.MultiReader(bytes.NewReader(longValue(5, longBytes)), failing{broken})
	_, err := c.PutFrom(t.Context(), 0, []byte("k"), r, client.PutOptions{})
	if !errors.Is(err, broken) || !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), "read the value") {
		t.Errorf("put: %v", err)
	}
	if _, found := cluster.Value("k"); found {
		t.Error("a part of a value was written")
	}
	putLong(t, c, []byte("k"), longValue(5, longBytes))
	if _, err := c.GetTo(t.Context(), 0, []byte("k"), failing{broken}); !errors.Is(err, broken) || !errors.Is(err, api.ErrInvalid) {
		t.Errorf("get: %v", err)
	}
}

// failing is a reader and a writer.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestADamagedChunkIsNoticedAndReadAgain(t *testing.T) {
	cluster, c := start(t, 1)
	value := longValue(6, longBytes)
	version := putLong(t, c, []byte("k"), value)
	for name, damage := range map[string]func(chunk *pb.Chunk){
		"a bit": func(chunk *pb.Chunk) {
			chunk.Data = bytes.Clone(chunk.Data)
			chunk.Data[100] ^= 1
		},
		"the end":   func(chunk *pb.Chunk) { chunk.Last = true },
		"too short": func(chunk *pb.Chunk) { chunk.Data = chunk.Data[1:] },
	} {
		var n atomic.Int64 // a stream that the client has left goes on for a moment beside the next one
		cluster.Node(0).SetDamage(func(chunk *pb.Chunk) {
			if n.Add(1) == 5 {
				damage(chunk)
			}
		})
		item, err := c.Get(t.Context(), 0, []byte("k"))
		if err != nil || item.Version != version || !bytes.Equal(item.Value, value) || n.Load() <= 5+longBytes/api.MaxChunkBytes {
			t.Errorf("%s: %d bytes after %d chunks, %v", name, len(item.Value), n.Load(), err)
		}
		n.Store(0)
		var got bytes.Buffer
		if _, err := c.GetTo(t.Context(), 0, []byte("k"), &got); err != nil || !bytes.Equal(got.Bytes(), value) {
			t.Errorf("%s: %d bytes were passed on, %v", name, got.Len(), err)
		}
	}
}

func TestGetToGoesOnWithTheSameVersionOrNotAtAll(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		cluster, c := start(t, 1)
		value := longValue(7, longBytes)
		putLong(t, c, []byte("k"), value)
		var n atomic.Int64
		cluster.Node(0).SetDamage(func(chunk *pb.Chunk) {
			if n.Add(1) == 6 {
				if replaced {
					cluster.Put("k", string(longValue(8, longBytes)))
				}
				chunk.Crc32C++
			}
		})
		var got bytes.Buffer
		_, err := c.GetTo(t.Context(), 0, []byte("k"), &got)
		if replaced && (!errors.Is(err, api.ErrUnavailable) || !bytes.HasPrefix(value, got.Bytes())) {
			t.Errorf("replaced in the middle: %d bytes, %v", got.Len(), err)
		}
		if !replaced && (err != nil || !bytes.Equal(got.Bytes(), value)) {
			t.Errorf("broken in the middle: %d bytes, %v", got.Len(), err)
		}
	}
}

func TestAScanBringsValuesThatAreTooLongForAPage(t *testing.T) {
	cluster, c := start(t, 3)
	value := longValue(9, longBytes)
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		cluster.Put(key, "short")
	}
	cluster.Put("b", string(value))
	cluster.Put("e", string(value))
	scan := func(r api.Range) (keys string) {
		t.Helper()
		for item, err := range c.Scan(t.Context(), r) {
			if err != nil {
				t.Fatal(err)
			}
			want := []byte("short")
			if k := string(item.Key); k == "b" || k == "e" {
				want = value
			}
			if !r.KeysOnly && !bytes.Equal(item.Value, want) {
				t.Errorf("%s has %d bytes", item.Key, len(item.Value))
			}
			keys += string(item.Key)
		}
		return keys
	}
	if keys := scan(api.Range{}) + scan(api.Range{Reverse: true}) + scan(api.Range{Limit: 2}) + scan(api.Range{KeysOnly: true}); keys != "abcdef"+"fedcba"+"ab"+"abcdef" {
		t.Errorf("keys %s", keys)
	}
	// A key that is deleted between its page and its value is not there, and counts for no limit.
	for i := range 3 {
		cluster.Node(i).SetIntercept(func(ctx context.Context, method string, _ any, next func() (any, error)) (any, error) {
			if method == "Download" {
				cluster.Delete("b")
				cluster.Delete("e")
			}
			return next()
		})
	}
	if keys := scan(api.Range{Limit: 2}) + scan(api.Range{}); keys != "ac"+"acdf" {
		t.Errorf("keys %s after two were deleted", keys)
	}
}

func TestAnAttemptAtALongValueEndsWhenNothingMoves(t *testing.T) {
	cluster, c := start(t, 2, withAttemptTimeout(time.Second))
	value := longValue(10, longBytes)
	key := keyOn(0, 2)
	putLong(t, c, key, value)
	var stuck atomic.Bool
	for i := range 2 {
		cluster.Node(i).SetIntercept(func(ctx context.Context, method string, _ any, next func() (any, error)) (any, error) {
			if method == "Download" && !stuck.Swap(true) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return next()
		})
	}
	item, err := c.Get(t.Context(), 0, key)
	if err != nil || !bytes.Equal(item.Value, value) || !stuck.Load() {
		t.Errorf("%d bytes, %v; stuck %t", len(item.Value), err, stuck.Load())
	}
}

func TestAnEmbeddedStoreTakesTheLargestValue(t *testing.T) {
	kv := openBox(t, client.EmbeddedOptions{})
	value := longValue(11, api.MaxValueBytes)
	for name, r := range map[string]io.Reader{"reader": stream{bytes.NewReader(value)}, "seeker": bytes.NewReader(value)} {
		if result, err := client.PutFrom(t.Context(), kv, 0, []byte("k"), r, client.PutOptions{}); err != nil || !result.Applied {
			t.Fatalf("%s: %+v, %v", name, result, err)
		}
	}
	var got bytes.Buffer
	if item, err := client.GetTo(t.Context(), kv, 0, []byte("k"), &got); err != nil || !item.Found || item.Value != nil || !bytes.Equal(got.Bytes(), value) {
		t.Errorf("get: %d bytes, %v", got.Len(), err)
	}
	if _, err := client.PutFrom(t.Context(), kv, 0, []byte("k"), bytes.NewReader(append(value, 0)), client.PutOptions{}); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("a byte more: %v", err)
	}
	if item, err := client.GetTo(t.Context(), kv, 0, []byte("absent"), failing{errors.New("nothing is written")}); err != nil || item.Found {
		t.Errorf("an absent key: %+v, %v", item, err)
	}
}
