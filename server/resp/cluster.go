package resp

import (
	"context"
	"fmt"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/server/resp/slots"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func clusterCommands() []*command {
	fast := []string{"@fast", "@connection"}
	const notHere = "the cluster places its shards itself"
	look := func(name string, arity int, since, summary string, run func(context.Context, *conn, [][]byte) error) *command {
		return &command{name: name, arity: arity, flags: []string{"stale"}, categories: []string{"@slow"}, since: since, summary: summary, run: inCluster(run), queued: true}
	}
	admin := func(name string, arity int, since, summary string, run func(context.Context, *conn, [][]byte) error) *command {
		return &command{name: name, arity: arity, flags: []string{"admin", "stale"}, categories: []string{"@admin", "@slow", "@dangerous"}, since: since, summary: summary, run: inCluster(run), queued: true}
	}
	change := func(name string, arity int, since string) *command {
		cmd := admin(name, arity, since, "refused", onClusterChange)
		cmd.flags = []string{"admin", "stale", "no_async_loading"}
		cmd.differs = notHere
		return cmd
	}
	reset := change("reset", -2, "3.0.0")
	reset.flags = []string{"admin", "noscript", "stale"}
	cluster := container(command{name: "cluster", arity: -2, categories: []string{"@slow"}, group: "cluster", since: "3.0.0",
		summary: "where the slots are; only on the cluster listener",
		differs: "on the any-node listener it answers that cluster support is disabled, as a single Redis does"},
		look("info", 2, "3.0.0", "the state of the cluster", onClusterInfo),
		look("myid", 2, "3.0.0", "the id of this node", onClusterMyID),
		look("myshardid", 2, "7.2.0", "the id of the first shard that this node leads", onClusterMyShardID),
		look("nodes", 2, "3.0.0", "the nodes and the slots that they lead", onClusterNodes),
		look("slots", 2, "3.0.0", "the ranges of slots and who leads and holds them", onClusterSlots),
		look("shards", 2, "7.0.0", "the leaders, the slots that each leads, and the replicas", onClusterShards),
		look("links", 2, "7.0.0", "empty: nodes are not linked by Redis' bus", onClusterLinks),
		look("keyslot", 3, "3.0.0", "the slot of a key", onClusterKeySlot),
		look("countkeysinslot", 3, "3.0.0", "how many keys a slot has", onClusterCountKeys),
		look("getkeysinslot", 4, "3.0.0", "keys of a slot", onClusterGetKeys),
		admin("count-failure-reports", 3, "3.0.0", "0 for a node that is known", onClusterFailureReports),
		admin("replicas", 3, "5.0.0", "the nodes that CLUSTER NODES shows as replicas of a node", onClusterReplicas),
		admin("slaves", 3, "3.0.0", "as REPLICAS", onClusterReplicas),
		change("addslots", -3, "3.0.0"), change("addslotsrange", -4, "7.0.0"), change("delslots", -3, "3.0.0"), change("delslotsrange", -4, "7.0.0"),
		change("setslot", -4, "3.0.0"), change("flushslots", 2, "3.0.0"), change("failover", -2, "3.0.0"), change("forget", 3, "3.0.0"),
		change("meet", -4, "3.0.0"), change("replicate", 3, "3.0.0"), change("bumpepoch", 2, "3.0.0"), change("set-config-epoch", 3, "3.0.0"),
		change("saveconfig", 2, "3.0.0"), reset,
	)
	help := cluster.subs[len(cluster.subs)-1]
	help.run = inCluster(help.run) // as Redis' does
	return []*command{
		cluster,
		{name: "readonly", arity: 1, flags: []string{"loading", "stale", "fast"}, categories: fast, group: "cluster", since: "3.0.0", run: onReadOnly(true), queued: true,
			summary: "lets the replica on this node answer reads", differs: "such a read is at most --stale-read-bound old, or MOVED"},
		{name: "readwrite", arity: 1, flags: []string{"loading", "stale", "fast"}, categories: fast, group: "cluster", since: "3.0.0", run: onReadOnly(false), queued: true,
			summary: "ends READONLY"},
		{name: "asking", arity: 1, flags: []string{"fast"}, categories: fast, group: "cluster", since: "3.0.0", run: onAsking, queued: true,
			summary: "accepted; ASK is never answered"},
	}
}

