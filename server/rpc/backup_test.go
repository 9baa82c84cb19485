package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// rowsOf is a Backer of one shard that has so many rows, and that fails behind them if it is told to.
type rowsOf struct {
	count, bytes int
	err          error
}

var cutOfRows = shard.Cut{Shard: 7, Arc: router.Arc{Start: 3, End: 9}, Epoch: 4, Index: 5, At: api.VersionAt(6)}

func (b rowsOf) row(i int) *record.Record {
	return &record.Record{
		Kind: record.Row, Key: fmt.Appendf(nil, "%06d", i), Value: bytes.Repeat([]byte{byte(i)}, b.bytes), ValueBytes: uint64(b.bytes), ExpiryMillis: uint64(i),
	}
}

func (b rowsOf) Backup(_ context.Context, _ api.Slot, begin func(shard.Cut) error, add func(*record.Record) error) error {
	if err := begin(cutOfRows); err != nil {
		return err
	}
	for i := range b.count {
		if err := add(b.row(i)); err != nil {
			return err
		}
	}
	return b.err
}

// strayPiece is a Backer with a piece of a value that has no row.
type strayPiece struct{}

func (strayPiece) Backup(_ context.Context, _ api.Slot, begin func(shard.Cut) error, add func(*record.Record) error) error {
	return errors.Join(begin(cutOfRows), add(&record.Record{Kind: record.Piece, Value: []byte("v"), ValueBytes: 1}))
}

// backedUp is what a client receives of a shard.
type backedUp struct {
	cut     *pb.BackupCut
	records []byte
	blocks  int
	end     *pb.BackupEnd
}

func backUp(t *testing.T, f *fixture, slot uint32) (*backedUp, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := pb.NewBackupClient(f.conn).BackupShard(ctx, &pb.BackupShardRequest{Slot: slot})
	if err != nil {
		t.Fatal(err)
	}
	got := &backedUp{}
	for first := true; ; first = false {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if first != (m.GetCut() != nil) || got.end != nil {
			t.Fatalf("%v came out of its order", m)
		}
		if first {
			got.cut = m.GetCut()
		}
		if b := m.GetBlock(); b != nil {
			got.records, got.blocks = append(got.records, b.GetRecords()...), got.blocks+1
			if sum := crc32.Checksum(got.records, castagnoli); b.GetChecksum() != sum {
				t.Errorf("block %d has checksum %08x, want %08x", got.blocks, b.GetChecksum(), sum)
			}
		}
		got.end = m.GetEnd()
	}
}

func TestABackupIsTheCutThenBlocksThenWhatWasSent(t *testing.T) {
	for _, rows := range []rowsOf{{}, {count: 1}, {count: 1, bytes: record.MaxPieceBytes}, {count: 3000, bytes: 1000}} {
		f := startWith(t, func(o *Options) { o.Backup = rows })
		got, err := backUp(t, f, 5)
		if err != nil || got.end == nil {
			t.Fatalf("%+v: %v", rows, err)
		}
		c := got.cut
		if c.GetShardId() != 7 || c.GetStartSlot() != 3 || c.GetEndSlot() != 9 || c.GetEpoch() != 4 || c.GetAppliedIndex() != 5 || c.GetShardTimeMs() != 6 {
			t.Errorf("the cut is %v", c)
		}
		var want []byte
		for i := range rows.count {
			want = rows.row(i).Append(want)
		}
		if !bytes.Equal(got.records, want) || got.blocks < len(want)/(backupBlockBytes+record.MaxBytes) || got.blocks > 1+len(want)/backupBlockBytes {
			t.Errorf("%+v: %d bytes in %d blocks, want %d", rows, len(got.records), got.blocks, len(want))
		}
		e := got.end
		if e.GetRows() != uint64(rows.count) || e.GetBytes() != uint64(rows.count*(rows.bytes+6)) || e.GetChecksum() != crc32.Checksum(want, castagnoli) {
			t.Errorf("%+v: the end is %v", rows, e)
		}
		testkit.Eventually(t, time.Minute, func() bool { return f.server.transfers.used.Load() == 0 })
	}
}

// A stream that fails must not look like one that has ended: the client has no end, and an error that it may try again after.
func TestABackupThatFailsHasNoEnd(t *testing.T) {
	f := startWith(t, func(o *Options) {
		o.Backup = rowsOf{count: 900, bytes: 1000, err: api.Errorf(api.CodeNotLeader, "no longer")}
	})
	got, err := backUp(t, f, 5)
	if !errors.Is(api.FromStatus(err, false), api.ErrNotLeader) || got.end != nil || got.blocks == 0 {
		t.Errorf("%d blocks, end %v: %v", got.blocks, got.end, err)
	}
	if _, err := backUp(t, f, api.SlotCount); !errors.Is(api.FromStatus(err, false), api.ErrInvalid) {
		t.Errorf("a slot that is none: %v", err)
	}
	f = startWith(t, func(o *Options) { o.Backup = strayPiece{} })
	if got, err := backUp(t, f, 5); !errors.Is(api.FromStatus(err, false), api.ErrInternal) || got.end != nil {
		t.Errorf("a piece of no row: %v, end %v", err, got.end)
	}
	testkit.Eventually(t, time.Minute, func() bool { return f.server.transfers.used.Load() == 0 })
}

func TestABackupThatFindsNoRoomIsRefused(t *testing.T) {
	f := startWith(t, func(o *Options) { o.Backup = rowsOf{count: 1} })
	taken := 0
	for f.server.transfers.take(backupBytes, false) {
		taken += backupBytes
	}
	if _, err := backUp(t, f, 5); !errors.Is(api.FromStatus(err, false), api.ErrOverloaded) {
		t.Errorf("without room: %v", err)
	}
	f.server.transfers.give(taken)
	if _, err := backUp(t, f, 5); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A client that takes nothing must not hold the snapshot of a shard, which keeps what is overwritten.
func TestABackupWhoseClientIsSilentIsGivenUp(t *testing.T) {
	f := startWith(t, func(o *Options) {
		o.TransferSilence = 50 * time.Millisecond
		o.Backup = rowsOf{count: 64 << 10, bytes: 1000} // far more than gRPC holds for a client
	})
	stream, err := pb.NewBackupClient(f.conn).BackupShard(t.Context(), &pb.BackupShardRequest{Slot: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); err == nil { // else the node was so slow that it gave up before
		testkit.Eventually(t, time.Minute, func() bool { return f.server.transfers.used.Load() == 0 })
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(api.FromStatus(err, false), api.ErrExpired) {
		t.Errorf("it ended with %v", err)
	}
}
