package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// A snapshot travels on a stream of its own: the request, then data frames whose payload is
// the uncompressed length (uvarint) and one zstd block, and one answer at the end. There is no
// limit on the whole, only on the time without progress.

const (
	// snapshotChunkBytes is the uncompressed data of one frame.
	snapshotChunkBytes = 1 << 20
	// snapshotStall is how long a transfer may make no progress.
	snapshotStall = 20 * time.Second
	// snapshotSwitch is how long the receiver may take to put a complete snapshot in place.
	snapshotSwitch = 2 * time.Minute
)

var (
	errSnapshotStalled = errors.New("the snapshot made no progress")
	errSnapshotShort   = errors.New("the snapshot ended early")
)

// sendSnapshot streams data to a node and returns the replica's answer.
func (m *Mux) sendSnapshot(parent context.Context, node api.NodeID, request *wire.Frame, data io.Reader) ([]byte, error) {
	conn, err := m.pool.Conn(node, peers.Bulk)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stalled := time.AfterFunc(snapshotStall, func() { cancel(errSnapshotStalled) })
	defer stalled.Stop()
	stream, err := peerv1.NewRaftClient(conn).InstallSnapshot(ctx, callOptions()...)
	if err != nil {
		return nil, stalledOr(ctx, err)
	}
	err = sendFrame(stream, request)
	if err == nil {
		err = sendChunks(stream, request, data, stalled)
	}
	// A failed send only says that the stream is over; the answer says why.
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, stalledOr(ctx, err)
	}
	stalled.Reset(snapshotSwitch)
	if err := stream.CloseSend(); err != nil {
		return nil, stalledOr(ctx, err)
	}
	payload, err := recvFrame(stream, node)
	return payload, stalledOr(ctx, err)
}

// sendFrame sends a batch of one frame.
func sendFrame(stream interface{ SendMsg(any) error }, f *wire.Frame) error {
	var b batch
	b.add(f)
	return stream.SendMsg(&b)
}

// recvFrame is the payload of the answer at the end of a snapshot.
func recvFrame(stream interface{ RecvMsg(any) error }, node api.NodeID) ([]byte, error) {
	var b batch
	if err := stream.RecvMsg(&b); err != nil {
		return nil, err
	}
	defer b.free()
	f, err := wire.DecodeBatch(b.in.ReadOnlyData())
	if err != nil {
		return nil, err
	}
	if f.Failed() {
		return nil, &remoteError{node: node, text: string(f.Payload)}
	}
	return bytes.Clone(f.Payload), nil
}

func stalledOr(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSnapshotStalled) {
		return errSnapshotStalled
	}
	return err
}

func sendChunks(stream grpc.ClientStream, request *wire.Frame, data io.Reader, stalled *time.Timer) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("start compression: %w", err)
	}
	defer encoder.Close()
	chunk := make([]byte, snapshotChunkBytes)
	for {
		n, err := io.ReadFull(data, chunk)
		if n > 0 {
			payload := encoder.EncodeAll(chunk[:n], binary.AppendUvarint(nil, uint64(n)))
			f := wire.Frame{Kind: wire.KindSnapshotData, Group: request.Group, From: request.From, To: request.To, Payload: payload}
			if err := sendFrame(stream, &f); err != nil {
				return err
			}
			stalled.Reset(snapshotStall)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read snapshot: %w", err)
		}
	}
}

// InstallSnapshot implements peerv1.RaftServer: it feeds one snapshot to the library.
func (m *Mux) InstallSnapshot(stream grpc.ClientStreamingServer[peerv1.RaftBatch, peerv1.RaftBatch]) error {
	if err := checkCodec(stream); err != nil {
		return err
	}
	var first batch
	if err := stream.RecvMsg(&first); err != nil {
		return err
	}
	request, err := wire.DecodeBatch(first.in.ReadOnlyData())
	if err != nil {
		return api.ToStatus(api.Errorf(api.CodeInvalid, "%w", err))
	}
	payload, err := m.install(stream, &request)
	answer := wire.Answer(request.Kind, request.Group, request.Sequence, payload, err)
	first.free()
	return sendFrame(stream, &answer)
}

