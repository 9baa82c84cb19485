package client

import (
	"bytes"
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

// source is a value that is uploaded: it comes from its caller piece by piece, once more for each attempt.
type source struct {
	reader io.Reader
	// seeker is nil for a reader that cannot go back; start is where the value begins.
	seeker io.Seeker
	start  int64

	length int64 // of the value, as far as is known; else the limit

	head  []byte // what was read before the first attempt
	taken int    // of head, in this attempt
	moved bool   // the reader has been read behind head
}

// bytesSource is a value in memory.
func bytesSource(value []byte) *source {
	r := bytes.NewReader(value)
	return &source{reader: r, seeker: r, length: int64(len(value))}
}

// readerSource reads the first piece of a value, after which only one that is long goes on. Whether a reader
// can go back it tells by doing so.
func readerSource(r io.Reader) (*source, error) {
	s := &source{reader: r, length: api.MaxValueBytes}
	if seeker, ok := r.(io.Seeker); ok {
		if err := s.measure(seeker); err != nil {
			return nil, readError(err).verdict()
		}
	}
	var head bytes.Buffer
	_, err := io.CopyN(&head, r, api.MaxInlineBytes+1)
	s.head = head.Bytes()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, readError(err).verdict()
	}
	return s, nil
}

// measure finds where the value begins and how long it is, if the reader can go back.
func (s *source) measure(seeker io.Seeker) error {
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe, for example
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return nil // where it is it has stayed
	}
	if s.seeker, s.start = seeker, start; end-start <= api.MaxValueBytes {
		s.length = end - start
	}
	_, err = seeker.Seek(start, io.SeekStart)
	return err
}

// short is a value that is read as a whole, for those that need no upload.
func (s *source) short() (value []byte, ok bool) {
	return s.head, len(s.head) <= api.MaxInlineBytes
}

// canBegin reports whether the value can be read from its beginning.
func (s *source) canBegin() bool { return !s.moved || s.seeker != nil }

// begin goes back to the beginning of the value.
func (s *source) begin() error {
	s.taken = 0
	if !s.moved {
		return nil
	}
	s.head, s.moved = nil, false
	_, err := s.seeker.Seek(s.start, io.SeekStart)
	return err
}

// fill reads the next piece, of the length of the buffer unless the value ends.
func (s *source) fill(buffer []byte) (n int, last bool, err error) {
	n = copy(buffer, s.head[s.taken:])
	s.taken += n
	if n == len(buffer) {
		return n, false, nil
	}
	s.moved = true
	more, err := io.ReadFull(s.reader, buffer[n:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return n + more, true, nil
	}
	return n + more, false, err
}

// localError is a failure of the caller's own reader or writer, which no attempt can help.
type localError struct {
	code  api.Code
	doing string
	cause error
}

// Error implements error.
func (e *localError) Error() string { return e.doing + ": " + e.cause.Error() }

func readError(err error) *localError { return &localError{api.CodeInvalid, "read the value", err} }

func writeError(err error) *localError { return &localError{api.CodeInvalid, "write the value", err} }

// verdict is what the caller sees of it.
func (e *localError) verdict() *api.Error {
	return &api.Error{Code: e.code, Message: e.Error(), Cause: e.cause}
}
