package resp

import (
	"context"
	"slices"
	"strconv"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Topology says where the shards are; *server.Server implements it.
type Topology interface {
	// Locate says who leads the shard of a slot as this node believes, empty when unknown, and
	// whether this node holds a replica of it.
	Locate(slot api.Slot) (leader api.NodeID, here bool)
	// Map is the cluster map, nil before the cluster has formed.
	Map() *pb.ClusterMap
	// Status is the map, the leaders and who is alive, as this node believes.
	Status() *pb.StatusResponse
	// SlotKeys and SlotCount read one slot.
	SlotKeys(ctx context.Context, ns api.Namespace, slot api.Slot, limit int) ([][]byte, error)
	SlotCount(ctx context.Context, ns api.Namespace, slot api.Slot) (uint64, error)
}

var errCrossSlot = wire.Coded("CROSSSLOT Keys in request don't hash to the same slot", api.CodeCrossShard)

// slotOf collects the slots of keys.
type slotOf struct {
	slot    api.Slot
	any     bool // there was a key
	several bool // there were two slots
}

func (s *slotOf) add(slot api.Slot) {
	s.several = s.several || s.any && slot != s.slot
	s.slot, s.any = slot, true
}

func (s *slotOf) addKeys(cmd *command, args [][]byte) {
	if cmd.firstKey == 0 {
		return
	}
	last := cmd.lastKey
	if last < 0 {
		last += len(args)
	}
	for i := cmd.firstKey; i <= last && i < len(args); i += cmd.keyStep {
		s.add(router.Slot(0, args[i]))
	}
}

// redirect refuses a command that another node should get, if the client knows about slots. When
// nobody knows who leads, or the leader has no listener for such clients, the command is served
// here and forwarded like any other.
func (c *conn) redirect(cmd *command, args [][]byte) error {
	c.stale = false
	if !c.server.opts.Cluster || cmd.firstKey == 0 {
		return nil
	}
	var s slotOf
	s.addKeys(cmd, args)
	switch {
	case s.several:
		return errCrossSlot
	case !s.any:
		return nil
	}
	leader, here := c.server.opts.Topology.Locate(s.slot)
	if leader == "" || leader == c.server.opts.Node {
		return nil
	}
	if c.readOnly && here && !slices.Contains(cmd.flags, "write") {
		c.stale = true
		return nil
	}
	return c.server.moved(s.slot, leader)
}

// moved names the node to ask, nil when it cannot be named.
func (s *Server) moved(slot api.Slot, leader api.NodeID) error {
	for _, n := range s.opts.Topology.Map().GetNodes() {
		if api.NodeID(n.GetId()) == leader && n.GetRespClusterAddress() != "" {
			return wire.Coded(wire.Error("MOVED "+strconv.Itoa(int(slot))+" "+n.GetRespClusterAddress()), api.CodeNotLeader)
		}
	}
	return nil
}

// tooStale is what a stale read ends with when the replica here cannot prove its bound: the
// client is sent to the leader. nil means that the read may be forwarded.
func (c *conn) tooStale(key []byte) error {
	slot := router.Slot(0, key)
	leader, _ := c.server.opts.Topology.Locate(slot)
	if leader == "" || leader == c.server.opts.Node {
		return nil
	}
	return c.server.moved(slot, leader)
}

// onReadOnly answers READONLY and READWRITE.
func onReadOnly(yes bool) func(context.Context, *conn, [][]byte) error {
	return func(_ context.Context, c *conn, _ [][]byte) error {
		if !c.server.opts.Cluster {
			return errNoCluster
		}
		c.readOnly = yes
		c.out.OK()
		return nil
	}
}

// onAsking accepts what a client sends after ASK, which is never answered: a slot is with one
// leader or with another.
func onAsking(_ context.Context, c *conn, _ [][]byte) error {
	if !c.server.opts.Cluster {
		return errNoCluster
	}
	c.out.OK()
	return nil
}

const errNoCluster = wire.Error("ERR This instance has cluster support disabled")
