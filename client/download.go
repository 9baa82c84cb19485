package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

// sink takes a value in pieces. Each attempt to read it begins anew.
type sink interface {
	begin(h *pb.DownloadHeader) error
	take(piece []byte) error
}

// memory is a sink that keeps the value.
type memory struct{ value []byte }

func (m *memory) begin(h *pb.DownloadHeader) error {
	m.value = nil
	if h.GetFound() {
		m.value = make([]byte, 0, min(h.GetBytes(), api.MaxValueBytes))
	}
	return nil
}

func (m *memory) take(piece []byte) error {
	m.value = append(m.value, piece...)
	return nil
}

// outlet is a sink that passes the value on. What it has passed on cannot be taken back: a later attempt
// goes on behind it, if it finds the same version.
type outlet struct {
	w       io.Writer
	version uint64 // of what was passed on
	passed  int    // bytes
	skip    int    // of them, those that this attempt has not met yet
}

func (o *outlet) begin(h *pb.DownloadHeader) error {
	if o.passed > 0 && o.version != h.GetVersion() {
		return &localError{api.CodeUnavailable, "read the value",
			fmt.Errorf("it changed after %d bytes, when a node failed; read it again from its beginning", o.passed)}
	}
	o.version, o.skip = h.GetVersion(), o.passed
	return nil
}

func (o *outlet) take(piece []byte) error {
	known := min(o.skip, len(piece))
	o.skip -= known
	if known == len(piece) {
		return nil
	}
	n, err := o.w.Write(piece[known:])
	o.passed += n
	if err != nil {
		return writeError(err)
	}
	return nil
}

// GetTo reads a key linearizably and writes its value to w; the item is without it, and Found says whether
// there is one. The value is of one version. What is in memory of it is a few pieces of
// api.MaxChunkBytes, and each is checked before it is written.
//
// If a node fails in the middle, another one goes on behind what was written, unless the key was written
// meanwhile: then the error matches api.ErrUnavailable. After any error what was written is a beginning of the
// value. A call without a deadline has a minute more than Options.DefaultTimeout for a value that is long;
// the context does not interrupt a Write.
func (c *Client) GetTo(ctx context.Context, ns api.Namespace, key []byte, w io.Writer) (api.Item, error) {
	return c.getTo(ctx, ns, key, 0, w)
}

// GetTo is as Client.GetTo, within the bound.
func (s *StaleReader) GetTo(ctx context.Context, ns api.Namespace, key []byte, w io.Writer) (api.Item, error) {
	return s.client.getTo(ctx, ns, key, staleMillis(s.bound), w)
}

func (c *Client) getTo(ctx context.Context, ns api.Namespace, key []byte, staleMillis uint32, w io.Writer) (api.Item, error) {
	item, long, err := c.getShort(ctx, ns, key, staleMillis)
	switch {
	case long:
		return c.download(ctx, ns, key, staleMillis, &outlet{w: w})
	case err != nil:
		return api.Item{}, err
	}
	return passOn(item, w)
}

// passOn writes the value of an item and takes it out.
func passOn(item api.Item, w io.Writer) (api.Item, error) {
	if item.Found {
		if _, err := w.Write(item.Value); err != nil {
			return api.Item{}, writeError(err).verdict()
		}
	}
	item.Value = nil
	return item, nil
}

// download reads a key whose value may be long.
func (c *Client) download(ctx context.Context, ns api.Namespace, key []byte, staleMillis uint32, to sink) (api.Item, error) {
	op := &operation{
		name: "get", routed: true, slot: router.Slot(ns, key), stale: staleMillis > 0,
		long: true, allowance: allowance(api.MaxValueBytes),
	}
	request := &pb.DownloadRequest{Namespace: uint32(ns), Key: key, MaxStalenessMs: staleMillis}
	var header *pb.DownloadHeader
	err := c.do(ctx, op, func(ctx context.Context, conn *connection, _ callOptions) (err error) {
		header, err = conn.download(ctx, request, to, op.watch)
		return err
	})
	if err != nil {
		return api.Item{}, err
	}
	return api.Item{
		Key: bytes.Clone(key), Found: header.GetFound(), Version: api.Version(header.GetVersion()), ExpiryMillis: header.GetExpiryMs(),
	}, nil
}

