package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

// pieceBytes is about what a value takes in memory that goes piece by piece, in either direction: the
// pieces of the shard, and a chunk or two.
const pieceBytes = 1 << 20

// uploading is one Upload under way. It holds no more than what it has counted.
type uploading struct {
	server   *Server
	stream   grpc.ClientStreamingServer[pb.UploadRequest, pb.BatchResponse]
	patience *patience
	batch    api.Batch
	uploaded []uint32
	held     int // bytes in the server's ledger
}

// Upload implements pb.KVServer.
func (k kvService) Upload(stream grpc.ClientStreamingServer[pb.UploadRequest, pb.BatchResponse]) error {
	limit := k.server.opts.TransferSilence
	silent := api.Errorf(api.CodeExpired, "nothing was executed: the client sent nothing for %s in the middle of an upload", limit)
	ctx, cancel := context.WithTimeout(stream.Context(), k.server.opts.UploadTime)
	defer cancel()
	u := &uploading{server: k.server, stream: stream, patience: &patience{limit: limit, why: silent, waiting: &k.server.readers, over: ctx}}
	defer func() { k.server.transfers.give(u.held) }()
	if err := u.begin(); err != nil {
		return err
	}
	res, err := u.run(ctx, k.kv)
	if err != nil {
		return err
	}
	return stream.SendAndClose(resultToProto(res))
}

// begin takes the header.
func (u *uploading) begin() error {
	if err := u.hold(pieceBytes); err != nil {
		return err
	}
	m, err := u.receive()
	if err != nil {
		return err
	}
	if err := u.hold(proto.Size(m)); err != nil {
		return err
	}
	header := m.GetHeader()
	if header == nil {
		return api.Errorf(api.CodeInvalid, "the first message of an upload has no header")
	}
	b := header.GetBatch()
	if u.batch, err = batchFromProto(b.GetNamespace(), b.GetRequestId(), b.GetIndependent(), b.GetOps()); err != nil {
		return err
	}
	u.uploaded = header.GetUploaded()
	if len(u.uploaded) == 0 {
		return api.Errorf(api.CodeInvalid, "an upload needs at least one value that is uploaded")
	}
	next := 0
	for _, at := range u.uploaded {
		if int(at) < next || int(at) >= len(u.batch.Ops) {
			return api.Errorf(api.CodeInvalid, "the places of the uploaded values are not those of operations, or not ascending")
		}
		next = int(at) + 1
		if op := &u.batch.Ops[at]; op.Kind != api.OpPut || len(op.Value) > 0 {
			return api.Errorf(api.CodeInvalid, "operation %d is to be a put without a value, because that is uploaded", at)
		}
	}
	return nil
}

// run applies the batch.
func (u *uploading) run(ctx context.Context, kv KV) (api.Result, error) {
	op := &u.batch.Ops[0]
	if len(u.batch.Ops) == 1 && !op.ReturnPrevious && !u.batch.Independent {
		put := server.Put{
			Namespace: u.batch.Namespace, Key: op.Key, Expiry: op.Expiry, Condition: op.Condition, Request: u.batch.Request,
		}
		res, err := kv.PutValue(ctx, put, u.value())
		if err == nil && op.IsBlind() && len(res.Ops) == 1 {
			res.Ops[0] = api.OpResult{Applied: res.Ops[0].Applied} // nobody asks what was there
		}
		return res, err
	}
	for _, at := range u.uploaded {
		value, err := u.gather()
		if err != nil {
			return api.Result{}, err
		}
		u.batch.Ops[at].Value = value
	}
	return kv.Apply(ctx, u.batch)
}

// value brings the next value piece by piece, and io.EOF behind it.
func (u *uploading) value() func() ([]byte, error) {
	var chunks api.ChunkReceiver
	return func() ([]byte, error) {
		if chunks.Done() {
			return nil, io.EOF
		}
		m, err := u.receive()
		if err != nil {
			return nil, err
		}
		if refusal := chunks.Take(m.GetChunk()); refusal != nil {
			return nil, refusal
		}
		if data := m.GetChunk().GetData(); len(data) > 0 {
			return data, nil
		}
		return nil, io.EOF
	}
}

// gather brings the next value as a whole.
func (u *uploading) gather() (value []byte, err error) {
	for next := u.value(); ; {
		piece, err := next()
		if errors.Is(err, io.EOF) {
			return value, nil
		}
		if err != nil {
			return nil, err
		}
		if most := u.server.opts.MaxTransferBytes; u.held+len(piece) > most {
			return nil, api.Errorf(api.CodeTooLarge, "a batch of several values is in memory whole, for which this node has %d bytes; put them one by one, or give the node a higher --memory-limit", most)
		}
		if err := u.hold(len(piece)); err != nil {
			return nil, err
		}
		if u.held > api.MaxBatchBytes+pieceBytes {
			return nil, api.Errorf(api.CodeTooLarge, "the values of a batch are over the limit of %d bytes", api.MaxBatchBytes)
		}
		value = append(value, piece...)
	}
}

// hold counts bytes until the upload ends.
func (u *uploading) hold(bytes int) error {
	if !u.server.transfers.take(bytes, false) {
		return errTransfers()
	}
	u.held += bytes
	return nil
}

func errTransfers() error {
	return api.Errorf(api.CodeOverloaded, "long values on their way hold all memory for them")
}

// receive waits for the next message. The end of the stream is an error.
func (u *uploading) receive() (*pb.UploadRequest, error) {
	m, err := await(u.patience, u.stream.Recv)
	if errors.Is(err, io.EOF) {
		return nil, api.Errorf(api.CodeInvalid, "nothing was executed: the upload ended before the last chunk of its values")
	}
	return m, err
}
