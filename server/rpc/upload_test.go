package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/server"
)

type uploadStream = grpc.ClientStreamingClient[pb.UploadRequest, pb.BatchResponse]

func openUpload(t *testing.T, f *fixture) uploadStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := pb.NewKVClient(f.conn).Upload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func uploadHeader(b *pb.BatchRequest, uploaded ...uint32) *pb.UploadRequest {
	return &pb.UploadRequest{Part: &pb.UploadRequest_Header{Header: &pb.UploadHeader{Batch: b, Uploaded: uploaded}}}
}

func onePut() *pb.UploadRequest {
	return uploadHeader(&pb.BatchRequest{Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("k")}}}, 0)
}

// chunksOf cuts values into messages.
func chunksOf(values ...[]byte) (messages []*pb.UploadRequest) {
	for _, value := range values {
		var chunks api.ChunkSender
		for last := false; !last; {
			piece := value[:min(len(value), api.MaxChunkBytes)]
			value = value[len(piece):]
			last = len(value) == 0
			messages = append(messages, &pb.UploadRequest{Part: &pb.UploadRequest_Chunk{Chunk: chunks.Chunk(piece, last)}})
		}
	}
	return messages
}

// upload sends messages and half-closes.
func upload(t *testing.T, f *fixture, messages ...*pb.UploadRequest) (*pb.BatchResponse, error) {
	t.Helper()
	stream := openUpload(t, f)
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			break // the answer says why
		}
	}
	return stream.CloseAndRecv()
}

func TestAnUploadOfOnePutGoesPieceByPiece(t *testing.T) {
	f := start(t)
	f.kv.result = api.Result{Applied: true, Version: 9, Ops: []api.OpResult{{Applied: true, Existed: true, PreviousVersion: 8}}}
	value := bytes.Repeat([]byte("0123456789"), 200_000)
	op := &pb.Op{
		Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("k"), ExpiryMode: pb.ExpiryMode_EXPIRY_MODE_AFTER, ExpiryMs: 5,
		Condition: pb.ConditionKind_CONDITION_KIND_VERSION, ConditionVersion: 8,
	}
	id := &pb.RequestId{SessionCreatedMs: 1, SessionRandom: 2, Sequence: 3, Floor: 1}
	header := uploadHeader(&pb.BatchRequest{Ops: []*pb.Op{op}, RequestId: id}, 0)
	for _, value := range [][]byte{nil, value[:1], value[:2*api.MaxChunkBytes], value} {
		res, err := upload(t, f, append([]*pb.UploadRequest{header}, chunksOf(value)...)...)
		if err != nil || !res.Applied || res.Version != 9 || !res.Results[0].Existed || res.Results[0].PreviousVersion != 8 {
			t.Fatalf("%d bytes: %v, %v", len(value), res, err)
		}
		want := server.Put{
			Key: []byte("k"), Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: 5},
			Condition: api.Condition{Kind: api.ConditionVersion, Version: 8},
			Request:   api.RequestID{Session: api.SessionID{CreatedMillis: 1, Random: 2}, Sequence: 3, Floor: 1},
		}
		got := f.kv.put
		if !bytes.Equal(got.Key, want.Key) || got.Expiry != want.Expiry || got.Condition != want.Condition || got.Request != want.Request {
			t.Errorf("the KV was told %+v, want %+v", got, want)
		}
		if !bytes.Equal(f.kv.value, value) {
			t.Errorf("%d bytes became %d", len(value), len(f.kv.value))
		}
	}
	op.Blind, op.Condition, op.ConditionVersion = true, 0, 0
	if res, err := upload(t, f, append([]*pb.UploadRequest{header}, chunksOf(value)...)...); err != nil || res.Results[0].Existed {
		t.Errorf("a blind put says what was there: %v, %v", res, err)
	}
	if f.server.transfers.used.Load() != 0 {
		t.Errorf("%d bytes are held after all uploads", f.server.transfers.used.Load())
	}
}

