package client

import (
	"time"

	"github.com/lightning-db/lightning/api"
)

// choose picks the connection for the next attempt: the shard's leader if it is known and has
// not failed this call, else any node, which forwards.
func (c *Client) choose(op *operation) (*connection, error) {
	if op.pinned != nil {
		return op.pinned, nil
	}
	if op.routed && !op.stale && op.failed == nil {
		if conn, ok := c.leaderOf(op.slot); ok {
			return conn, nil
		}
	}
	var best *connection
	var bestRank rank
	now := c.opts.Clock.Now()
	var fastest time.Duration
	spread := op.routed && op.stale
	if spread {
		fastest = c.fastest(op.slot, now)
	}
	for i, address := range c.candidates(op) {
		conn, err := c.conns.to(address)
		if err != nil {
			return nil, err
		}
		r := rank{failed: op.failed[address], suspected: conn.suspected(), place: i}
		r.slow = spread && conn.pace.slower(fastest, now)
		if best == nil || r.before(bestRank) {
			best, bestRank = conn, r
		}
	}
	return best, nil
}

// rank orders the nodes that a call may try.
type rank struct {
	failed    int // attempts of this call that failed there
	suspected bool
	slow      bool
	place     int // in the list of candidates
}

func (r rank) before(other rank) bool {
	switch {
	case r.failed != other.failed:
		return r.failed < other.failed
	case r.suspected != other.suspected:
		return other.suspected
	case r.slow != other.slow:
		return other.slow
	default:
		return r.place < other.place
	}
}

// leaderOf is the common case of choose, without allocation.
func (c *Client) leaderOf(slot api.Slot) (*connection, bool) {
	address := c.leaderAddress(slot)
	if address == "" {
		return nil, false
	}
	conn, err := c.conns.to(address)
	if err != nil || conn.suspected() {
		return nil, false
	}
	return conn, true
}

// leaderAddress is empty when nobody is said to lead; then the hints are asked for again.
func (c *Client) leaderAddress(slot api.Slot) string {
	t := c.router.Table()
	if t == nil {
		return ""
	}
	leader, ok := c.router.Leader(t.ShardOf(slot).ID)
	if !ok {
		c.follower.refresh()
		return ""
	}
	return c.addressOf(leader)
}

// addressOf is empty for a node that the map does not have.
func (c *Client) addressOf(node api.NodeID) string {
	if t := c.router.Table(); t != nil {
		if n, ok := t.Node(node); ok {
			return n.GetGrpcAddress()
		}
	}
	return ""
}

// replicaAddresses are where the replicas of a slot's shard are, in map order.
func (c *Client) replicaAddresses(slot api.Slot) []string {
	t := c.router.Table()
	if t == nil {
		return nil
	}
	var addresses []string
	for _, r := range t.ShardOf(slot).Replicas {
		if a := c.addressOf(r.Node); a != "" {
			addresses = append(addresses, a)
		}
	}
	return addresses
}

// fastest is what the quickest replica of a slot's shard took for stale reads lately, 0 when none
// has been measured.
func (c *Client) fastest(slot api.Slot, now time.Time) time.Duration {
	var fastest time.Duration
	for _, address := range c.replicaAddresses(slot) {
		conn, err := c.conns.to(address)
		if err != nil {
			return 0 // the client is being closed
		}
		if d := conn.pace.recent(now); d > 0 && (fastest == 0 || d < fastest) {
			fastest = d
		}
	}
	return fastest
}

// candidates lists every known address in order of preference: the leader, or for a stale read
// all replicas; the nodes of the map; the seeds. Where any will do, the first one moves on with
// every call. An address may be listed twice.
func (c *Client) candidates(op *operation) []string {
	if op.turn == 0 {
		op.turn = c.follower.nextTurn()
	}
	seeds := rotate(c.opts.Addresses, op.turn)
	t := c.router.Table()
	if t == nil {
		return seeds
	}
	var addresses []string
	if op.seedsFirst {
		addresses = append(addresses, seeds...)
	}
	switch {
	case op.routed && op.stale:
		addresses = append(addresses, rotate(c.replicaAddresses(op.slot), op.turn)...)
	case op.routed:
		if leader := c.leaderAddress(op.slot); leader != "" {
			addresses = append(addresses, leader)
		}
	}
	addresses = append(addresses, rotate(nodeAddresses(t), op.turn)...)
	return append(addresses, seeds...)
}
