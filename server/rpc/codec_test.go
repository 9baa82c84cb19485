package rpc

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// C5. An empty element takes two bytes of a message and a hundred times that in memory.
func TestAMessageOfTooManyElementsIsNotDecoded(t *testing.T) {
	for _, m := range []proto.Message{&pb.BatchRequest{}, &pb.MultiGetRequest{}, &peerv1.ForwardGetRequest{}, &peerv1.ForwardApplyRequest{}} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if !fields.Get(i).IsList() || fields.Get(i).IsPacked() { // packed, they take in memory what they take there
				continue
			}
			for count, wantErr := range map[int]bool{maxElements: false, maxElements + 1: true} {
				raw := make([]byte, 2*count)
				for at := 0; at < len(raw); at += 2 {
					raw[at] = byte(fields.Get(i).Number()<<3 | 2)
				}
				err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, m)
				got := m.ProtoReflect().Get(fields.Get(i)).List().Len()
				if (err != nil) != wantErr || wantErr && got != 0 || !wantErr && got != count {
					t.Errorf("%T: %d of %d elements, %v", m, got, count, err)
				}
				proto.Reset(m)
			}
		}
	}
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer{0xff}}, &pb.BatchRequest{}); err == nil {
		t.Error("what is no message is decoded")
	}
}

// C5 holds for all calls of a message together.
func TestAMessageOfCallsWithTooManyElementsIsNotDecoded(t *testing.T) {
	message := func(calls, elements int) []byte {
		m := &pb.StreamRequest{}
		for range calls {
			m.Calls = append(m.Calls,
				&pb.Call{Request: &pb.Call_Batch{Batch: &pb.BatchRequest{Ops: make([]*pb.Op, elements)}}},
				&pb.Call{Request: &pb.Call_MultiGet{MultiGet: &pb.MultiGetRequest{Keys: make([][]byte, elements)}}})
		}
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for elements, wantErr := range map[int]bool{maxElements/20 - 2: false, maxElements / 20: true} {
		m := &pb.StreamRequest{}
		err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(message(10, elements))}, m)
		if (err != nil) != wantErr || wantErr == (len(m.Calls) == 20) {
			t.Errorf("20 calls of %d elements: %d calls, %v", elements, len(m.Calls), err)
		}
	}
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer{0x0a, 2, 0x1a, 9}}, &pb.StreamRequest{}); err == nil {
		t.Error("what is no message is decoded")
	}
}

// C5 holds for all forwarded reads of a message together.
func TestAMessageOfReadsWithTooManyElementsIsNotDecoded(t *testing.T) {
	for elements, wantErr := range map[int]bool{maxElements/20 - 2: false, maxElements / 20: true} {
		sent := &peerv1.ForwardReadsRequest{}
		for range 20 {
			sent.Reads = append(sent.Reads, &peerv1.ForwardRead{Keys: make([][]byte, elements)})
		}
		raw, err := proto.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		m := &peerv1.ForwardReadsRequest{}
		err = newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, m)
		if (err != nil) != wantErr || wantErr == (len(m.Reads) == 20) {
			t.Errorf("20 reads of %d keys: %d reads, %v", elements, len(m.Reads), err)
		}
	}
}

func TestTooManyOperationsNeverReachTheKV(t *testing.T) {
	f := start(t)
	kv := pb.NewKVClient(f.conn)
	_, err := kv.Batch(t.Context(), &pb.BatchRequest{Ops: make([]*pb.Op, maxElements+1)})
	if status.Code(err) != codes.Internal || f.kv.batch.Ops != nil {
		t.Errorf("%d operations: %v", len(f.kv.batch.Ops), err)
	}
	ops := make([]*pb.Op, api.MaxBatchOps+1) // the server refuses that, with a code of ours
	for i := range ops {
		ops[i] = &pb.Op{Kind: pb.OpKind_OP_KIND_GET}
	}
	if _, err := kv.Batch(t.Context(), &pb.BatchRequest{Ops: ops}); err != nil || len(f.kv.batch.Ops) != len(ops) {
		t.Errorf("%d operations: %v", len(f.kv.batch.Ops), err)
	}
}
