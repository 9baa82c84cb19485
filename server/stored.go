package server

import (
	"context"
	"errors"
	"hash/crc32"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/shard"
)

// errNotWhole refuses a value that is too long to be answered in one piece.
func errNotWhole(bytes uint64) error {
	return api.Errorf(api.CodeTooLarge, "the value has %d bytes, over the limit of %d for an answer in one piece; read it as bytes, which come piece by piece (HTTP: Accept: application/octet-stream)", bytes, api.MaxWholeBytes)
}

// whole brings the values in parts of the items that are wanted, each of at most api.MaxWholeBytes. ctx has
// a deadline.
func (s *Server) whole(ctx context.Context, items []api.Item, wanted func(i int) bool, bytes *replyBudget) error {
	for i := range items {
		stored := items[i].Stored
		if stored == nil || !wanted(i) {
			continue
		}
		if stored.Bytes > api.MaxWholeBytes {
			return errNotWhole(stored.Bytes)
		}
		if err := bytes.add(int(stored.Bytes)); err != nil {
			return err
		}
		value := make([]byte, 0, stored.Bytes)
		r := storedReader{server: s, stored: stored, end: stored.Count}
		for r.next < r.end {
			piece, err := r.read(ctx)
			if err != nil {
				return err
			}
			value = append(value, piece...)
		}
		items[i].Value, items[i].Stored = value, nil
	}
	return nil
}

// wantsStored reports whether a read wants a value that is in parts.
func (q *Request) wantsStored(items []api.Item) bool {
	for i := range q.Ops {
		if q.Ops[i].ReturnPrevious && items[i].Stored != nil {
			return true
		}
	}
	return false
}

// bring brings the values in parts that a request wants, or names them if they are to be read piece by
// piece. ctx has a deadline.
func (s *Server) bring(ctx context.Context, q *Request, items []api.Item, bytes *replyBudget) error {
	if !q.Piecewise {
		return s.whole(ctx, items, func(i int) bool { return q.Ops[i].ReturnPrevious }, bytes)
	}
	q.Stored = make([]*api.Stored, len(items))
	for i := range items {
		if q.Ops[i].ReturnPrevious {
			q.Stored[i] = items[i].Stored
		}
	}
	return nil
}

// bringScanned brings the value of an item of a scan that is in parts, unless it is too long. If it has been replaced
// since its page was read it is read again, and is not found if it was deleted. The room of reads is given back
// before the item is sent: a client that takes nothing would else keep others from reading.
func (s *Server) bringScanned(ctx context.Context, ns api.Namespace, item *api.Item, longest uint64) error {
	bytes := replyBudget{gate: s.gate}
	defer bytes.release()
	items := []api.Item{*item}
	short := func(i int) bool { return items[i].Stored.Bytes <= longest }
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err := s.whole(ctx, items, short, &bytes)
	if errors.Is(err, api.ErrSnapshotTooOld) {
		m := multiGet{server: s, ns: ns, keys: [][]byte{item.Key}, items: items, bytes: replyBudget{gate: s.gate}}
		defer m.bytes.release()
		if err = m.run(ctx); err == nil {
			items[0].Key = item.Key
			err = s.whole(ctx, items, short, &bytes)
		}
	}
	*item = items[0]
	return err
}

// storedReader reads the parts of a value one after the other, some at a time.
type storedReader struct {
	server *Server
	stored *api.Stored
	next   uint32 // part
	end    uint32
	sum    uint32 // of the parts so far, if they are read from the first on
	partly bool   // not all parts are read, so that the checksum of the whole cannot be compared
}

// read reads the next parts. The last are given only if the value is what its sender meant.
func (r *storedReader) read(ctx context.Context) ([]byte, error) {
	count := min(shard.MaxReadParts, r.end-r.next)
	bytes, err := r.server.readParts(ctx, r.stored, r.next, count)
	if err != nil {
		return nil, err
	}
	for n := range api.PartCount(uint64(len(bytes))) {
		r.sum = api.AddPartSum(r.sum, api.PartSum(api.Part(bytes, n)))
	}
	if r.next += count; r.next == r.end && !r.partly && r.sum != r.stored.Checksum {
		return nil, api.Errorf(api.CodeStoreFailed, "the parts of a value have checksum %08x, expected %08x", r.sum, r.stored.Checksum)
	}
	return bytes, nil
}

