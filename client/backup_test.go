package client

import (
	"errors"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// blocksOf is a stream of a backup that ends after some messages.
type blocksOf struct {
	grpc.ClientStream
	messages []*pb.BackupShardResponse
}

func (b *blocksOf) Recv() (*pb.BackupShardResponse, error) {
	if len(b.messages) == 0 {
		return nil, io.EOF
	}
	m := b.messages[0]
	b.messages = b.messages[1:]
	return m, nil
}

func blockOf(records string, sum uint32) *pb.BackupShardResponse {
	return &pb.BackupShardResponse{Part: &pb.BackupShardResponse_Block{Block: &pb.BackupBlock{Records: []byte(records), Checksum: sum}}}
}

func endOf(sum uint32) *pb.BackupShardResponse {
	return &pb.BackupShardResponse{Part: &pb.BackupShardResponse_End{End: &pb.BackupEnd{Rows: 2, Checksum: sum}}}
}

func TestABackupThatIsNotWholeIsReadAgain(t *testing.T) {
	first := crc32.Checksum([]byte("one"), castagnoli)
	both := crc32.Checksum([]byte("onetwo"), castagnoli)
	full := errors.New("the disk is full")
	for name, c := range map[string]struct {
		messages []*pb.BackupShardResponse
		taker    error
		want     error
	}{
		"whole":        {[]*pb.BackupShardResponse{blockOf("one", first), blockOf("two", both), endOf(both)}, nil, nil},
		"without end":  {[]*pb.BackupShardResponse{blockOf("one", first)}, nil, api.ErrUnavailable},
		"lost block":   {[]*pb.BackupShardResponse{blockOf("two", both), endOf(both)}, nil, api.ErrUnavailable},
		"lost at end":  {[]*pb.BackupShardResponse{blockOf("one", first), endOf(both)}, nil, api.ErrUnavailable},
		"no room here": {[]*pb.BackupShardResponse{blockOf("one", first), endOf(first)}, full, full},
	} {
		w := newWatch(time.Hour, func() {})
		got := ""
		end, err := receiveBlocks(&blocksOf{messages: c.messages}, w, func(records []byte) error {
			got += string(records)
			return c.taker
		})
		w.stop()
		if !errors.Is(err, c.want) || err == nil && (got != "onetwo" || end.GetRows() != 2) {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}
