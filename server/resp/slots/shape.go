package slots

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

// Shape is the cluster map as Redis Cluster would tell it. There, a node has slots or is the
// replica of one that has; here, nodes lead some shards and hold replicas of others. In CLUSTER
// SLOTS and SHARDS, which are about slots, each is told as it is; in CLUSTER NODES a node that
// leads anything is a master, and one that leads nothing the replica of a leader.
type Shape struct {
	Revision      uint64 // 0 before the cluster has formed
	SlotsAssigned int
	SlotsFailed   int // of shards without a live majority
	Nodes         []*Node
	Ranges        []Range // in the order of the slots

	self *Node // nil while this node is not in the map
}

// Node is a node that has a listener for cluster clients.
type Node struct {
	ID     string // 40 hex digits, as Redis' are
	Host   string
	Port   int
	Failed bool
	Leads  []Range
	Master *Node // of a node that leads nothing

	node api.NodeID
}

// Range is one shard: its slots s with Start <= s < End, and its nodes, the leader first.
type Range struct {
	Start, End uint32
	Nodes      []*Node

	shard uint64
}

// RedisID makes an id of Redis' form. It is not a secret and not a checksum: SHA-1 has the length.
func RedisID(name string) string {
	sum := sha1.Sum([]byte(name))
	return hex.EncodeToString(sum[:])
}

// New makes the shape from what a node believes.
func New(status *pb.StatusResponse, self api.NodeID) *Shape {
	m := status.GetMap()
	sh := &Shape{Revision: m.GetRevision()}
	down := make(map[string]bool)
	for _, n := range status.GetNodes() {
		down[n.GetNodeId()] = n.GetLiveness() == "dead" || n.GetLiveness() == "left"
	}
	byID := make(map[string]*Node)
	for _, n := range m.GetNodes() {
		host, portText, err := net.SplitHostPort(n.GetRespClusterAddress())
		if err != nil {
			continue // no such listener
		}
		port, err := strconv.Atoi(portText)
		if err != nil {
			continue
		}
		r := &Node{node: api.NodeID(n.GetId()), ID: RedisID(n.GetId()), Host: host, Port: port, Failed: down[n.GetId()]}
		byID[n.GetId()] = r
		sh.Nodes = append(sh.Nodes, r)
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
	slices.SortFunc(sh.Ranges, func(a, b Range) int { return int(a.Start) - int(b.Start) })
	for _, r := range sh.Ranges {
		r.Nodes[0].Leads = append(r.Nodes[0].Leads, r)
	}
	sh.findMasters()
	return sh
}

// addShard adds a shard's range. When nobody is known to lead it, or the leader has no listener,
// a replica or this node stands in, because every node forwards.
func (sh *Shape) addShard(shard *pb.Shard, byID map[string]*Node, leader *Node, down map[string]bool) {
	count := int(shard.GetEndSlot() - shard.GetStartSlot())
	sh.SlotsAssigned += count
	r := Range{shard: shard.GetId(), Start: shard.GetStartSlot(), End: shard.GetEndSlot()}
	up := 0
	for _, replica := range shard.GetReplicas() {
		if !down[replica.GetNodeId()] {
			up++
		}
		if n := byID[replica.GetNodeId()]; n != nil && n != leader {
			r.Nodes = append(r.Nodes, n)
		}
	}
	if up <= len(shard.GetReplicas())/2 {
		sh.SlotsFailed += count
	}
	if leader == nil {
		leader = sh.standIn(&r)
	}
	if leader == nil {
		return
	}
	r.Nodes = slices.Insert(r.Nodes, 0, leader)
	sh.Ranges = append(sh.Ranges, r)
}

// standIn takes the node that is shown in a leader's place out of the range's replicas.
func (sh *Shape) standIn(r *Range) *Node {
	if i := slices.Index(r.Nodes, sh.self); sh.self != nil && i >= 0 {
		r.Nodes = slices.Delete(r.Nodes, i, i+1)
		return sh.self
	}
	for i, n := range r.Nodes {
		if !n.Failed {
			r.Nodes = slices.Delete(r.Nodes, i, i+1)
			return n
		}
	}
	return sh.self
}

// findMasters gives each node that leads nothing a master: the leader of the first shard that it
// holds a replica of.
func (sh *Shape) findMasters() {
	for _, r := range sh.Ranges {
		for _, n := range r.Nodes[1:] {
			if len(n.Leads) == 0 && n.Master == nil {
				n.Master = r.Nodes[0]
			}
		}
	}
}

// Leaders counts the nodes that lead anything.
func (sh *Shape) Leaders() int {
	count := 0
	for _, n := range sh.Nodes {
		if len(n.Leads) > 0 {
			count++
		}
	}
	return count
}

// NodeWithID finds a node by its ID, nil if there is none.
func (sh *Shape) NodeWithID(id []byte) *Node {
	for _, n := range sh.Nodes {
		if n.ID == string(id) {
			return n
		}
	}
	return nil
}

// ShardIDOf is the id of the first shard that a node leads or, failing that, holds.
func (sh *Shape) ShardIDOf(node api.NodeID) string {
	for _, leads := range []bool{true, false} {
		for _, r := range sh.Ranges {
			if i := slices.IndexFunc(r.Nodes, func(n *Node) bool { return n.node == node }); i == 0 || i > 0 && !leads {
				return RedisID("shard " + strconv.FormatUint(r.shard, 10))
			}
		}
	}
	return RedisID("no shard")
}

// Line is a node's line in CLUSTER NODES: id, address with the port of the bus, flags, master,
// ping sent, pong received, epoch, link, slots. The bus does not exist; its port is Redis' usual
// one, because clients look for the @.
func (sh *Shape) Line(n *Node) string {
	var flags []string
	if n == sh.self {
		flags = append(flags, "myself")
	}
	master, link := "-", "connected"
	if n.Master != nil {
		flags = append(flags, "slave")
		master = n.Master.ID
	} else {
		flags = append(flags, "master")
	}
	if n.Failed {
		flags, link = append(flags, "fail"), "disconnected"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s:%d@%d %s %s 0 0 %d %s", n.ID, n.Host, n.Port, busPort(n.Port), strings.Join(flags, ","), master, sh.Revision, link)
	for _, r := range joined(n.Leads) {
		if r.End-r.Start == 1 {
			fmt.Fprintf(&b, " %d", r.Start)
		} else {
			fmt.Fprintf(&b, " %d-%d", r.Start, r.End-1)
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
func joined(ranges []Range) []Range {
	var list []Range
	for _, r := range ranges {
		if n := len(list); n > 0 && list[n-1].End == r.Start {
			list[n-1].End = r.End
		} else {
			list = append(list, r)
		}
	}
	return list
}

// Group is all ranges of one leader.
type Group struct {
	Ranges []Range
	Nodes  []*Node // the leader first
}

// ByLeader joins the ranges that have the same leader.
func (sh *Shape) ByLeader() []*Group {
	var list []*Group
	byNode := make(map[*Node]*Group)
	for _, r := range sh.Ranges {
		s := byNode[r.Nodes[0]]
		if s == nil {
			s = &Group{}
			byNode[r.Nodes[0]] = s
			list = append(list, s)
		}
		s.Ranges = append(s.Ranges, r)
		for _, n := range r.Nodes {
			if !slices.Contains(s.Nodes, n) {
				s.Nodes = append(s.Nodes, n)
			}
		}
	}
	for _, s := range list {
		s.Ranges = joined(s.Ranges)
	}
	return list
}
