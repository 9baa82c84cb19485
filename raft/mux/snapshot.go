package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	hraft "github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// Sending a snapshot. It travels on a stream of its own:
//
//  1. The sender waits until the receiver is connected, and for its turn to send: a node sends
//     maxSends snapshots at once. It announces the snapshot.
//  2. The receiver has it wait for its turn to install, of which there are maxInstalls, and says so in
//     the header of its answer.
//  3. Only then the snapshot is made, so that what waits costs nothing and pins no log, unless the receiver,
//     which says what it has applied, can go on with entries by now. Its request follows, then data frames whose payload is the uncompressed length (uvarint) and one zstd block.
//  4. One answer at the end.
//
// Whoever has a turn to install has one to send as well, and needs nothing else, so that those who wait for
// each other's nodes get on. Turns are given in the order of arrival. Who has waited for snapshotTurn
// for a busy receiver lets others send to somebody else meanwhile, and gets in line again.
//
// A snapshot goes on when the leadership that it was begun in ends (see deliverSnapshot).
//
// There is no limit on the whole, only on the time without progress, and on the rate (see pace).

const (
	// maxSends and maxInstalls: each snapshot fills the disk and the network of a node; two keep both busy.
	maxSends    = 2
	maxInstalls = 2
	// defaultSnapshotRate leaves an ordinary disk and a network of 1 Gbit/s room for foreground work.
	defaultSnapshotRate = 64 << 20
	// snapshotChunkBytes is the uncompressed data of one frame.
	snapshotChunkBytes = 1 << 20
	// snapshotTurn is how long a sender keeps its turn for a receiver that is busy with others.
	snapshotTurn = time.Minute
	// snapshotStall is how long a transfer may make no progress.
	snapshotStall = 20 * time.Second
	// snapshotPrepare is how long a receiver keeps its turn for a snapshot that is being made: its
	// sender reads all of the data before.
	snapshotPrepare = 10 * time.Minute
	// snapshotSwitch is how long the receiver may take to put a complete snapshot in place.
	snapshotSwitch = 2 * time.Minute
	// grantedKey is in the header by which a receiver gives a turn.
	grantedKey = "lightning-snapshot-turn"
)

var (
	errSnapshotStalled = errors.New("the snapshot made no progress")
	errSnapshotShort   = errors.New("the snapshot ended early")
	errReceiverBusy    = errors.New("the receiver is busy with other snapshots")
	errUnneeded        = errors.New("the receiver needs no snapshot any more")
)

func (m *Mux) limitSnapshots(rate int64) {
	if rate <= 0 {
		rate = defaultSnapshotRate
	}
	m.sends, m.installs = semaphore.NewWeighted(maxSends), semaphore.NewWeighted(maxInstalls)
	m.outgoing, m.incoming = newPace(rate), newPace(rate)
}

// InstallSnapshot implements hraft.Transport. It completes the request; the library reads what it
// needs of it afterwards from the description that came with data, which is completed too.
func (t *Transport) InstallSnapshot(_ hraft.ServerID, to hraft.ServerAddress, args *hraft.InstallSnapshotRequest, resp *hraft.InstallSnapshotResponse, data io.Reader) error {
	era, err := t.eraContext(args.Term)
	if err != nil {
		return err
	}
	payload, err := t.sendSnapshot(era, to, args, data)
	if errors.Is(err, errUnneeded) {
		resp.RPCHeader, resp.Term, resp.Success = args.RPCHeader, args.Term, true
		return nil
	}
	if err != nil {
		return fmt.Errorf("send snapshot of group %d to %s: %w", t.group, to, err)
	}
	resp.RPCHeader, resp.Term, resp.Success, err = wire.DecodeGrant(payload)
	if err == nil && resp.Success {
		t.owner.SnapshotSent(string(to), data)
	}
	return err
}