func TestAnUploadOfSeveralValuesIsOneBatch(t *testing.T) {
	f := start(t)
	f.kv.result = api.Result{Applied: true, Version: 9, Ops: make([]api.OpResult, 4)}
	long := bytes.Repeat([]byte("x"), 3*api.MaxChunkBytes)
	b := &pb.BatchRequest{Independent: true, Ops: []*pb.Op{
		{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("a")},
		{Kind: pb.OpKind_OP_KIND_INCREMENT, Key: []byte("b"), Delta: 3},
		{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("c"), Value: []byte("here")},
		{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("d"), ReturnPrevious: true},
	}}
	res, err := upload(t, f, append([]*pb.UploadRequest{uploadHeader(b, 0, 3)}, chunksOf(long, []byte("short"))...)...)
	if err != nil || res.Version != 9 {
		t.Fatalf("%v, %v", res, err)
	}
	ops := f.kv.batch.Ops
	if len(ops) != 4 || !f.kv.batch.Independent || !bytes.Equal(ops[0].Value, long) || ops[1].Delta != 3 ||
		string(ops[2].Value) != "here" || string(ops[3].Value) != "short" || !ops[3].ReturnPrevious {
		t.Errorf("the KV was told of %d operations", len(ops))
	}
}

// What breaks the rules is ended with an error, and the KV never sees the end of the value.
func TestAnUploadThatBreaksTheRulesExecutesNothing(t *testing.T) {
	value := bytes.Repeat([]byte("v"), 2*api.MaxChunkBytes)
	put := func(change func(*pb.Chunk)) []*pb.UploadRequest {
		messages := append([]*pb.UploadRequest{onePut()}, chunksOf(value)...)
		change(messages[2].GetChunk())
		return messages
	}
	endless := []*pb.UploadRequest{onePut()}
	for range api.MaxValueBytes/api.MaxChunkBytes + 1 {
		endless = append(endless, nil) // filled in below
	}
	var chunks api.ChunkSender
	for i := range endless[1:] {
		endless[i+1] = &pb.UploadRequest{Part: &pb.UploadRequest_Chunk{Chunk: chunks.Chunk(value[:api.MaxChunkBytes], false)}}
	}
	ops := func(kinds ...pb.OpKind) *pb.BatchRequest {
		b := &pb.BatchRequest{}
		for _, kind := range kinds {
			b.Ops = append(b.Ops, &pb.Op{Kind: kind, Key: []byte("k")})
		}
		return b
	}
	const isPut, isDelete = pb.OpKind_OP_KIND_PUT, pb.OpKind_OP_KIND_DELETE
	for name, test := range map[string]struct {
		messages []*pb.UploadRequest
		code     api.Code
	}{
		"nothing":            {nil, api.CodeInvalid},
		"no header":          {chunksOf(value), api.CodeInvalid},
		"an empty message":   {[]*pb.UploadRequest{{}}, api.CodeInvalid},
		"no batch":           {[]*pb.UploadRequest{uploadHeader(nil, 0)}, api.CodeInvalid},
		"nothing uploaded":   {[]*pb.UploadRequest{uploadHeader(ops(isPut))}, api.CodeInvalid},
		"no such operation":  {[]*pb.UploadRequest{uploadHeader(ops(isPut), 1)}, api.CodeInvalid},
		"twice the same":     {[]*pb.UploadRequest{uploadHeader(ops(isPut, isPut), 0, 0)}, api.CodeInvalid},
		"not ascending":      {[]*pb.UploadRequest{uploadHeader(ops(isPut, isPut), 1, 0)}, api.CodeInvalid},
		"not a put":          {[]*pb.UploadRequest{uploadHeader(ops(isDelete), 0)}, api.CodeInvalid},
		"no chunk":           {[]*pb.UploadRequest{onePut()}, api.CodeInvalid},
		"no last chunk":      {append([]*pb.UploadRequest{onePut()}, chunksOf(value)[:1]...), api.CodeInvalid},
		"two headers":        {[]*pb.UploadRequest{onePut(), onePut()}, api.CodeInvalid},
		"an empty chunk":     {put(func(c *pb.Chunk) { c.Data, c.Last = nil, false }), api.CodeInvalid},
		"a chunk too long":   {append([]*pb.UploadRequest{onePut()}, longChunk()), api.CodeInvalid},
		"a flipped bit":      {put(func(c *pb.Chunk) { c.Data = bytes.Repeat([]byte("w"), len(c.Data)) }), api.CodeUnavailable},
		"another checksum":   {put(func(c *pb.Chunk) { c.Crc32C++ }), api.CodeUnavailable},
		"a chunk is missing": {append([]*pb.UploadRequest{onePut()}, chunksOf(value)[1:]...), api.CodeUnavailable},
		"endless chunks":     {endless, api.CodeTooLarge},
		"half a request id": {[]*pb.UploadRequest{uploadHeader(&pb.BatchRequest{
			Ops: ops(isPut).Ops, RequestId: &pb.RequestId{SessionRandom: 1}}, 0)}, api.CodeInvalid},
	} {
		f := start(t)
		_, err := upload(t, f, test.messages...)
		var e *api.Error
		if !errors.As(api.FromStatus(err, true), &e) || e.Code != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
		if f.kv.whole || f.kv.batch.Ops != nil {
			t.Errorf("%s: the KV got a whole value", name)
		}
		testkit.Eventually(t, time.Minute, func() bool { return f.server.transfers.used.Load() == 0 })
	}
}

