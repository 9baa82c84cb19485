package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Scan implements api.KV. Any node merges the shards; when it breaks off, the scan goes on from
// where it was on another. Every page is linearizable at its own time, or as old as
// Range.MaxStaleness allows: the scan as a whole is not one snapshot. A value of more than
// api.MaxMessageValueBytes is a page of its own, read when the scan comes to it. The wait for each page is bounded by the context's deadline, or by
// Options.DefaultTimeout when it has none; the consumer may take its time.
func (c *Client) Scan(ctx context.Context, r api.Range) iter.Seq2[api.Item, error] {
	return func(yield func(api.Item, error) bool) {
		s := &scan{client: c, ctx: ctx, rest: r, limited: r.Limit > 0}
		defer s.breakOff()
		for !s.finished {
			page, err := s.nextPage()
			if err != nil {
				yield(api.Item{}, err)
				return
			}
			for _, found := range page {
				item, err := s.whole(found)
				if err == nil && !item.Found {
					s.replace()
					continue
				}
				if !yield(item, err) || err != nil {
					return
				}
			}
		}
	}
}

// scan is the state of one iteration. Owned by the iterating goroutine.
type scan struct {
	client *Client
	ctx    context.Context // the caller's; an iterator has no other way to get it
	rest   api.Range       // what has not been received yet

	// The stream in progress; all nil when there is none.
	stream pb.KV_ScanClient
	from   *connection
	cancel context.CancelFunc

	finished bool
	limited  bool
}

// whole brings a value that does not fit into a page. It is read by itself, as if it were a page of its
// own: so the key may have another value by then, or be gone.
func (s *scan) whole(item *pb.Item) (api.Item, error) {
	if item.GetOmittedBytes() == 0 {
		return scanItem(item), nil
	}
	return s.client.getLong(s.ctx, s.rest.Namespace, item.GetKey(), staleMillis(s.rest.MaxStaleness))
}

// replace asks for another item in the place of one that is gone.
func (s *scan) replace() {
	if s.limited {
		s.rest.Limit++
		s.finished = false
		s.breakOff() // the node knows another limit
	}
}

// nextPage receives one message. It may be empty: a node says how far it has looked.
func (s *scan) nextPage() ([]*pb.Item, error) {
	op := &operation{name: "scan", pinned: s.from, stale: staleMillis(s.rest.MaxStaleness) > 0}
	var response *pb.ScanResponse
	err := s.client.do(s.ctx, op, func(ctx context.Context, to *connection, _ callOptions) error {
		var err error
		response, err = s.receive(ctx, to)
		if err != nil {
			s.breakOff()
			op.pinned = nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if response == nil {
		s.finished = true
		return nil, nil
	}
	items := response.GetItems()
	if limit := s.rest.Limit; limit > 0 && limit < uint64(len(items)) {
		items = items[:limit]
	}
	return items, s.advance(items, response.GetResume())
}

// receive takes a message from the stream, which it opens if there is none; nil is the end. ctx
// bounds the wait only: the stream outlives it.
func (s *scan) receive(ctx context.Context, to *connection) (*pb.ScanResponse, error) {
	if s.stream == nil {
		if err := s.open(to); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	response, err := s.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return response, err
}

func (s *scan) open(to *connection) error {
	ctx, cancel := context.WithCancel(s.ctx)
	stream, err := to.kv.Scan(ctx, &pb.ScanRequest{
		Namespace: uint32(s.rest.Namespace), Start: s.rest.Start, End: s.rest.End,
		Reverse: s.rest.Reverse, Limit: s.rest.Limit, KeysOnly: s.rest.KeysOnly,
		MaxStalenessMs: staleMillis(s.rest.MaxStaleness), OmitLong: true,
	})
	if err != nil {
		cancel()
		return err
	}
	s.stream, s.from, s.cancel = stream, to, cancel
	return nil
}

// breakOff ends the stream in progress.
func (s *scan) breakOff() {
	if s.stream != nil {
		s.cancel()
		s.stream, s.from, s.cancel = nil, nil, nil
	}
}

// advance takes what was received, and what the node says it has looked through, out of the
// rest. Items out of order or out of range, or a node that would go back, would make a later
// resumption skip or repeat keys, so they end the scan (K4).
func (s *scan) advance(items []*pb.Item, resume []byte) error {
	var previous []byte
	for _, item := range items {
		key := item.GetKey()
		if !within(s.rest, key) || previous != nil && !inOrder(s.rest, previous, key) {
			return api.Errorf(api.CodeInternal, "scan: node %s sent a key out of order or out of range", s.from.address)
		}
		previous = key
	}
	if previous != nil {
		s.moveTo(behind(s.rest.Reverse, previous))
	}
	if s.rest.Limit > 0 {
		s.rest.Limit -= uint64(len(items))
		s.finished = s.rest.Limit == 0
	}
	if len(resume) == 0 || s.finished {
		return nil
	}
	if !s.aheadOrHere(resume) {
		return api.Errorf(api.CodeInternal, "scan: node %s would go back", s.from.address)
	}
	s.moveTo(bytes.Clone(resume))
	return nil
}

// behind is the bound of a range that begins right after key, in the direction of the scan. The
// key becomes the consumer's, who may change it, so it is copied.
func behind(reverse bool, key []byte) []byte {
	if reverse {
		return bytes.Clone(key)
	}
	return append(bytes.Clone(key), 0) // the next possible key
}

func (s *scan) moveTo(bound []byte) {
	if s.rest.Reverse {
		s.rest.End = bound
	} else {
		s.rest.Start = bound
	}
}

func (s *scan) aheadOrHere(resume []byte) bool {
	if s.rest.Reverse {
		return len(s.rest.End) == 0 || bytes.Compare(resume, s.rest.End) <= 0
	}
	return bytes.Compare(resume, s.rest.Start) >= 0
}

func within(r api.Range, key []byte) bool {
	return len(key) > 0 && bytes.Compare(key, r.Start) >= 0 && (len(r.End) == 0 || bytes.Compare(key, r.End) < 0)
}

func inOrder(r api.Range, first, second []byte) bool {
	if r.Reverse {
		return bytes.Compare(first, second) > 0
	}
	return bytes.Compare(first, second) < 0
}
