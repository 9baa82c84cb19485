package rpc

import (
	"bytes"
	"context"
	"iter"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/server"
)

// KV runs operations; *server.Server implements it.
type KV interface {
	Read(ctx context.Context, q server.Query) ([]api.Item, error)
	Apply(ctx context.Context, b api.Batch) (api.Result, error)
	// ScanShort brings no value in parts that has more bytes than longest.
	ScanShort(ctx context.Context, r api.Range, longest uint64) iter.Seq2[api.Item, error]
	// PutValue and OpenValue write and read a value piece by piece.
	PutValue(ctx context.Context, p server.Put, next func() ([]byte, error)) (api.Result, error)
	OpenValue(ctx context.Context, q server.Query) (*server.Value, error)
	// Run runs the requests of a turn, and Home is the shard that all keys of one live on, if one does.
	Run(ctx context.Context, t *server.Turn)
	Home(q *server.Request) (api.ShardID, bool)
}

// kvService is lightning.v1.KV.
type kvService struct {
	pb.UnimplementedKVServer
	server *Server
	kv     KV
}

// Get implements pb.KVServer.
func (k kvService) Get(ctx context.Context, req *pb.GetRequest) (*pb.GetResponse, error) {
	items, err := k.read(ctx, req.Namespace, [][]byte{req.Key}, req.MaxStalenessMs)
	if err != nil {
		return nil, err
	}
	return getToProto(items[0]), nil
}

// MultiGet implements pb.KVServer.
func (k kvService) MultiGet(ctx context.Context, req *pb.MultiGetRequest) (*pb.MultiGetResponse, error) {
	items, err := k.read(ctx, req.Namespace, req.Keys, req.MaxStalenessMs)
	if err != nil {
		return nil, err
	}
	res := &pb.MultiGetResponse{Items: make([]*pb.GetResponse, len(items))}
	for i := range items {
		res.Items[i] = getToProto(items[i])
	}
	return res, nil
}

func (k kvService) read(ctx context.Context, ns uint32, keys [][]byte, maxStalenessMillis uint32) ([]api.Item, error) {
	items, err := k.kv.Read(ctx, server.Query{Namespace: api.Namespace(ns), Keys: keys, MaxStaleness: staleness(maxStalenessMillis)})
	if err == nil && len(items) != len(keys) {
		err = api.Errorf(api.CodeInternal, "%d items for %d keys", len(items), len(keys))
	}
	for i := range items {
		if len(items[i].Value) > api.MaxMessageValueBytes {
			return nil, errLongValue(len(items[i].Value))
		}
	}
	return items, err
}

func errLongValue(bytes int) error {
	return api.Errorf(api.CodeTooLarge, "the value has %d bytes, over the limit of %d for an answer in one message: read it by Download", bytes, api.MaxMessageValueBytes)
}

// Put implements pb.KVServer.
func (k kvService) Put(ctx context.Context, req *pb.PutRequest) (*pb.BatchResponse, error) {
	return k.applyOne(ctx, req.Namespace, req.RequestId, &pb.Op{
		Kind: pb.OpKind_OP_KIND_PUT, Key: req.Key, Value: req.Value, ExpiryMode: req.ExpiryMode, ExpiryMs: req.ExpiryMs,
		Condition: req.Condition, ConditionVersion: req.ConditionVersion, ReturnPrevious: req.ReturnPrevious,
	})
}

// Delete implements pb.KVServer.
func (k kvService) Delete(ctx context.Context, req *pb.DeleteRequest) (*pb.BatchResponse, error) {
	return k.applyOne(ctx, req.Namespace, req.RequestId, &pb.Op{
		Kind: pb.OpKind_OP_KIND_DELETE, Key: req.Key,
		Condition: req.Condition, ConditionVersion: req.ConditionVersion, ReturnPrevious: req.ReturnPrevious,
	})
}

