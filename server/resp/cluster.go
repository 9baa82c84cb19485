package resp

import (
	"context"
	"fmt"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/router"
)

func clusterCommands() []*command {
	fast := []string{"@fast", "@connection"}
	const notHere = "refused: nodes and slots are the cluster's own business here"
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
	return replyError("ERR CLUSTER " + strings.ToUpper(option(args[1])) + " is not supported: the cluster places its shards itself")
}

func onClusterInfo(_ context.Context, c *conn, _ [][]byte) error {
	s := c.server.shape()
	state, epoch := "ok", s.revision
	if s.slotsFailed > 0 || s.revision == 0 {
		state = "fail"
	}
	var b strings.Builder
	line(&b, "cluster_state", state)
	line(&b, "cluster_slots_assigned", s.slotsAssigned)
	line(&b, "cluster_slots_ok", s.slotsAssigned-s.slotsFailed)
	line(&b, "cluster_slots_pfail", 0)
	line(&b, "cluster_slots_fail", s.slotsFailed)
	line(&b, "cluster_known_nodes", len(s.nodes))
	line(&b, "cluster_size", s.leaders())
	line(&b, "cluster_current_epoch", epoch)
	line(&b, "cluster_my_epoch", epoch)
	line(&b, "cluster_stats_messages_sent", 0)
	line(&b, "cluster_stats_messages_received", 0)
	line(&b, "total_cluster_links_buffer_limit_exceeded", 0)
	c.out.text(b.String())
	return nil
}

func onClusterMyID(_ context.Context, c *conn, _ [][]byte) error {
	c.out.bulkString(redisID(string(c.server.opts.Node)))
	return nil
}

func onClusterMyShardID(_ context.Context, c *conn, _ [][]byte) error {
	c.out.bulkString(c.server.shape().shardIDOf(c.server.opts.Node))
	return nil
}

func onClusterNodes(_ context.Context, c *conn, _ [][]byte) error {
	s := c.server.shape()
	var b strings.Builder
	for _, n := range s.nodes {
		b.WriteString(s.line(n))
		b.WriteByte('\n')
	}
	c.out.text(b.String())
	return nil
}

// onClusterSlots writes one entry for each range: start, end, the leader, the replicas.
func onClusterSlots(_ context.Context, c *conn, _ [][]byte) error {
	s := c.server.shape()
	c.out.array(len(s.ranges))
	for _, r := range s.ranges {
		c.out.array(2 + len(r.nodes))
		c.out.integer(int64(r.start))
		c.out.integer(int64(r.end) - 1)
		for _, n := range r.nodes {
			c.out.array(4)
			c.out.bulkString(n.host)
			c.out.integer(int64(n.port))
			c.out.bulkString(n.id)
			c.out.array(0) // metadata
		}
	}
	return nil
}

// onClusterShards writes one entry for each leader, because clients take the leader for the
// shard's name.
func onClusterShards(_ context.Context, c *conn, _ [][]byte) error {
	shards := c.server.shape().byLeader()
	c.out.array(len(shards))
	for _, shard := range shards {
		c.out.dict(2)
		c.out.bulkString("slots")
		c.out.array(2 * len(shard.ranges))
		for _, r := range shard.ranges {
			c.out.integer(int64(r.start))
			c.out.integer(int64(r.end) - 1)
		}
		c.out.bulkString("nodes")
		c.out.array(len(shard.nodes))
		for i, n := range shard.nodes {
			role := "replica"
			if i == 0 {
				role = "master"
			}
			c.shardNode(n, role)
		}
	}
	return nil
}

func (c *conn) shardNode(n *redisNode, role string) {
	health := "online"
	if n.failed {
		health = "failed"
	}
	c.out.dict(7)
	c.out.bulkString("id")
	c.out.bulkString(n.id)
	c.out.bulkString("port")
	c.out.integer(int64(n.port))
	c.out.bulkString("ip")
	c.out.bulkString(n.host)
	c.out.bulkString("endpoint")
	c.out.bulkString(n.host)
	c.out.bulkString("role")
	c.out.bulkString(role)
	c.out.bulkString("replication-offset")
	c.out.integer(0)
	c.out.bulkString("health")
	c.out.bulkString(health)
}

func onClusterLinks(_ context.Context, c *conn, _ [][]byte) error {
	c.out.array(0)
	return nil
}

func onClusterKeySlot(_ context.Context, c *conn, args [][]byte) error {
	c.out.integer(int64(router.Slot(0, args[2])))
	return nil
}

func parseSlot(arg []byte, invalid replyError) (api.Slot, error) {
	n, ok := parseNumber(arg)
	switch {
	case !ok:
		return 0, errNotInteger
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
	c.out.integer(int64(count))
	return nil
}

func onClusterGetKeys(ctx context.Context, c *conn, args [][]byte) error {
	const invalid = replyError("ERR Invalid slot or number of keys")
	slot, err := parseSlot(args[2], invalid)
	if err != nil {
		return err
	}
	limit, ok := parseNumber(args[3])
	switch {
	case !ok:
		return errNotInteger
	case limit < 0:
		return invalid
	}
	keys, err := c.server.opts.Topology.SlotKeys(ctx, 0, slot, int(min(limit, api.MaxScanPageItems)))
	if err != nil {
		return err
	}
	c.out.array(len(keys))
	for _, key := range keys {
		c.out.bulk(key)
	}
	return nil
}

func onClusterFailureReports(_ context.Context, c *conn, args [][]byte) error {
	if c.server.shape().nodeWithID(args[2]) == nil {
		return errUnknownNode(args[2])
	}
	c.out.integer(0)
	return nil
}

func onClusterReplicas(_ context.Context, c *conn, args [][]byte) error {
	s := c.server.shape()
	n := s.nodeWithID(args[2])
	switch {
	case n == nil:
		return errUnknownNode(args[2])
	case n.master != nil:
		return replyError("ERR The specified node is not a master")
	}
	var lines []string
	for _, other := range s.nodes {
		if other.master == n {
			lines = append(lines, s.line(other))
		}
	}
	c.out.array(len(lines))
	for _, l := range lines {
		c.out.bulkString(l)
	}
	return nil
}

func errUnknownNode(id []byte) error {
	return replyError(fmt.Sprintf("ERR Unknown node %s", echo(id)))
}
