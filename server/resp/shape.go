package resp

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// shape is the cluster map as Redis Cluster would tell it. There, a node has slots or is the
// replica of one that has; here, nodes lead some shards and hold replicas of others. In CLUSTER
// SLOTS and SHARDS, which are about slots, each is told as it is; in CLUSTER NODES a node that
// leads anything is a master, and one that leads nothing the replica of a leader.
type shape struct {
	revision      uint64
	slotsAssigned int
	slotsFailed   int // of shards without a live majority
	nodes         []*redisNode
	ranges        []slotRange // in the order of the slots

	self *redisNode // nil while this node is not in the map
}

// redisNode is a node that has a listener for cluster clients.
type redisNode struct {
	node   api.NodeID
	id     string // 40 hex digits, as Redis' are
	host   string
	port   int
	failed bool
	leads  []slotRange
	master *redisNode // of a node that leads nothing
}

// slotRange is one shard: its slots s with start <= s < end, and its nodes, the leader first.
type slotRange struct {
	shard      uint64
	start, end uint32
	nodes      []*redisNode
}

// redisID makes an id of Redis' form. It is not a secret and not a checksum: SHA-1 has the length.
func redisID(name string) string {
	sum := sha1.Sum([]byte(name))
	return hex.EncodeToString(sum[:])
}

// shape is empty before the cluster has formed.
func (s *Server) shape() *shape { return newShape(s.opts.Topology.Status(), s.opts.Node) }

func newShape(status *pb.StatusResponse, self api.NodeID) *shape {
	m := status.GetMap()
	sh := &shape{revision: m.GetRevision()}
	down := make(map[string]bool)
	for _, n := range status.GetNodes() {
		down[n.GetNodeId()] = n.GetLiveness() == "dead" || n.GetLiveness() == "left"
	}
	byID := make(map[string]*redisNode)
	for _, n := range m.GetNodes() {
		host, portText, err := net.SplitHostPort(n.GetRespClusterAddress())
		if err != nil {
			continue // no such listener
		}
		port, err := strconv.Atoi(portText)
		if err != nil {
			continue
		}
		r := &redisNode{node: api.NodeID(n.GetId()), id: redisID(n.GetId()), host: host, port: port, failed: down[n.GetId()]}
		byID[n.GetId()] = r
		sh.nodes = append(sh.nodes, r)
		if r.node == self {
			sh.self = r
		}
	}
	leaders := make(map[uint64]string)
	for _, l := range status.GetLeaders() {
		leaders[l.GetShardId()] = l.GetNodeId()
	}
	for _, shard := range m.GetShards() {
		sh.addShard(shard, byID, byID[leaders[shard.GetId()]], down)
	}
	slices.SortFunc(sh.ranges, func(a, b slotRange) int { return int(a.start) - int(b.start) })
	for _, r := range sh.ranges {
		r.nodes[0].leads = append(r.nodes[0].leads, r)
	}
	sh.findMasters()
	return sh
}

// addShard adds a shard's range. When nobody is known to lead it, or the leader has no listener,
// a replica or this node stands in, because every node forwards.
func (sh *shape) addShard(shard *pb.Shard, byID map[string]*redisNode, leader *redisNode, down map[string]bool) {
	count := int(shard.GetEndSlot() - shard.GetStartSlot())
	sh.slotsAssigned += count
	r := slotRange{shard: shard.GetId(), start: shard.GetStartSlot(), end: shard.GetEndSlot()}
	up := 0
	for _, replica := range shard.GetReplicas() {
		if !down[replica.GetNodeId()] {
			up++
		}
		if n := byID[replica.GetNodeId()]; n != nil && n != leader {
			r.nodes = append(r.nodes, n)
		}
	}
	if up <= len(shard.GetReplicas())/2 {
		sh.slotsFailed += count
	}
	if leader == nil {
		leader = sh.standIn(&r)
	}
	if leader == nil {
		return
	}
	r.nodes = slices.Insert(r.nodes, 0, leader)
	sh.ranges = append(sh.ranges, r)
}

