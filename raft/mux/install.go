package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/raft/wire"
)

// Receiving a snapshot; snapshot.go says how it travels.

var (
	errInstalling = errors.New("this replica receives a snapshot already")
	errOutpaced   = errors.New("the terms change faster than the snapshot is put in place")
)

// InstallSnapshot implements peerv1.RaftServer: it feeds one snapshot to the library.
func (m *Mux) InstallSnapshot(stream grpc.ClientStreamingServer[peerv1.RaftBatch, peerv1.RaftBatch]) error {
	if err := checkCodec(stream); err != nil {
		return err
	}
	var first batch
	if err := stream.RecvMsg(&first); err != nil {
		return err
	}
	announced, err := wire.DecodeBatch(first.in.ReadOnlyData())
	if err != nil {
		return api.ToStatus(api.Errorf(api.CodeInvalid, "%w", err))
	}
	payload, err := m.install(stream, &announced)
	answer := wire.Answer(announced.Kind, announced.Group, announced.Sequence, payload, err)
	first.free()
	return sendFrame(stream, &answer)
}

func (m *Mux) install(stream grpc.ServerStream, announced *wire.Frame) ([]byte, error) {
	t, err := m.hosted(announced.Group, announced.To)
	if err != nil {
		return nil, err
	}
	if announced.Kind != wire.KindInstall {
		return nil, wire.ErrMalformed
	}
	from := t.sender(announced.From)
	command, err := wire.DecodeInstall(announced.Payload, from)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	defer context.AfterFunc(t.ctx, func() { cancel(errTransportClosed) })()
	if err := m.installs.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer m.installs.Release(1)
	// One is enough, whoever sends it: what it holds is committed (see deliverSnapshot).
	if t.installing.Swap(true) {
		return nil, errInstalling
	}
	defer t.installing.Store(false)
	if err := stream.SendHeader(metadata.Pairs(grantedKey, strconv.FormatUint(t.appliedUnder(command.Term), 10))); err != nil {
		return nil, err
	}
	r := &snapshotReader{frames: make(chan received), ctx: ctx, pace: m.incoming}
	// The pump ends when the handler returns: gRPC then cancels the stream.
	if !m.run(func() { r.pump(stream) }) {
		return nil, errTransportClosed
	}
	return t.installFrom(r, from)
}

// appliedUnder is what this replica has applied, if all of it was committed by leaders up to a term, whose own log
// therefore has the same entries; 0 otherwise. The term is read last, because it only grows (RM9).
func (t *Transport) appliedUnder(term uint64) uint64 {
	applied := t.owner.AppliedIndex()
	if t.owner.CurrentTerm() > term {
		return 0
	}
	return applied
}

// installFrom receives the request and the snapshot, and has the library switch to it.
func (t *Transport) installFrom(r *snapshotReader, from []byte) ([]byte, error) {
	payload, err := r.receive(wire.KindInstall, snapshotPrepare)
	if err != nil {
		return nil, err
	}
	command, err := wire.DecodeInstall(payload, from)
	if err != nil {
		return nil, err
	}
	if err := t.owner.AdmitSnapshot(command.LastLogIndex, command.LastLogTerm); err != nil {
		return t.unlessHeld(err)
	}
	discard, err := t.stage(r, command)
	if err != nil {
		return nil, err
	}
	defer discard()
	return t.deliverSnapshot(command)
}

// ErrSnapshotHeld says that a replica's log has the last entry of a snapshot, and therefore the same entries before
// it. The library would put the snapshot in place all the same and go back to its membership, though a later entry of
// the log has set another. The leader is told that the snapshot is in place, and goes on after it.
var ErrSnapshotHeld = errors.New("the log holds what the snapshot does")

func (t *Transport) unlessHeld(err error) ([]byte, error) {
	if !errors.Is(err, ErrSnapshotHeld) {
		return nil, err
	}
	return wire.AppendResponse(nil, &hraft.InstallSnapshotResponse{Term: t.owner.CurrentTerm(), Success: true})
}

// stage receives the whole snapshot before the library hears of it. The library would read it
// on its main loop, and while that lasts it answers no heartbeat: a leader whose other follower
// is down would lose its office at every try, and the snapshot would never arrive.
func (t *Transport) stage(r *snapshotReader, command *hraft.InstallSnapshotRequest) (discard func(), err error) {
	decompressor, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*snapshotChunkBytes))
	if err != nil {
		return nil, fmt.Errorf("start decompression: %w", err)
	}
	defer decompressor.Close()
	r.zstd, r.left = decompressor, command.Size
	return t.owner.StageSnapshot(command, r)
}

// maxDeliveries is how many terms may begin while a snapshot is delivered, milliseconds each.
const maxDeliveries = 10