// Increment implements pb.KVServer.
func (k kvService) Increment(ctx context.Context, req *pb.IncrementRequest) (*pb.BatchResponse, error) {
	return k.applyOne(ctx, req.Namespace, req.RequestId, &pb.Op{
		Kind: pb.OpKind_OP_KIND_INCREMENT, Key: req.Key, Delta: req.Delta, ExpiryMode: pb.ExpiryMode_EXPIRY_MODE_KEEP,
	})
}

// Batch implements pb.KVServer.
func (k kvService) Batch(ctx context.Context, req *pb.BatchRequest) (*pb.BatchResponse, error) {
	return k.apply(ctx, req.Namespace, req.RequestId, req.Independent, req.Ops)
}

func (k kvService) applyOne(ctx context.Context, ns uint32, id *pb.RequestId, op *pb.Op) (*pb.BatchResponse, error) {
	return k.apply(ctx, ns, id, false, []*pb.Op{op})
}

func (k kvService) apply(ctx context.Context, ns uint32, id *pb.RequestId, independent bool, ops []*pb.Op) (*pb.BatchResponse, error) {
	batch, err := batchFromProto(ns, id, independent, ops)
	if err != nil {
		return nil, err
	}
	res, err := k.kv.Apply(ctx, batch)
	if err != nil {
		return nil, err
	}
	return resultToProto(res), nil
}

// Scan implements pb.KVServer. It sends a page when another item comes that has no room in it:
// only then is it known that the range goes on.
func (k kvService) Scan(req *pb.ScanRequest, stream grpc.ServerStreamingServer[pb.ScanResponse]) error {
	r := rangeFromProto(req)
	page := scanPage{stream: stream, reverse: r.Reverse, omitLong: req.OmitLong}
	for item, err := range k.kv.ScanShort(stream.Context(), r, api.MaxMessageValueBytes) {
		var found *pb.Item
		if err == nil {
			found, err = page.item(item)
		}
		if err != nil {
			// What was found before the error is good; the client goes on behind it.
			if sendErr := page.send(true); sendErr != nil {
				return sendErr
			}
			return err
		}
		if !page.hasRoom(found) {
			if err := page.send(true); err != nil {
				return err
			}
		}
		page.add(found)
	}
	return page.send(r.Limit != 0 && page.count == r.Limit)
}

// scanPage gathers the items of the next message of a scan.
type scanPage struct {
	stream   grpc.ServerStreamingServer[pb.ScanResponse]
	reverse  bool
	omitLong bool
	items    []*pb.Item
	bytes    int
	count    uint64 // items of the whole scan
}

// item is an item as the scan answers it, without a value that is too long for a message.
func (p *scanPage) item(item api.Item) (*pb.Item, error) {
	bytes := len(item.Value)
	if item.Stored != nil {
		bytes = int(item.Stored.Bytes)
	}
	if bytes <= api.MaxMessageValueBytes {
		return itemToProto(item), nil
	}
	if !p.omitLong {
		return nil, errLongValue(bytes)
	}
	item.Value = nil
	found := itemToProto(item)
	found.OmittedBytes = uint64(bytes)
	return found, nil
}

func (p *scanPage) add(item *pb.Item) {
	p.items = append(p.items, item)
	p.bytes += len(item.Key) + len(item.Value)
	p.count++
}

// hasRoom reports whether an item fits into the page. One that is longer than a page is one for itself.
func (p *scanPage) hasRoom(item *pb.Item) bool {
	return len(p.items) < api.MaxScanPageItems && (len(p.items) == 0 || p.bytes+len(item.Key)+len(item.Value) <= api.MaxScanPageBytes)
}

// send sends what was gathered, if anything. more says that the range may go on.
func (p *scanPage) send(more bool) error {
	if len(p.items) == 0 {
		return nil
	}
	res := &pb.ScanResponse{Items: p.items}
	if last := p.items[len(p.items)-1].Key; more && p.reverse {
		res.Resume = last // the end of a range is exclusive
	} else if more {
		res.Resume = append(bytes.Clone(last), 0) // the smallest key behind the last
	}
	p.items, p.bytes = nil, 0
	return p.stream.Send(res)
}
