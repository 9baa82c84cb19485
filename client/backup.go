package client

import (
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
)

// backupAllowance is what the rows of a shard may take when the caller sets no deadline. It is silence that ends an attempt.
const backupAllowance = 24 * time.Hour

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BackupShard reads the rows of the shard that owns a slot, all as they are at one point of its log, as docs/formats/backup.md
// says. begin is told which rows they are, block gets the records, and the end has the counts, which the caller compares.
// The leader is looked for until a stream begins; when that breaks, what came is useless, and the call fails.
func (c *Client) BackupShard(ctx context.Context, slot api.Slot, begin func(*pb.BackupCut) error, block func(records []byte) error) (*pb.BackupEnd, error) {
	begun := false
	op := &operation{name: "backup", routed: true, slot: slot, long: true, allowance: backupAllowance, again: func() bool { return !begun }}
	var end *pb.BackupEnd
	var failed error // of begin or block, and not of the node
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
		begun = true
		if failed = begin(first.GetCut()); failed != nil {
			return failed
		}
		end, failed, err = receiveBlocks(stream, op.watch, block)
		return err
	})
	if failed != nil {
		return nil, failed
	}
	return end, err
}

// receiveBlocks receives what is behind the cut, and checks it.
func receiveBlocks(stream pb.Backup_BackupShardClient, w *watch, block func([]byte) error) (end *pb.BackupEnd, failed, err error) {
	sum := uint32(0)
	for {
		w.moved()
		m, err := stream.Recv()
		if err != nil {
			return nil, nil, backupError(err)
		}
		if end := m.GetEnd(); end != nil {
			if end.GetChecksum() != sum {
				return nil, nil, status.Error(codes.Unavailable, "the checksum of a backup is wrong at its end")
			}
			return end, nil, nil
		}
		b := m.GetBlock()
		if sum = crc32.Update(sum, castagnoli, b.GetRecords()); sum != b.GetChecksum() {
			return nil, nil, status.Error(codes.Unavailable, fmt.Sprintf("a block of a backup has checksum %08x, expected %08x", sum, b.GetChecksum()))
		}
		w.aside(func() { failed = block(b.GetRecords()) })
		if failed != nil {
			return nil, failed, failed
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