func longChunk() *pb.UploadRequest {
	var chunks api.ChunkSender
	return &pb.UploadRequest{Part: &pb.UploadRequest_Chunk{Chunk: chunks.Chunk(make([]byte, api.MaxChunkBytes+1), true)}}
}

func TestAClientThatIsSilentInTheMiddleOfAnUploadIsCutOff(t *testing.T) {
	f := startWith(t, func(o *Options) { o.TransferSilence = 50 * time.Millisecond })
	for name, messages := range map[string][]*pb.UploadRequest{
		"at once": nil, "behind the header": {onePut()}, "in the middle": append([]*pb.UploadRequest{onePut()}, chunksOf(make([]byte, 3*api.MaxChunkBytes))[:2]...),
	} {
		stream := openUpload(t, f)
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		err := stream.RecvMsg(new(pb.BatchResponse))
		var e *api.Error
		if !errors.As(api.FromStatus(err, true), &e) || e.Code != api.CodeExpired || !strings.Contains(e.Message, "sent nothing for 50ms") {
			t.Errorf("%s: %v", name, err)
		}
		if f.kv.whole {
			t.Errorf("%s: the KV got a whole value", name)
		}
	}
}

// TestAClientThatSendsLittleByLittleIsCutOff: it is never silent, and would hold what a value takes for as long as it likes.
func TestAClientThatSendsLittleByLittleIsCutOff(t *testing.T) {
	f := startWith(t, func(o *Options) { o.UploadTime = 100 * time.Millisecond })
	two := uploadHeader(&pb.BatchRequest{Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("a")}, {Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("b"), Value: []byte("v")}}}, 0)
	for name, header := range map[string]*pb.UploadRequest{"a put": onePut(), "a batch": two} {
		stream := openUpload(t, f)
		err := stream.Send(header)
		for chunks := (api.ChunkSender{}); err == nil; {
			err = stream.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Chunk{Chunk: chunks.Chunk([]byte("x"), false)}})
		}
		if !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		err = api.FromStatus(stream.RecvMsg(new(pb.BatchResponse)), true)
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeExpired || !strings.Contains(e.Message, "takes this long") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatTheHeaderOfAnUploadHoldsIsCounted: the other values of its batch are in it.
func TestWhatTheHeaderOfAnUploadHoldsIsCounted(t *testing.T) {
	f := start(t)
	stream, held := openUpload(t, f), make([]byte, 4<<20)
	two := uploadHeader(&pb.BatchRequest{Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("a")}, {Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("b"), Value: held}}}, 0)
	if err := stream.Send(two); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return f.server.transfers.used.Load() > int64(len(held)) }, "it is not counted")
}

