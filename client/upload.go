package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// upload is a batch whose long values go in chunks, from their sources. Owned by the calling goroutine.
type upload struct {
	header  *pb.UploadHeader
	sources []*source // of the operations that the header names
	buffer  []byte
}

// longValue is what an operation of a batch writes, if it goes in chunks.
type longValue struct {
	op   int
	from *source
}

// longValues are the values of a batch that are worth an upload; those below them go with the batch.
func longValues(b *api.Batch) []longValue {
	var long []longValue
	for i := range b.Ops {
		if op := &b.Ops[i]; op.Kind == api.OpPut && len(op.Value) >= api.MinStagedBytes {
			long = append(long, longValue{i, bytesSource(op.Value)})
		}
	}
	return long
}

func newUpload(request *pb.BatchRequest, long []longValue) *upload {
	u := &upload{header: &pb.UploadHeader{Batch: request}, buffer: make([]byte, api.MaxChunkBytes)}
	for _, l := range long {
		u.header.Uploaded = append(u.header.Uploaded, uint32(l.op))
		u.sources = append(u.sources, l.from)
		request.Ops[l.op].Value = nil
	}
	return u
}

// allowance is the time that so many bytes of values get beyond that of a short call.
func allowance(bytes int) time.Duration {
	return longPace * time.Duration((bytes+1<<20-1)>>20)
}

// canRepeat reports whether all values can be sent once more.
func (u *upload) canRepeat() bool {
	for _, s := range u.sources {
		if !s.canBegin() {
			return false
		}
	}
	return true
}

// try is one attempt. A node that did not get the last chunk executes nothing, so what breaks before
// that has not run (K1).
func (u *upload) try(ctx context.Context, to *connection, w *watch) (*pb.BatchResponse, error) {
	stream, err := to.kv.Upload(ctx)
	if err != nil {
		return nil, &streamError{cause: err}
	}
	err = stream.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Header{Header: u.header}})
	complete := false // the last chunk was given to gRPC, or may have been
	for i := 0; err == nil && i < len(u.sources); i++ {
		complete, err = u.send(stream, u.sources[i], i == len(u.sources)-1, w)
	}
	var local *localError
	switch {
	case errors.As(err, &local):
		return nil, err // the context ends, and the call with it
	case err != nil && !errors.Is(err, io.EOF):
		return nil, &streamError{sent: complete, cause: err}
	}
	// At io.EOF the node has answered before it had everything.
	response, err := stream.CloseAndRecv()
	if err != nil {
		return nil, &streamError{sent: complete, cause: err}
	}
	return response, nil
}

// send sends one value. It reports whether the last chunk of all was sent.
func (u *upload) send(stream pb.KV_UploadClient, from *source, lastValue bool, w *watch) (complete bool, err error) {
	if err := from.begin(); err != nil {
		return false, readError(err)
	}
	var chunks api.ChunkSender
	sent := 0
	for last := false; !last; {
		n := 0
		w.aside(func() { n, last, err = from.fill(u.buffer) })
		if err != nil {
			return false, readError(err)
		}
		if sent += n; sent > api.MaxValueBytes {
			return false, &localError{api.CodeTooLarge, "send the value", errLimit}
		}
		complete = last && lastValue
		chunk := &pb.UploadRequest_Chunk{Chunk: chunks.Chunk(u.buffer[:n], last)}
		if err := stream.Send(&pb.UploadRequest{Part: chunk}); err != nil {
			return complete, err
		}
		w.moved()
	}
	return complete, nil
}

var errLimit = fmt.Errorf("it has more than %d bytes, which is the limit", api.MaxValueBytes)