// deliverSnapshot hands a staged snapshot to the library, as one of no bytes, and waits for its
// answer, however long the state machine takes to switch.
//
// The leader that sent it may have lost its office meanwhile, and to begin again under the next one would
// mean that a large snapshot never arrives where leaders change. What it holds is committed, so no
// leader can say otherwise (RM9). The library refuses requests of a term that is over; so the request is
// delivered as one of the term that this replica is in, and of the leader that it knows.
func (t *Transport) deliverSnapshot(command *hraft.InstallSnapshotRequest) ([]byte, error) {
	command.Size = 0
	for range maxDeliveries {
		if err := t.owner.AdmitSnapshot(command.LastLogIndex, command.LastLogTerm); err != nil {
			return t.unlessHeld(err)
		}
		if term, leader := t.owner.Leader(); term > command.Term {
			command.Term = term
			command.RPCHeader.ID, command.RPCHeader.Addr = []byte(leader), []byte(leader)
		}
		r, err := t.deliverOnce(command)
		if err != nil {
			return nil, err
		}
		if answer, ok := r.Response.(*hraft.InstallSnapshotResponse); !ok || answer.Success || answer.Term <= command.Term {
			return wire.AppendResponse(nil, r.Response)
		}
	}
	return nil, errOutpaced
}

func (t *Transport) deliverOnce(command *hraft.InstallSnapshotRequest) (hraft.RPCResponse, error) {
	request := *command
	response := make(chan hraft.RPCResponse, 1)
	t.mu.Lock()
	queued := len(t.consumer) < maxQueuedUrgent
	if queued {
		t.consumer <- hraft.RPC{Command: &request, Reader: eof{}, RespChan: response}
		if len(request.ID) > 0 && hraft.ServerAddress(request.Addr) != t.LocalAddr() {
			t.consumer <- hraft.RPC{Command: heartbeatAfter(&request), RespChan: make(chan hraft.RPCResponse, 1)}
		}
	}
	t.mu.Unlock()
	if !queued {
		return hraft.RPCResponse{}, errBusy
	}
	select {
	case r := <-response:
		return r, r.Error
	case <-t.ctx.Done():
		return hraft.RPCResponse{}, errTransportClosed
	}
}

// heartbeatAfter is a heartbeat of the leader that a snapshot is delivered from, and of its term: one that came twice.
// It follows the snapshot on the library's main loop. A candidate that takes a snapshot in stays one, and remembers a
// leader, because of which it refuses its vote to the others for as long as it is a candidate: with
// the shortest log of those that are left, and its leader dead, for ever. A heartbeat makes it a follower (RM13).
func heartbeatAfter(r *hraft.InstallSnapshotRequest) *hraft.AppendEntriesRequest {
	return &hraft.AppendEntriesRequest{RPCHeader: r.RPCHeader, Term: r.Term}
}

// eof is an empty reader.
type eof struct{}

// Read implements io.Reader.
func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// received is one frame of a snapshot's stream, or why there are no more.
type received struct {
	kind    wire.Kind
	payload []byte
	err     error
}

// snapshotReader is the uncompressed snapshot: exactly the announced size, or an error.
type snapshotReader struct {
	frames chan received
	ctx    context.Context // of the stream and the transport
	pace   *pace

	zstd *zstd.Decoder
	left int64 // bytes of the announced size not yet read
	buf  []byte
	rest []byte // part of buf
	err  error  // sticky
}

// pump verifies frames and hands their payloads over, until the stream ends.
func (r *snapshotReader) pump(stream grpc.ServerStream) {
	for {
		f := recvReceived(stream)
		select {
		case r.frames <- f:
		case <-stream.Context().Done():
			return
		}
		if f.err != nil {
			return
		}
	}
}

func recvReceived(stream grpc.ServerStream) received {
	var b batch
	if err := stream.RecvMsg(&b); err != nil {
		if errors.Is(err, io.EOF) {
			err = errSnapshotShort // unless all of it was read before
		}
		return received{err: err}
	}
	defer b.free()
	f, err := wire.DecodeBatch(b.in.ReadOnlyData())
	return received{kind: f.Kind, payload: bytes.Clone(f.Payload), err: err}
}

// receive waits for a frame of a kind.
func (r *snapshotReader) receive(kind wire.Kind, limit time.Duration) ([]byte, error) {
	stalled := time.NewTimer(limit)
	defer stalled.Stop()
	select {
	case f := <-r.frames:
		if f.err == nil && f.kind != kind {
			f.err = wire.ErrMalformed
		}
		return f.payload, f.err
	case <-stalled.C:
		return nil, errSnapshotStalled
	case <-r.ctx.Done():
		return nil, context.Cause(r.ctx)
	}
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
	payload, err := r.receive(wire.KindSnapshotData, snapshotStall)
	if err != nil {
		return err
	}
	d := wire.Decoder{Rest: payload}
	size := d.Uvarint()
	if d.Bad || size == 0 || size > snapshotChunkBytes || int64(size) > r.left {
		return wire.ErrMalformed
	}
	if r.buf, err = r.zstd.DecodeAll(d.Rest, r.buf[:0]); err != nil {
		return fmt.Errorf("decompress snapshot: %w", err)
	}
	if uint64(len(r.buf)) != size {
		return wire.ErrMalformed
	}
	r.rest, r.left = r.buf, r.left-int64(size)
	return r.pace.wait(r.ctx, int(size))
}
