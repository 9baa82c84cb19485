package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

// A download takes at most downloadTime, and a second more for each slowestDownload bytes.
const (
	downloadTime    = time.Minute
	slowestDownload = 256 << 10
)

// downloadBytes is what a download holds: what the server has of the value, and what gRPC has.
const downloadBytes = 2 * pieceBytes

// beginDownload finds room for a download, unless its connection has half of all there is for transfers: whoever
// opens many and takes nothing leaves the other half to others.
func (s *Server) beginDownload(ctx context.Context) (leave func(), ok bool) {
	from := ""
	if p, known := peer.FromContext(ctx); known {
		from = p.Addr.String() // with its port, which is a connection's own
	}
	if !s.downloads.take(from, downloadBytes, s.opts.MaxTransferBytes/2) {
		return nil, false
	}
	if !s.transfers.take(downloadBytes, false) {
		s.downloads.give(from, downloadBytes)
		return nil, false
	}
	return func() {
		s.transfers.give(downloadBytes)
		s.downloads.give(from, downloadBytes)
	}, true
}

// Download implements pb.KVServer.
func (k kvService) Download(req *pb.DownloadRequest, stream grpc.ServerStreamingServer[pb.DownloadResponse]) error {
	leave, ok := k.server.beginDownload(stream.Context())
	if !ok {
		return errTransfers()
	}
	defer leave()
	value, err := k.kv.OpenValue(stream.Context(), server.Query{
		Namespace: api.Namespace(req.GetNamespace()), Keys: [][]byte{req.GetKey()}, MaxStaleness: staleness(req.GetMaxStalenessMs()),
	})
	if err != nil {
		return err
	}
	defer value.Close()
	longest := downloadTime + time.Duration(value.Bytes)*time.Second/slowestDownload
	over, cancel := context.WithTimeout(stream.Context(), longest)
	defer cancel()
	limit := k.server.opts.TransferSilence
	silent := api.Errorf(api.CodeExpired, "the client took nothing of a value for %s", limit)
	d := downloading{stream: stream, patience: &patience{limit: limit, why: silent, waiting: &k.server.readers, over: over}, left: value.Bytes}
	header := &pb.DownloadHeader{Found: value.Found, Bytes: value.Bytes, Version: uint64(value.Version), ExpiryMs: value.ExpiryMillis}
	if err := d.send(&pb.DownloadResponse{Part: &pb.DownloadResponse_Header{Header: header}}); err != nil || !value.Found {
		return err
	}
	return d.sendValue(value.Next)
}

// downloading is one Download under way.
type downloading struct {
	stream   grpc.ServerStreamingServer[pb.DownloadResponse]
	patience *patience
	chunks   api.ChunkSender
	left     uint64 // bytes of the value
}

// sendValue sends what next brings.
func (d *downloading) sendValue(next func() ([]byte, error)) error {
	if d.left == 0 {
		return d.sendChunk(nil)
	}
	for d.left > 0 {
		piece, err := next()
		if errors.Is(err, io.EOF) || err == nil && uint64(len(piece)) > d.left {
			return api.Errorf(api.CodeInternal, "a value has another length than it was said to have")
		}
		if err != nil {
			return err
		}
		for len(piece) > 0 {
			n := min(len(piece), api.MaxChunkBytes)
			d.left -= uint64(n)
			if err := d.sendChunk(piece[:n]); err != nil {
				return err
			}
			piece = piece[n:]
		}
	}
	return nil
}

func (d *downloading) sendChunk(data []byte) error {
	chunk := d.chunks.Chunk(data, d.left == 0)
	return d.send(&pb.DownloadResponse{Part: &pb.DownloadResponse_Chunk{Chunk: chunk}})
}

func (d *downloading) send(m *pb.DownloadResponse) error {
	_, err := await(d.patience, func() (struct{}, error) { return struct{}{}, d.stream.Send(m) })
	return err
}
