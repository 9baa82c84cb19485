package rpc

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// maxElements bounds the fields of a request that has lists. An empty element takes two bytes of a
// message and more than two hundred in memory, so a message of the largest size could take 2 GB. It
// is twice what any list may have, so that a caller who sends a little too much is told so by code.
const maxElements = 2 * api.MaxBatchOps

// codec is gRPC's own, but for requests of too many elements (C5).
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(encodingproto.Name)} }

// ownCodec is a message that is not protobuf: a batch of package raft/mux.
type ownCodec interface{ Codec() encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(ownCodec); ok {
		return m.Codec().Marshal(v)
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case ownCodec:
		return m.Codec().Unmarshal(data, v)
	case *pb.BatchRequest, *pb.MultiGetRequest, *peerv1.ForwardGetRequest, *peerv1.ForwardApplyRequest:
		return unmarshal(data, m.(proto.Message), 0)
	case *peerv1.ForwardReadsRequest:
		return unmarshal(data, m, 1) // a read, and its keys
	case *pb.UploadRequest:
		return unmarshal(data, m, 2) // a header, the batch in it, and its list
	case *pb.StreamRequest:
		return unmarshal(data, m, 2) // a call, and the list in its request
	}
	return c.CodecV2.Unmarshal(data, v)
}

// unmarshal decodes a message whose lists are within so many messages in it.
func unmarshal(data mem.BufferSlice, m proto.Message, depth int) error {
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	left := maxElements
	if hasMoreElements(buffer.ReadOnlyData(), depth, &left) {
		return fmt.Errorf("a request of more than %d elements is over the limit", maxElements)
	}
	return proto.Unmarshal(buffer.ReadOnlyData(), m)
}

// hasMoreElements counts the fields of a message, and of those in it down to depth, without
// decoding them. It counts up to where it cannot read on: decoding ends there, too.
func hasMoreElements(message []byte, depth int, left *int) bool {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		size := protowire.ConsumeFieldValue(number, kind, message[n:])
		if size < 0 {
			return false
		}
		if *left--; *left < 0 {
			return true
		}
		if kind == protowire.BytesType && depth > 0 {
			inner, _ := protowire.ConsumeBytes(message[n:])
			if hasMoreElements(inner, depth-1, left) {
				return true
			}
		}
		message = message[n+size:]
	}
	return false
}