// sendSnapshot waits for a turn, sends the snapshot and returns the replica's answer.
func (t *Transport) sendSnapshot(era context.Context, to hraft.ServerAddress, args *hraft.InstallSnapshotRequest, data io.Reader) ([]byte, error) {
	l, err := t.linkTo(to, peers.Log)
	if err != nil {
		return nil, err
	}
	for {
		// Nothing is made, and nobody kept waiting, for a node that is away.
		if err := l.waitReady(era); err != nil {
			return nil, err
		}
		if err := t.mux.sends.Acquire(era, 1); err != nil {
			return nil, context.Cause(era)
		}
		payload, err := t.sendInTurn(era, l.node, to, args, data)
		t.mux.sends.Release(1)
		if !errors.Is(err, errReceiverBusy) {
			return payload, err
		}
	}
}

// transfer is the sender's end of one snapshot.
type transfer struct {
	stream grpc.ClientStream
	ctx    context.Context
	cancel context.CancelCauseFunc
	watch  *time.Timer
}

// expect ends the transfer with cause unless the next call comes within d.
func (x *transfer) expect(d time.Duration, cause error) {
	if x.watch != nil {
		x.watch.Stop()
	}
	x.watch = time.AfterFunc(d, func() { x.cancel(cause) })
}

func (x *transfer) end() {
	x.watch.Stop()
	x.cancel(nil)
}

// cause is why the transfer ended, if it was ended here, or else err.
func (x *transfer) cause(err error) error {
	if c := context.Cause(x.ctx); err != nil && c != nil {
		return c
	}
	return err
}

func (t *Transport) sendInTurn(era context.Context, node api.NodeID, to hraft.ServerAddress, args *hraft.InstallSnapshotRequest, data io.Reader) ([]byte, error) {
	conn, err := t.mux.pool.Conn(node, peers.Bulk)
	if err != nil {
		return nil, err
	}
	x := &transfer{}
	x.ctx, x.cancel = context.WithCancelCause(t.ctx)
	began := context.AfterFunc(era, func() { x.cancel(context.Cause(era)) })
	defer began()
	x.expect(snapshotTurn, errReceiverBusy)
	defer x.end()
	x.stream, err = peerv1.NewRaftClient(conn).InstallSnapshot(x.ctx, callOptions()...)
	if err != nil {
		return nil, x.cause(err)
	}
	f := t.request(to, wire.KindInstall, wire.EncodeInstall(args))
	err = sendFrame(x.stream, &f)
	var turn []string
	if err == nil {
		var header metadata.MD
		header, err = x.stream.Header()
		turn = header.Get(grantedKey)
	}
	if len(turn) == 1 {
		if !x.watch.Stop() || !began() {
			return nil, x.cause(errReceiverBusy) // the turn came just too late
		}
		applied, err := strconv.ParseUint(turn[0], 10, 64)
		if err != nil {
			return nil, wire.ErrMalformed
		}
		needed, err := t.owner.PrepareSnapshot(args, data, applied)
		if err != nil {
			return nil, err
		}
		if !needed {
			return nil, errUnneeded
		}
		x.expect(snapshotStall, errSnapshotStalled)
		f = t.request(to, wire.KindInstall, wire.EncodeInstall(args))
		if err = sendFrame(x.stream, &f); err == nil {
			err = x.sendChunks(t, &f, data)
		}
		// A failed send only says that the stream is over; the answer says why.
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, x.cause(err)
		}
		x.expect(snapshotSwitch, errSnapshotStalled)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, x.cause(err)
	}
	if err := x.stream.CloseSend(); err != nil {
		return nil, x.cause(err)
	}
	payload, err := recvFrame(x.stream, node)
	return payload, x.cause(err)
}

func (x *transfer) sendChunks(t *Transport, request *wire.Frame, data io.Reader) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fmt.Errorf("start compression: %w", err)
	}
	defer encoder.Close()
	chunk := make([]byte, snapshotChunkBytes)
	for {
		n, err := io.ReadFull(data, chunk)
		if n > 0 {
			if err := t.mux.outgoing.wait(x.ctx, n); err != nil {
				return err
			}
			payload := encoder.EncodeAll(chunk[:n], binary.AppendUvarint(nil, uint64(n)))
			f := wire.Frame{Kind: wire.KindSnapshotData, Group: request.Group, From: request.From, To: request.To, Payload: payload}
			if err := sendFrame(x.stream, &f); err != nil {
				return err
			}
			x.expect(snapshotStall, errSnapshotStalled)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read snapshot: %w", err)
		}
	}
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