// download is one attempt.
func (conn *connection) download(ctx context.Context, request *pb.DownloadRequest, to sink, w *watch) (*pb.DownloadHeader, error) {
	stream, err := conn.kv.Download(ctx, request)
	if err != nil {
		return nil, err
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, downloadError(err)
	}
	header := m.GetHeader()
	if header == nil {
		return nil, status.Error(codes.Unavailable, "the first message of a value is not its header")
	}
	w.moved()
	if err := to.begin(header); err != nil || !header.GetFound() {
		return header, err
	}
	var chunks api.ChunkReceiver
	for !chunks.Done() {
		m, err := stream.Recv()
		if err != nil {
			return nil, downloadError(err)
		}
		if refusal := chunks.Take(m.GetChunk()); refusal != nil {
			return nil, status.Error(codes.Unavailable, refusal.Error())
		}
		w.aside(func() { err = to.take(m.GetChunk().GetData()) })
		if err != nil {
			return nil, err
		}
	}
	if chunks.Bytes() != header.GetBytes() {
		return nil, status.Error(codes.Unavailable, fmt.Sprintf("a value of %d bytes came, and %d were announced", chunks.Bytes(), header.GetBytes()))
	}
	return header, nil
}

// downloadError is the error of a stream that ended before the value did.
func downloadError(err error) error {
	if errors.Is(err, io.EOF) {
		return status.Error(codes.Unavailable, "the value ended before its last chunk")
	}
	return err
}

// backupAllowance is what the rows of a shard may take when the caller sets no deadline. It is silence that ends an attempt.
const backupAllowance = 24 * time.Hour

const (
	// backupSilence is how long a node may walk over rows of which none is to be sent. That it is there at all is known sooner.
	backupSilence = time.Minute
	// backupPatience is how long a leader is looked for.
	backupPatience = time.Minute
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BackupShard reads the rows of the shard that owns a slot, all as they are at one point of its log, as docs/formats/backup.md
// says. begin is told which rows they are, block gets the records, and the end has the counts, which the caller compares.
// The leader is looked for until a stream begins; when that breaks, what came is useless, and the call fails.
func (c *Client) BackupShard(ctx context.Context, slot api.Slot, begin func(*pb.BackupCut) error, block func(records []byte) error) (*pb.BackupEnd, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looking := time.AfterFunc(backupPatience, cancel)
	defer looking.Stop()
	op := &operation{name: "backup", routed: true, slot: slot, long: true, allowance: backupAllowance, silence: backupSilence}
	var end *pb.BackupEnd
	var failed error // when the stream had begun, or of begin or block: nothing is tried again here
	op.again = func() bool { return failed == nil }
	err := c.do(ctx, op, func(ctx context.Context, conn *connection, _ callOptions) error {
		stream, err := conn.backup.BackupShard(ctx, &pb.BackupShardRequest{Slot: uint32(slot)})
		if err != nil {
			return err
		}
		first, err := stream.Recv()
		if err != nil {
			return backupError(err)
		}
		if first.GetCut() == nil {
			return status.Error(codes.Unavailable, "the first message of a backup is not its cut")
		}
		looking.Stop()
		if failed = begin(first.GetCut()); failed == nil {
			end, failed = receiveBlocks(stream, op.watch, block)
		}
		return failed
	})
	if failed != nil {
		return nil, failed
	}
	return end, err
}

// receiveBlocks receives what is behind the cut, and checks it.
func receiveBlocks(stream pb.Backup_BackupShardClient, w *watch, block func([]byte) error) (*pb.BackupEnd, error) {
	sum := uint32(0)
	for {
		w.moved()
		m, err := stream.Recv()
		if err != nil {
			return nil, api.FromStatus(backupError(err), false)
		}
		if end := m.GetEnd(); end != nil {
			if end.GetChecksum() != sum {
				return nil, api.Errorf(api.CodeUnavailable, "the checksum of a backup is wrong at its end")
			}
			return end, nil
		}
		b := m.GetBlock()
		if sum = crc32.Update(sum, castagnoli, b.GetRecords()); sum != b.GetChecksum() {
			return nil, api.Errorf(api.CodeUnavailable, "a block of a backup has checksum %08x, expected %08x", sum, b.GetChecksum())
		}
		w.aside(func() { err = block(b.GetRecords()) })
		if err != nil {
			return nil, err
		}
	}
}

// backupError is the error of a stream that ended before its end was said.
func backupError(err error) error {
	if errors.Is(err, io.EOF) {
		return status.Error(codes.Unavailable, "the backup ended before its last message")
	}
	return err
}
