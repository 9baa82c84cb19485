package mux

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft/wire"
)

// maxBatchBytes is when a batch is full; a larger frame travels alone.
const maxBatchBytes = 1 << 20

// batch is one message of a stream. Who sends it fills its buffer and gives it away with the call of
// SendMsg; who received it reads the frames and then frees it.
type batch struct {
	out    *[]byte    // being filled, from buffers
	weight int64      // of the link's budget, that the frames in out hold
	in     mem.Buffer // received
}

func (b *batch) add(f *wire.Frame) {
	n := f.MaxBytes()
	if b.out == nil {
		b.out = buffers.Get(n + 64)
		*b.out = wire.BeginBatch((*b.out)[:0])
	} else if used := len(*b.out); cap(*b.out)-used < n {
		larger := buffers.Get(max(2*cap(*b.out), used+n))
		*larger = append((*larger)[:0], *b.out...)
		buffers.Put(b.out)
		b.out = larger
	}
	*b.out = wire.AppendFrame(*b.out, f)
}

// full reports whether another frame goes into the next batch.
func (b *batch) full(f *wire.Frame) bool {
	return b.out != nil && len(*b.out)+f.MaxBytes() > maxBatchBytes
}

// queue is batches that wait for a stream, the last of them not full. The owner's lock guards it.
type queue struct {
	batches []*batch
	bytes   int
}

// add encodes f behind what waits.
func (q *queue) add(f *wire.Frame, weight int64) {
	if n := len(q.batches); n == 0 || q.batches[n-1].full(f) {
		q.batches = append(q.batches, &batch{})
	}
	last := q.batches[len(q.batches)-1]
	if last.out != nil {
		q.bytes -= len(*last.out)
	}
	last.add(f)
	last.weight += weight
	q.bytes += len(*last.out)
}

// take empties the queue.
func (q *queue) take() []*batch {
	batches := q.batches
	q.batches, q.bytes = nil, 0
	return batches
}

// discard gives the buffers of batches that are not sent back.
func discard(batches []*batch) (weight int64) {
	for _, b := range batches {
		weight += b.weight
		buffers.Put(b.out)
	}
	return weight
}

// frames verifies a received batch.
func (b *batch) frames() (wire.Frames, error) { return wire.OpenBatch(b.in.ReadOnlyData()) }

// free gives the buffer of a received batch back. No frame of it may be used any more.
func (b *batch) free() {
	b.in.Free()
	b.in = nil
}

// codecName is the content subtype of streams that carry batches.
const codecName = "lightning-raft"

// codec carries batches through gRPC as they are: one buffer, without another encoding around it.
type codec struct{}

func init() { encoding.RegisterCodecV2(codec{}) } // gRPC wants codecs to be known before anything runs

// Codec lets a server that has a codec of its own for all services leave batches to theirs.
func (*batch) Codec() encoding.CodecV2 { return codec{} }

// Name implements encoding.CodecV2.
func (codec) Name() string { return codecName }

// Marshal implements encoding.CodecV2. gRPC frees the buffer when it has been written.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*batch)
	if !ok {
		return nil, fmt.Errorf("codec %s: cannot encode %T", codecName, v)
	}
	wire.SealBatch(*b.out)
	out := b.out
	b.out = nil
	return mem.BufferSlice{mem.NewBuffer(out, &buffers)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*batch)
	if !ok {
		return fmt.Errorf("codec %s: cannot decode %T", codecName, v)
	}
	b.in = data.MaterializeToBuffer(&buffers)
	return nil
}

// callOptions make a call with the codec.
func callOptions() []grpc.CallOption {
	return []grpc.CallOption{grpc.CallContentSubtype(codecName), grpc.WaitForReady(true)}
}

// checkCodec refuses a stream that speaks something else.
func checkCodec(stream grpc.ServerStream) error {
	m, _ := metadata.FromIncomingContext(stream.Context())
	if got := m.Get("content-type"); len(got) != 1 || got[0] != "application/grpc+"+codecName {
		return api.ToStatus(api.Errorf(api.CodeInvalid, "raft streams carry application/grpc+%s, not %q", codecName, got))
	}
	return nil
}