// shape is the cluster as this node believes it to be.
func (s *Server) shape() *slots.Shape { return slots.New(s.opts.Topology.Status(), s.opts.Node) }

// inCluster makes a handler of CLUSTER answer as a Redis without cluster support on the any-node
// listener.
func inCluster(run func(context.Context, *conn, [][]byte) error) func(context.Context, *conn, [][]byte) error {
	return func(ctx context.Context, c *conn, args [][]byte) error {
		if !c.server.opts.Cluster {
			return errNoCluster
		}
		return run(ctx, c, args)
	}
}

func onClusterChange(_ context.Context, _ *conn, args [][]byte) error {
	return wire.Error("ERR CLUSTER " + strings.ToUpper(wire.Option(args[1])) + " is not supported: the cluster places its shards itself")
}

func onClusterInfo(_ context.Context, c *conn, _ [][]byte) error {
	s := c.server.shape()
	state, epoch := "ok", s.Revision
	if s.SlotsFailed > 0 || s.Revision == 0 {
		state = "fail"
	}
	var b strings.Builder
	line(&b, "cluster_state", state)
	line(&b, "cluster_slots_assigned", s.SlotsAssigned)
	line(&b, "cluster_slots_ok", s.SlotsAssigned-s.SlotsFailed)
	line(&b, "cluster_slots_pfail", 0)
	line(&b, "cluster_slots_fail", s.SlotsFailed)
	line(&b, "cluster_known_nodes", len(s.Nodes))
	line(&b, "cluster_size", s.Leaders())
	line(&b, "cluster_current_epoch", epoch)
	line(&b, "cluster_my_epoch", epoch)
	line(&b, "cluster_stats_messages_sent", 0)
	line(&b, "cluster_stats_messages_received", 0)
	line(&b, "total_cluster_links_buffer_limit_exceeded", 0)
	c.out.Text(b.String())
	return nil
}

func onClusterMyID(_ context.Context, c *conn, _ [][]byte) error {
	c.out.BulkString(slots.RedisID(string(c.server.opts.Node)))
	return nil
}

func onClusterMyShardID(_ context.Context, c *conn, _ [][]byte) error {
	c.out.BulkString(c.server.shape().ShardIDOf(c.server.opts.Node))
	return nil
}

func onClusterNodes(_ context.Context, c *conn, _ [][]byte) error {
	s := c.server.shape()
	var b strings.Builder
	for _, n := range s.Nodes {
		b.WriteString(s.Line(n))
		b.WriteByte('\n')
	}
	c.out.Text(b.String())
	return nil
}

// onClusterSlots writes one entry for each range: start, end, the leader, the replicas.
func onClusterSlots(_ context.Context, c *conn, _ [][]byte) error {
	s := c.server.shape()
	c.out.Array(len(s.Ranges))
	for _, r := range s.Ranges {
		c.out.Array(2 + len(r.Nodes))
		c.out.Integer(int64(r.Start))
		c.out.Integer(int64(r.End) - 1)
		for _, n := range r.Nodes {
			c.out.Array(4)
			c.out.BulkString(n.Host)
			c.out.Integer(int64(n.Port))
			c.out.BulkString(n.ID)
			c.out.Array(0) // metadata
		}
	}
	return nil
}

