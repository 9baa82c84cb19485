package rpc

import (
	"context"
	"hash/crc32"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/shard"
)

// Backer streams the rows of a shard; *server.Server implements it.
type Backer interface {
	Backup(ctx context.Context, slot api.Slot, begin func(shard.Cut) error, add func(*record.Record) error) error
}

const (
	// backupTime is how long the backup of one shard may take: its snapshot keeps what is overwritten meanwhile.
	backupTime = 6 * time.Hour

	// backupBlockBytes is when a block is sent.
	backupBlockBytes = 256 << 10
	// backupBytes is what a backup holds: a block here and one in gRPC.
	backupBytes = 2 * (backupBlockBytes + record.MaxBytes)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// backupService is lightning.v1.Backup.
type backupService struct {
	pb.UnimplementedBackupServer
	server *Server
}

// BackupShard implements pb.BackupServer.
func (b backupService) BackupShard(req *pb.BackupShardRequest, stream grpc.ServerStreamingServer[pb.BackupShardResponse]) error {
	if req.GetSlot() >= api.SlotCount {
		return api.Errorf(api.CodeInvalid, "slot %d is not below %d", req.GetSlot(), api.SlotCount)
	}
	s := b.server
	if !s.transfers.take(backupBytes, false) {
		return errTransfers()
	}
	defer s.transfers.give(backupBytes)
	over, cancel := context.WithTimeout(stream.Context(), backupTime)
	defer cancel()
	limit := s.opts.TransferSilence
	silent := api.Errorf(api.CodeExpired, "the client took nothing of a backup for %s", limit)
	d := backingUp{stream: stream, patience: &patience{limit: limit, why: silent, waiting: &s.readers, over: over}}
	if err := s.opts.Backup.Backup(over, api.Slot(req.GetSlot()), d.begin, d.add); err != nil {
		return err
	}
	if err := d.flush(); err != nil {
		return err
	}
	end := &pb.BackupEnd{Rows: d.counter.Rows, Bytes: d.counter.Bytes, Checksum: d.sum}
	return d.send(&pb.BackupShardResponse{Part: &pb.BackupShardResponse_End{End: end}})
}

// backingUp is one BackupShard under way.
type backingUp struct {
	stream   grpc.ServerStreamingServer[pb.BackupShardResponse]
	patience *patience
	counter  record.Counter
	sum      uint32
	block    []byte
}

func (d *backingUp) begin(c shard.Cut) error {
	cut := &pb.BackupCut{
		ShardId: uint64(c.Shard), StartSlot: c.Arc.Start, EndSlot: c.Arc.End, Epoch: uint64(c.Epoch), AppliedIndex: uint64(c.Index), ShardTimeMs: c.At.Millis(),
	}
	return d.send(&pb.BackupShardResponse{Part: &pb.BackupShardResponse_Cut{Cut: cut}})
}

func (d *backingUp) add(r *record.Record) error {
	if err := d.counter.Take(r); err != nil {
		return api.Errorf(api.CodeInternal, "back up a shard: %w", err)
	}
	if d.block = r.Append(d.block); len(d.block) < backupBlockBytes {
		return nil
	}
	return d.flush()
}

// flush sends the block. gRPC may keep its memory, so the next one gets its own.
func (d *backingUp) flush() error {
	if len(d.block) == 0 {
		return nil
	}
	d.sum = crc32.Update(d.sum, castagnoli, d.block)
	block := &pb.BackupBlock{Records: d.block, Checksum: d.sum}
	d.block = nil
	return d.send(&pb.BackupShardResponse{Part: &pb.BackupShardResponse_Block{Block: block}})
}

func (d *backingUp) send(m *pb.BackupShardResponse) error {
	_, err := await(d.patience, func() (struct{}, error) { return struct{}{}, d.stream.Send(m) })
	return err
}