func TestAnUploadThatItsClientBreaksOffEndsInTheKV(t *testing.T) {
	f := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := pb.NewKVClient(f.conn).Upload(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append([]*pb.UploadRequest{onePut()}, chunksOf(make([]byte, 3*api.MaxChunkBytes))[:2]...) {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, time.Minute, func() bool { return f.kv.taken.Load() == 2*api.MaxChunkBytes })
	cancel()
	testkit.Eventually(t, time.Minute, func() bool { return f.kv.failed.Load() && f.server.transfers.used.Load() == 0 })
	if f.kv.whole {
		t.Error("the KV got a whole value")
	}
}

func TestUploadsHoldNoMoreMemoryThanAllTransfersMay(t *testing.T) {
	f := start(t)
	b := &pb.BatchRequest{Ops: []*pb.Op{{Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("a")}, {Kind: pb.OpKind_OP_KIND_PUT, Key: []byte("b")}}}
	f.server.transfers.force(f.server.opts.MaxTransferBytes - pieceBytes - api.MaxChunkBytes - proto.Size(uploadHeader(b, 0, 1)))
	held := f.server.transfers.used.Load()
	_, err := upload(t, f, append([]*pb.UploadRequest{uploadHeader(b, 0, 1)}, chunksOf(make([]byte, 2*api.MaxChunkBytes), nil)...)...)
	if !errors.Is(api.FromStatus(err, true), api.ErrOverloaded) {
		t.Errorf("a batch for which there is no room: %v", err)
	}
	if _, err := upload(t, f, append([]*pb.UploadRequest{uploadHeader(b, 0, 1)}, chunksOf(make([]byte, api.MaxChunkBytes), nil)...)...); err != nil {
		t.Errorf("a batch for which there is room: %v", err)
	}
	f.server.transfers.force(pieceBytes)
	if _, err := upload(t, f, append([]*pb.UploadRequest{onePut()}, chunksOf(nil)...)...); !errors.Is(api.FromStatus(err, true), api.ErrOverloaded) {
		t.Errorf("a value for which there is no room: %v", err)
	}
	stream, err := pb.NewKVClient(f.conn).Download(t.Context(), &pb.DownloadRequest{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(api.FromStatus(err, false), api.ErrOverloaded) {
		t.Errorf("a download for which there is no room: %v", err)
	}
	if now := f.server.transfers.used.Load(); now != held+pieceBytes {
		t.Errorf("%d bytes are held, want %d", now, held+pieceBytes)
	}
}

// The node may know the answer before it has the value, as when the request is repeated.
func TestAnUploadIsAnsweredBeforeItsEndIfThatIsKnown(t *testing.T) {
	f := start(t)
	f.kv.early = true
	f.kv.result = api.Result{Applied: true, Version: 9, Ops: make([]api.OpResult, 1)}
	res, err := upload(t, f, append([]*pb.UploadRequest{onePut()}, chunksOf(make([]byte, api.MaxValueBytes))...)...)
	if err != nil || res.Version != 9 {
		t.Errorf("%v, %v", res, err)
	}
}

func (r *recorder) PutValue(ctx context.Context, p server.Put, next func() ([]byte, error)) (api.Result, error) {
	r.put, r.value, r.whole = p, nil, false
	if r.early {
		return r.result, nil
	}
	for {
		piece, err := next()
		if errors.Is(err, io.EOF) {
			r.whole = true
			return r.result, r.err
		}
		if err != nil {
			r.failed.Store(true)
			return api.Result{}, err
		}
		r.value = append(r.value, piece...)
		r.taken.Add(int64(len(piece)))
	}
}
