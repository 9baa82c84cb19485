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

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *pb.BatchRequest, *pb.MultiGetRequest, *peerv1.ForwardGetRequest:
		buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
		defer buffer.Free()
		if err := checkElements(buffer.ReadOnlyData()); err != nil {
			return err
		}
		return proto.Unmarshal(buffer.ReadOnlyData(), m.(proto.Message))
	}
	return c.CodecV2.Unmarshal(data, v)
}

// checkElements counts the fields of a message without decoding them.
func checkElements(message []byte) error {
	for count := 0; len(message) > 0; count++ {
		_, _, n := protowire.ConsumeField(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if count == maxElements {
			return fmt.Errorf("a request of more than %d elements is over the limit", maxElements)
		}
		message = message[n:]
	}
	return nil
}
