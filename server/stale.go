package server

import (
	"context"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// freshness says which answers a read may get. The zero value asks for linearizable ones.
type freshness struct {
	bound time.Duration // an answer by proof may be so old
	here  bool          // by the replica on this node or not at all
}

// mayBeStale is false for a bound that the wire cannot carry.
func (f freshness) mayBeStale() bool { return f.bound >= time.Millisecond || f.here }

// staleTryTimeout is how long one replica may take to answer by proof. A replica refuses by
// itself within a second; what takes longer is the network.
const staleTryTimeout = 1500 * time.Millisecond

// routeRead runs do on the leader of the shard that owns slot or, if the read allows it, on a
// replica that can prove to be fresh enough. When none can, the leader answers after all. ctx has
// a deadline.
func (s *Server) routeRead(ctx context.Context, slot api.Slot, fresh freshness, do func(context.Context, place) error) error {
	if !fresh.mayBeStale() || ctx.Err() != nil { // route says what an ended context means
		return s.route(ctx, slot, read, do)
	}
	done, err := s.readByProof(ctx, slot, fresh, do)
	if done || fresh.here {
		return err
	}
	return s.route(ctx, slot, read, do)
}

// readByProof asks one replica after the other. done says that err is the answer; if not, err
// says why nobody could answer.
func (s *Server) readByProof(ctx context.Context, slot api.Slot, fresh freshness, do func(context.Context, place) error) (done bool, err error) {
	table := s.opts.Router.Table()
	if table == nil {
		return true, errNoMap()
	}
	refusal := api.Errorf(api.CodeTooStale, "this node holds no replica of the slot")
	for _, at := range s.provers(table.ShardOf(slot), fresh) {
		err := s.tryProof(ctx, at, do)
		if err == nil {
			return true, nil
		}
		if (&attempts{}).next(err) == stepStop {
			return true, err
		}
		refusal = api.Errorf(api.CodeTooStale, "no replica of shard %d proved to be at most %s old: %w", at.shard.ID, fresh.bound, err)
		if ctx.Err() != nil {
			break
		}
	}
	return false, refusal
}

// ended is for who does not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// atOnce reads the keys, which live on one shard, from the replica here if that has a proof and
// need not wait for anything. So most reads cost no context and no timer.
func (m *multiGet) atOnce() ([]api.Item, bool) {
	table := m.server.opts.Router.Table()
	if table == nil {
		return nil, false
	}
	at := table.ShardOf(router.Slot(m.ns, m.keys[0]))
	local, ok := m.server.opts.Local(at.ID)
	if !ok {
		return nil, false
	}
	items, err := local.GetStale(ended, at.Epoch, m.ns, m.keys, m.server.staleness(at.ID, m.fresh.bound))
	return items, err == nil
}

func (s *Server) tryProof(ctx context.Context, at place, do func(context.Context, place) error) error {
	ctx, cancel := context.WithTimeout(ctx, staleTryTimeout)
	defer cancel()
	return do(ctx, at)
}

// provers are the places to ask for an answer by proof: this node, then the other replicas from
// a random one on, so that they share the work.
func (s *Server) provers(sh router.Shard, fresh freshness) []place {
	var places []place
	if local, ok := s.opts.Local(sh.ID); ok {
		places = append(places, place{shard: sh, node: s.opts.Node, local: local, bound: fresh.bound})
	}
	if fresh.here {
		return places
	}
	first := s.jitter.index(len(sh.Replicas))
	for i := range sh.Replicas {
		if node := sh.Replicas[(first+i)%len(sh.Replicas)].Node; node != s.opts.Node {
			places = append(places, place{shard: sh, node: node, bound: fresh.bound})
		}
	}
	return places
}

// readKeys reads from a replica on this node, by proof if bound is not 0.
func (s *Server) readKeys(sh Shard, id api.ShardID, epoch api.Epoch, ns api.Namespace, bound time.Duration) readKeys {
	return func(ctx context.Context, keys [][]byte) ([]api.Item, error) {
		if bound == 0 {
			return sh.Get(ctx, epoch, ns, keys)
		}
		return sh.GetStale(ctx, epoch, ns, keys, s.staleness(id, bound))
	}
}

func (s *Server) scanLocal(ctx context.Context, sh Shard, id api.ShardID, epoch api.Epoch, r api.Range, bound time.Duration) (shard.Page, error) {
	if bound == 0 {
		return sh.Scan(ctx, epoch, r)
	}
	return sh.ScanStale(ctx, epoch, r, s.staleness(id, bound))
}

// caughtUpBound is how old the proof may be that a replica has caught up: of a replica that has just started there is none before.
const caughtUpBound = time.Minute

// CaughtUp fails unless the replica of a shard on this node holds what was acknowledged at some time since the node started.
func (s *Server) CaughtUp(ctx context.Context, id api.ShardID) error {
	table := s.opts.Router.Table()
	if table == nil {
		return errNoMap()
	}
	sh, ok := table.Shard(id)
	local, here := s.opts.Local(id)
	if !ok || !here {
		return api.Errorf(api.CodeUnavailable, "shard %d is not open here", id)
	}
	_, err := local.ScanStale(ctx, sh.Epoch, api.Range{Limit: 1, KeysOnly: true}, s.staleness(id, caughtUpBound))
	return err
}

// staleness tells a replica how to get a proof from another node. That is a question of this
// node's own: what is forwarded here is still not forwarded (V3).
func (s *Server) staleness(id api.ShardID, bound time.Duration) shard.Staleness {
	return shard.Staleness{Bound: bound, Ask: func(ctx context.Context, leader api.NodeID) (shard.Proof, error) {
		var res *peerv1.ForwardReadIndexResponse
		err := s.forward(ctx, leader, "readindex", read, func(ctx context.Context, client peerv1.ForwardClient) (err error) {
			res, err = client.ReadIndex(ctx, &peerv1.ForwardReadIndexRequest{ShardId: uint64(id)})
			return err
		})
		if err != nil {
			return shard.Proof{}, err
		}
		return shard.Proof{Index: api.Index(res.Index), Time: api.Version(res.Time)}, nil
	}}
}

// millis is a bound for the wire. It is never sent longer than it is.
func millis(bound time.Duration) uint64 { return uint64(bound.Milliseconds()) }

// duration is a bound from the wire. What does not fit is a bound that everything is within.
func duration(millis uint64) time.Duration {
	const longest = uint64(1<<63-1) / uint64(time.Millisecond)
	return time.Duration(min(millis, longest)) * time.Millisecond
}