// onClusterShards writes one entry for each leader, because clients take the leader for the
// shard's name.
func onClusterShards(_ context.Context, c *conn, _ [][]byte) error {
	shards := c.server.shape().ByLeader()
	c.out.Array(len(shards))
	for _, shard := range shards {
		c.out.Dict(2)
		c.out.BulkString("slots")
		c.out.Array(2 * len(shard.Ranges))
		for _, r := range shard.Ranges {
			c.out.Integer(int64(r.Start))
			c.out.Integer(int64(r.End) - 1)
		}
		c.out.BulkString("nodes")
		c.out.Array(len(shard.Nodes))
		for i, n := range shard.Nodes {
			role := "replica"
			if i == 0 {
				role = "master"
			}
			c.shardNode(n, role)
		}
	}
	return nil
}

func (c *conn) shardNode(n *slots.Node, role string) {
	health := "online"
	if n.Failed {
		health = "failed"
	}
	c.out.Dict(7)
	c.out.BulkString("id")
	c.out.BulkString(n.ID)
	c.out.BulkString("port")
	c.out.Integer(int64(n.Port))
	c.out.BulkString("ip")
	c.out.BulkString(n.Host)
	c.out.BulkString("endpoint")
	c.out.BulkString(n.Host)
	c.out.BulkString("role")
	c.out.BulkString(role)
	c.out.BulkString("replication-offset")
	c.out.Integer(0)
	c.out.BulkString("health")
	c.out.BulkString(health)
}

func onClusterLinks(_ context.Context, c *conn, _ [][]byte) error {
	c.out.Array(0)
	return nil
}

func onClusterKeySlot(_ context.Context, c *conn, args [][]byte) error {
	c.out.Integer(int64(router.Slot(0, args[2])))
	return nil
}

func parseSlot(arg []byte, invalid wire.Error) (api.Slot, error) {
	n, ok := wire.ParseNumber(arg)
	switch {
	case !ok:
		return 0, wire.ErrNotInteger
	case n < 0 || n >= api.SlotCount:
		return 0, invalid
	}
	return api.Slot(n), nil
}

func onClusterCountKeys(ctx context.Context, c *conn, args [][]byte) error {
	slot, err := parseSlot(args[2], "ERR Invalid slot")
	if err != nil {
		return err
	}
	count, err := c.server.opts.Topology.SlotCount(ctx, 0, slot)
	if err != nil {
		return err
	}
	c.out.Integer(int64(count))
	return nil
}

func onClusterGetKeys(ctx context.Context, c *conn, args [][]byte) error {
	const invalid = wire.Error("ERR Invalid slot or number of keys")
	slot, err := parseSlot(args[2], invalid)
	if err != nil {
		return err
	}
	limit, ok := wire.ParseNumber(args[3])
	switch {
	case !ok:
		return wire.ErrNotInteger
	case limit < 0:
		return invalid
	}
	keys, err := c.server.opts.Topology.SlotKeys(ctx, 0, slot, int(min(limit, api.MaxScanPageItems)))
	if err != nil {
		return err
	}
	c.out.Array(len(keys))
	for _, key := range keys {
		c.out.Bulk(key)
	}
	return nil
}

func onClusterFailureReports(_ context.Context, c *conn, args [][]byte) error {
	if c.server.shape().NodeWithID(args[2]) == nil {
		return errUnknownNode(args[2])
	}
	c.out.Integer(0)
	return nil
}

func onClusterReplicas(_ context.Context, c *conn, args [][]byte) error {
	s := c.server.shape()
	n := s.NodeWithID(args[2])
	switch {
	case n == nil:
		return errUnknownNode(args[2])
	case n.Master != nil:
		return wire.Error("ERR The specified node is not a master")
	}
	var lines []string
	for _, other := range s.Nodes {
		if other.Master == n {
			lines = append(lines, s.Line(other))
		}
	}
	c.out.Array(len(lines))
	for _, l := range lines {
		c.out.BulkString(l)
	}
	return nil
}

func errUnknownNode(id []byte) error {
	return wire.Error(fmt.Sprintf("ERR Unknown node %s", wire.Echo(id)))
}
