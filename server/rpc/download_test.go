package rpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/server"
)

// download reads a key to the end.
func download(t *testing.T, f *fixture, req *pb.DownloadRequest) (*pb.DownloadHeader, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := pb.NewKVClient(f.conn).Download(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	header := m.GetHeader()
	if header == nil {
		t.Fatal("the first message is not a header")
	}
	var chunks api.ChunkReceiver
	var value []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if header.Found != chunks.Done() {
				t.Errorf("found %t, and the last chunk came: %t", header.Found, chunks.Done())
			}
			return header, value, nil
		}
		if err != nil {
			return header, value, err
		}
		if refusal := chunks.Take(m.GetChunk()); refusal != nil {
			t.Fatal(refusal)
		}
		value = append(value, m.GetChunk().GetData()...)
	}
}

func TestADownloadSendsAValueInChunks(t *testing.T) {
	f := start(t)
	for _, length := range []int{0, 1, api.MaxChunkBytes, api.MaxChunkBytes + 1, 2 * api.MaxChunkBytes, api.MaxValueBytes} {
		value := bytes.Repeat([]byte("v"), length)
		f.kv.open = server.NewValue(api.Item{Key: []byte("k"), Value: value, Version: 7, ExpiryMillis: 8, Found: true})
		header, got, err := download(t, f, &pb.DownloadRequest{Key: []byte("k"), MaxStalenessMs: 9})
		if err != nil || !bytes.Equal(got, value) || header.Bytes != uint64(length) || header.Version != 7 || header.ExpiryMs != 8 {
			t.Errorf("%d bytes: %d of %v, %v", length, len(got), header, err)
		}
		if q := f.kv.query; len(q.Keys) != 1 || string(q.Keys[0]) != "k" || q.MaxStaleness != 9*time.Millisecond {
			t.Errorf("the KV was asked for %+v", q)
		}
	}
	f.kv.open = server.NewValue(api.Item{Key: []byte("k")})
	if header, _, err := download(t, f, &pb.DownloadRequest{Key: []byte("k")}); err != nil || header.Found {
		t.Errorf("an absent key: %v, %v", header, err)
	}
	f.kv.err = api.Errorf(api.CodeTooStale, "too stale")
	if _, _, err := download(t, f, &pb.DownloadRequest{Key: []byte("k")}); !errors.Is(api.FromStatus(err, false), api.ErrTooStale) {
		t.Errorf("a key that cannot be read: %v", err)
	}
	testkit.Eventually(t, time.Minute, func() bool { return f.server.transfers.used.Load() == 0 })
}

func TestAClientThatTakesNothingOfADownloadIsCutOff(t *testing.T) {
	f := startWith(t, func(o *Options) { o.TransferSilence = 50 * time.Millisecond })
	f.kv.open = server.NewValue(api.Item{Key: []byte("k"), Value: make([]byte, api.MaxValueBytes), Found: true})
	stream, err := pb.NewKVClient(f.conn).Download(t.Context(), &pb.DownloadRequest{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	// What it holds is given back while the client still takes nothing.
	testkit.Eventually(t, time.Minute, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.seen) == 1 && f.seen[0].code == api.CodeExpired && f.server.transfers.used.Load() == 0
	})
	for err == nil {
		_, err = stream.Recv()
	}
	var e *api.Error
	if !errors.As(api.FromStatus(err, false), &e) || e.Code != api.CodeExpired || !strings.Contains(e.Message, "took nothing of a value for 50ms") {
		t.Errorf("the client is told %v", err)
	}
}

func TestAUnaryReadOfALongValueNamesTheDownload(t *testing.T) {
	f := start(t)
	client := pb.NewKVClient(f.conn)
	for _, length := range []int{api.MaxMessageValueBytes, api.MaxMessageValueBytes + 1} {
		f.kv.item = api.Item{Key: []byte("k"), Value: make([]byte, length), Found: true}
		_, getErr := client.Get(t.Context(), &pb.GetRequest{Key: []byte("k")})
		_, multiErr := client.MultiGet(t.Context(), &pb.MultiGetRequest{Keys: [][]byte{[]byte("k")}})
		for _, err := range []error{getErr, multiErr} {
			if length <= api.MaxMessageValueBytes {
				if err != nil {
					t.Errorf("%d bytes: %v", length, err)
				}
				continue
			}
			var e *api.Error
			if !errors.As(api.FromStatus(err, false), &e) || e.Code != api.CodeTooLarge || !strings.Contains(e.Message, "by Download") {
				t.Errorf("%d bytes: %v", length, err)
			}
		}
	}
}

func TestAScanOmitsLongValuesIfItsClientSaysSo(t *testing.T) {
	f := start(t)
	long := make([]byte, api.MaxMessageValueBytes+1)
	f.kv.items = []api.Item{
		{Key: []byte("a"), Value: []byte("short"), Version: 1, Found: true},
		{Key: []byte("b"), Value: long, Version: 2, Found: true},
		{Key: []byte("c"), Stored: &api.Stored{Parts: api.Parts{Bytes: 9 << 20}}, Version: 3, Found: true},
		{Key: []byte("d"), Value: long[1:], Version: 4, Found: true},
		{Key: []byte("e"), Value: []byte("short"), Version: 5, Found: true},
	}
	for _, omit := range []bool{true, false} {
		stream, err := pb.NewKVClient(f.conn).Scan(t.Context(), &pb.ScanRequest{OmitLong: omit})
		if err != nil {
			t.Fatal(err)
		}
		keys, omitted := "", map[string]uint64{}
		for {
			m, recvErr := stream.Recv()
			if err = recvErr; err != nil {
				break
			}
			bytes := 0
			for _, item := range m.Items {
				keys += string(item.Key)
				bytes += len(item.Value)
				if item.OmittedBytes > 0 {
					omitted[string(item.Key)] = item.OmittedBytes
				}
			}
			if len(m.Items) > 1 && bytes > api.MaxScanPageBytes {
				t.Errorf("a page of %d bytes", bytes)
			}
		}
		switch {
		case omit && (!errors.Is(err, io.EOF) || keys != "abcde" || len(omitted) != 2 || omitted["b"] != uint64(len(long)) || omitted["c"] != 9<<20):
			t.Errorf("with omit_long: %s, %v, %v", keys, omitted, err)
		case !omit && (!errors.Is(api.FromStatus(err, false), api.ErrTooLarge) || keys != "a"):
			t.Errorf("without it: %s, %v", keys, err)
		}
	}
}

func TestTheDownloadsOfOneConnectionLeaveRoomForOthers(t *testing.T) {
	s := start(t).server
	from := func(port int) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}})
	}
	count, ends := 0, []func(){}
	for leave, ok := s.beginDownload(from(1)); ok; leave, ok = s.beginDownload(from(1)) {
		count, ends = count+1, append(ends, leave)
	}
	if want := s.opts.MaxTransferBytes / 2 / downloadBytes; count != want {
		t.Errorf("one connection has %d downloads, want %d", count, want)
	}
	leave, ok := s.beginDownload(from(2))
	if !ok {
		t.Fatal("another connection finds no room")
	}
	for _, end := range append(ends, leave) {
		end()
	}
	if len(s.downloads.held) != 0 || s.transfers.used.Load() != 0 {
		t.Errorf("still held: %v, %d bytes", s.downloads.held, s.transfers.used.Load())
	}
}