func (m *Mux) install(stream grpc.ServerStream, request *wire.Frame) ([]byte, error) {
	t, err := m.hosted(request.Group, request.To)
	if err != nil {
		return nil, err
	}
	if request.Kind != wire.KindInstall {
		return nil, wire.ErrMalformed
	}
	command, err := wire.DecodeInstall(request.Payload, t.sender(request.From))
	if err != nil {
		return nil, err
	}
	if !m.installs.TryAcquire(1) {
		return nil, fmt.Errorf("this node receives %d snapshots already", maxInstalls)
	}
	defer m.installs.Release(1)
	admit := func() error {
		return t.owner.AdmitSnapshot(command.LastLogIndex, command.LastLogTerm, command.Term)
	}
	if err := admit(); err != nil {
		return nil, err
	}
	discard, err := m.stage(t, stream, command)
	if err != nil {
		return nil, err
	}
	defer discard()
	if err := admit(); err != nil {
		return nil, err
	}
	return t.deliverSnapshot(command)
}

// stage receives the whole snapshot before the library hears of it. The library would read it
// on its main loop, and while that lasts it answers no heartbeat: a leader whose other follower
// is down would lose its office at every try, and the snapshot would never arrive.
func (m *Mux) stage(t *Transport, stream grpc.ServerStream, command *hraft.InstallSnapshotRequest) (discard func(), err error) {
	chunks := make(chan []byte)
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	// The pump ends when the handler returns: gRPC then cancels the stream.
	if !m.run(func() { cancel(pumpChunks(ctx, stream, chunks)) }) {
		return nil, errTransportClosed
	}
	decompressor, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*snapshotChunkBytes))
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	defer decompressor.Close()
	return t.owner.StageSnapshot(command, &snapshotReader{
		chunks: chunks, ctx: ctx, closed: t.ctx, zstd: decompressor, left: command.Size,
	})
}

// pumpChunks verifies data frames and hands their payloads over, until the stream ends.
func pumpChunks(ctx context.Context, stream grpc.ServerStream, chunks chan<- []byte) error {
	for {
		payload, err := recvChunk(stream)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errSnapshotShort // unless all of it was read before
			}
			return err
		}
		select {
		case chunks <- payload:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func recvChunk(stream grpc.ServerStream) ([]byte, error) {
	var b batch
	if err := stream.RecvMsg(&b); err != nil {
		return nil, err
	}
	defer b.free()
	f, err := wire.DecodeBatch(b.in.ReadOnlyData())
	return bytes.Clone(f.Payload), err
}

// deliverSnapshot hands a staged snapshot to the library, as one of no bytes, and waits for its
// answer, however long the state machine takes to switch.
func (t *Transport) deliverSnapshot(command *hraft.InstallSnapshotRequest) ([]byte, error) {
	command.Size = 0
	response := make(chan hraft.RPCResponse, 1)
	t.mu.Lock()
	queued := len(t.consumer) < maxQueuedUrgent
	if queued {
		t.consumer <- hraft.RPC{Command: command, Reader: eof{}, RespChan: response}
	}
	t.mu.Unlock()
	if !queued {
		return nil, errBusy
	}
	select {
	case r := <-response:
		if r.Error != nil {
			return nil, r.Error
		}
		return wire.AppendResponse(nil, r.Response)
	case <-t.ctx.Done():
		return nil, errTransportClosed
	}
}

// eof is an empty reader.
type eof struct{}

// Read implements io.Reader.
func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// snapshotReader is the uncompressed snapshot: exactly the announced size, or an error.
type snapshotReader struct {
	chunks <-chan []byte
	ctx    context.Context // of the stream
	closed context.Context // of the transport

	zstd *zstd.Decoder
	left int64 // bytes of the announced size not yet read
	buf  []byte
	rest []byte // part of buf
	err  error  // sticky
}

// Read implements io.Reader.
func (r *snapshotReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		if r.left == 0 {
			r.err = io.EOF
		} else {
			r.err = r.next()
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next decompresses one more chunk.
func (r *snapshotReader) next() error {
	stalled := time.NewTimer(snapshotStall)
	defer stalled.Stop()
	var payload []byte
	select {
	case payload = <-r.chunks:
	case <-stalled.C:
		return errSnapshotStalled
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	case <-r.closed.Done():
		return errTransportClosed
	}
	d := wire.Decoder{Rest: payload}
	size := d.Uvarint()
	if d.Bad || size == 0 || size > snapshotChunkBytes || int64(size) > r.left {
		return wire.ErrMalformed
	}
	var err error
	r.buf, err = r.zstd.DecodeAll(d.Rest, r.buf[:0])
	if err != nil {
		return fmt.Errorf("decompress snapshot: %w", err)
	}
	if uint64(len(r.buf)) != size {
		return wire.ErrMalformed
	}
	r.rest, r.left = r.buf, r.left-int64(size)
	return nil
}