// standIn takes the node that is shown in a leader's place out of the range's replicas.
func (sh *shape) standIn(r *slotRange) *redisNode {
	if i := slices.Index(r.nodes, sh.self); sh.self != nil && i >= 0 {
		r.nodes = slices.Delete(r.nodes, i, i+1)
		return sh.self
	}
	for i, n := range r.nodes {
		if !n.failed {
			r.nodes = slices.Delete(r.nodes, i, i+1)
			return n
		}
	}
	return sh.self
}

// findMasters gives each node that leads nothing a master: the leader of the first shard that it
// holds a replica of.
func (sh *shape) findMasters() {
	for _, r := range sh.ranges {
		for _, n := range r.nodes[1:] {
			if len(n.leads) == 0 && n.master == nil {
				n.master = r.nodes[0]
			}
		}
	}
}

func (sh *shape) leaders() int {
	count := 0
	for _, n := range sh.nodes {
		if len(n.leads) > 0 {
			count++
		}
	}
	return count
}

func (sh *shape) nodeWithID(id []byte) *redisNode {
	for _, n := range sh.nodes {
		if n.id == string(id) {
			return n
		}
	}
	return nil
}

// shardIDOf is the id of the first shard that a node leads or, failing that, holds.
func (sh *shape) shardIDOf(node api.NodeID) string {
	for _, leads := range []bool{true, false} {
		for _, r := range sh.ranges {
			if i := slices.IndexFunc(r.nodes, func(n *redisNode) bool { return n.node == node }); i == 0 || i > 0 && !leads {
				return redisID("shard " + strconv.FormatUint(r.shard, 10))
			}
		}
	}
	return redisID("no shard")
}

// line is a node's line in CLUSTER NODES: id, address with the port of the bus, flags, master,
// ping sent, pong received, epoch, link, slots. The bus does not exist; its port is Redis' usual
// one, because clients look for the @.
func (sh *shape) line(n *redisNode) string {
	var flags []string
	if n == sh.self {
		flags = append(flags, "myself")
	}
	master, link := "-", "connected"
	if n.master != nil {
		flags = append(flags, "slave")
		master = n.master.id
	} else {
		flags = append(flags, "master")
	}
	if n.failed {
		flags, link = append(flags, "fail"), "disconnected"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s:%d@%d %s %s 0 0 %d %s", n.id, n.host, n.port, busPort(n.port), strings.Join(flags, ","), master, sh.revision, link)
	for _, r := range joined(n.leads) {
		if r.end-r.start == 1 {
			fmt.Fprintf(&b, " %d", r.start)
		} else {
			fmt.Fprintf(&b, " %d-%d", r.start, r.end-1)
		}
	}
	return b.String()
}

// busPort is where Redis has its bus, 10000 above, kept within what a port can be.
func busPort(port int) int {
	if port+10_000 > 65_535 {
		return port
	}
	return port + 10_000
}

// joined makes one range of those that follow each other. ranges are in the order of the slots.
func joined(ranges []slotRange) []slotRange {
	var list []slotRange
	for _, r := range ranges {
		if n := len(list); n > 0 && list[n-1].end == r.start {
			list[n-1].end = r.end
		} else {
			list = append(list, r)
		}
	}
	return list
}

// ledShards are all ranges of one leader.
type ledShards struct {
	ranges []slotRange
	nodes  []*redisNode // the leader first
}

// byLeader joins the ranges that have the same leader.
func (sh *shape) byLeader() []*ledShards {
	var list []*ledShards
	byNode := make(map[*redisNode]*ledShards)
	for _, r := range sh.ranges {
		s := byNode[r.nodes[0]]
		if s == nil {
			s = &ledShards{}
			byNode[r.nodes[0]] = s
			list = append(list, s)
		}
		s.ranges = append(s.ranges, r)
		for _, n := range r.nodes {
			if !slices.Contains(s.nodes, n) {
				s.nodes = append(s.nodes, n)
			}
		}
	}
	for _, s := range list {
		s.ranges = joined(s.ranges)
	}
	return list
}
