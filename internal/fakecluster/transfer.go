package fakecluster

import (
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Upload implements the KV service: it is a Batch once all values are there.
func (n *Node) Upload(stream pb.KV_UploadServer) error {
	m, err := stream.Recv()
	if err != nil {
		return err
	}
	request := proto.Clone(m.GetHeader().GetBatch()).(*pb.BatchRequest)
	for _, at := range m.GetHeader().GetUploaded() {
		var chunks api.ChunkReceiver
		op := request.GetOps()[at]
		for !chunks.Done() {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			if refusal := chunks.Take(m.GetChunk()); refusal != nil {
				return refusal
			}
			op.Value = append(op.Value, m.GetChunk().GetData()...)
			n.cluster.mu.Lock()
			n.cluster.mu.chunks++
			n.cluster.mu.Unlock()
		}
	}
	response, err := n.Batch(stream.Context(), request)
	if err != nil {
		return err
	}
	return stream.SendAndClose(response)
}

// Download implements the KV service.
func (n *Node) Download(r *pb.DownloadRequest, stream pb.KV_DownloadServer) error {
	found, err := n.Get(stream.Context(), &pb.GetRequest{Namespace: r.GetNamespace(), Key: r.GetKey(), MaxStalenessMs: r.GetMaxStalenessMs()})
	if err != nil {
		return err
	}
	value := found.GetValue()
	header := &pb.DownloadHeader{Found: found.GetFound(), Bytes: uint64(len(value)), Version: found.GetVersion(), ExpiryMs: found.GetExpiryMs()}
	if err := stream.Send(&pb.DownloadResponse{Part: &pb.DownloadResponse_Header{Header: header}}); err != nil || !found.GetFound() {
		return err
	}
	var chunks api.ChunkSender
	for last := false; !last; {
		piece := value[:min(len(value), api.MaxChunkBytes)]
		value = value[len(piece):]
		last = len(value) == 0
		chunk := chunks.Chunk(piece, last)
		if damage := n.damage(); damage != nil {
			damage(chunk)
		}
		if err := stream.Send(&pb.DownloadResponse{Part: &pb.DownloadResponse_Chunk{Chunk: chunk}}); err != nil {
			return err
		}
	}
	return nil
}

// SetDamage makes the node change the chunks that it sends; nil ends that.
func (n *Node) SetDamage(f func(*pb.Chunk)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.damage = f
}

func (n *Node) damage() func(*pb.Chunk) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.damage
}

// Chunks is how many chunks of uploads arrived so far.
func (c *Cluster) Chunks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.chunks
}