// readParts reads some parts of a value from any replica that has them. ctx has a deadline.
func (s *Server) readParts(ctx context.Context, stored *api.Stored, from, count uint32) ([]byte, error) {
	a := attempts{}
	for {
		table := s.opts.Router.Table()
		if table == nil {
			return nil, errNoMap()
		}
		sh, ok := table.Shard(stored.Shard)
		if !ok {
			return nil, api.Errorf(api.CodeSnapshotTooOld, "the shard of the value is not there any more: read it again")
		}
		for _, at := range s.provers(sh, freshness{}) {
			bytes, err := s.tryParts(ctx, at, stored, from, count)
			if err == nil {
				return bytes, nil
			}
			if ctx.Err() != nil {
				a.ended(err)
				return nil, a.timedOut(context.Cause(ctx))
			}
			if a.next(err) == stepStop {
				return nil, err
			}
		}
		if err := s.pause(ctx, &a, stepAgain, table.Revision()); err != nil {
			return nil, a.timedOut(err)
		}
	}
}

func (s *Server) tryParts(ctx context.Context, at place, stored *api.Stored, from, count uint32) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AttemptTimeout)
	defer cancel()
	bytes, err := s.partsAt(ctx, at, stored, from, count)
	if err != nil {
		return nil, err
	}
	start := uint64(from) * api.MaxPartBytes
	if want := min(uint64(count)*api.MaxPartBytes, stored.Bytes-start); uint64(len(bytes)) != want {
		return nil, api.Errorf(api.CodeInternal, "node %s answered %d of %d bytes of a value", at.node, len(bytes), want)
	}
	return bytes, nil
}

func (s *Server) partsAt(ctx context.Context, at place, stored *api.Stored, from, count uint32) ([]byte, error) {
	if at.local != nil {
		return at.local.ReadParts(ctx, stored, from, count)
	}
	var res *peerv1.ForwardPartsResponse
	req := &peerv1.ForwardPartsRequest{ShardId: uint64(at.shard.ID), Parts: storedToPeer(stored), From: from, Count: count}
	err := s.forward(ctx, at.node, "parts", read, func(ctx context.Context, client peerv1.ForwardClient) (err error) {
		res, err = client.Parts(ctx, req)
		return err
	})
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(res.Parts, castagnoli) != res.Checksum {
		return nil, api.Errorf(api.CodeUnavailable, "an answer of node %s was damaged on its way", at.node)
	}
	return res.Parts, nil
}

func storedToPeer(v *api.Stored) *peerv1.ForwardStored {
	if v == nil {
		return nil
	}
	return &peerv1.ForwardStored{Id: uint64(v.ID), First: v.First, Bytes: v.Bytes, Checksum: v.Checksum, At: uint64(v.At)}
}

func storedFromPeer(id api.ShardID, m *peerv1.ForwardStored) *api.Stored {
	if m == nil {
		return nil
	}
	return &api.Stored{Shard: id, At: api.Version(m.At), Parts: api.Parts{
		ID: api.Version(m.Id), First: m.First, Count: api.PartCount(min(m.Bytes, api.MaxValueBytes+1)), Bytes: m.Bytes, Checksum: m.Checksum,
	}}
}

// Parts implements peerv1.ForwardServer.
func (f forwardService) Parts(ctx context.Context, req *peerv1.ForwardPartsRequest) (*peerv1.ForwardPartsResponse, error) {
	ctx, leave, err := f.server.gate.enter(ctx, 0)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	defer leave()
	sh, err := f.replica(req.ShardId)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	stored := storedFromPeer(api.ShardID(req.ShardId), req.Parts)
	if stored == nil {
		return nil, api.ToStatus(api.Errorf(api.CodeInvalid, "forwarded read of the parts of no value"))
	}
	if err := f.server.gate.grow(api.MaxInlineBytes); err != nil {
		return nil, api.ToStatus(err)
	}
	defer f.server.gate.shrink(api.MaxInlineBytes)
	bytes, err := sh.ReadParts(ctx, stored, req.From, req.Count)
	if err != nil {
		return nil, api.ToStatus(err)
	}
	return &peerv1.ForwardPartsResponse{Parts: bytes, Checksum: crc32.Checksum(bytes, castagnoli)}, nil
}
