package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/membership"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
)

// soloExpect makes a node that was told of nobody form a cluster of its own.
const soloExpect = 1

// join brings the node into its cluster and keeps its replicas as the map says until ctx ends.
func (n *node) join(ctx context.Context) error {
	cluster, err := pledge.Form(ctx, pledge.FormOptions{
		Store:    n.pledges,
		Shards:   n.config.Shards,
		Members:  n.seenMembers,
		Caller:   pledge.NewCaller(n.pool),
		Entropy:  n.entropy,
		Logger:   n.logger,
		Progress: func(reason string) { n.waiting.Store(&reason) },
	})
	n.waiting.Store(nil)
	var lost *pledge.LostPledgeError
	switch {
	case errors.As(err, &lost):
		return &RefusedError{err}
	case errors.Is(err, api.ErrStoreFailed):
		return &StorageError{err}
	case err != nil:
		return fmt.Errorf("find the cluster: %w", err)
	}
	n.logger.Info("cluster known", "cluster", cluster.ID, "founders", len(cluster.Founders), "founder", cluster.FoundedBy(n.id))
	n.cluster.Store(&cluster.ID)
	err = n.members.Update(func(i *membership.Info) { i.Stage, i.Cluster = membership.Joined, cluster.ID })
	if err != nil {
		return fmt.Errorf("gossip the cluster: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	defer n.mapReplica.masters.Wait()
	if err := n.openMeta(ctx, cluster); err != nil {
		return err
	}
	group.Go(func() error { return n.register(ctx) })
	group.Go(func() error { return n.endWhenLeftBehind(ctx) })
	group.Go(func() error { return n.followMap(ctx) })
	group.Go(func() error { n.replicas.rebuildLoop(ctx, rebuildInterval); return nil })
	return group.Wait()
}

// expect is what pledge.Form is to wait for.
func (n *node) expect() int {
	if n.config.BootstrapExpect == 0 && len(n.config.Join) == 0 {
		return soloExpect
	}
	return n.config.BootstrapExpect
}

func (n *node) seenMembers() []pledge.Seen {
	var seen []pledge.Seen
	for _, m := range n.members.Members() {
		seen = append(seen, pledge.Seen{Node: m.Node, Expect: m.Expect, Joined: m.Stage == membership.Joined})
	}
	return seen
}

const (
	registerLimit = 10 * time.Second // of one attempt, then it is logged and tried again
	registerPause = 500 * time.Millisecond
)

// register puts this node and its addresses into the map. Without a majority of the meta group
// it takes as long as that lasts; only a refusal ends it early.
func (n *node) register(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, registerLimit)
		err := n.follower.Register(attempt, n.description())
		cancel()
		var known *meta.KnownNameError
		var removed *meta.RemovedNodeError
		var version *meta.VersionError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &known), errors.As(err, &removed), errors.As(err, &version):
			return &RefusedError{err}
		case ctx.Err() != nil:
			return ctx.Err()
		}
		n.logger.Warn("not registered yet: is a majority of the meta group up?", "error", err)
		pause := time.NewTimer(registerPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

func (n *node) description() *pb.Node {
	return &pb.Node{
		Id: string(n.id), Name: n.config.Name, Zone: n.config.Zone,
		GrpcAddress:   n.advertise(n.config.GRPCPort),
		RespAddress:   n.advertise(n.config.RESPPort),
		HttpAddress:   n.advertise(n.config.HTTPPort),
		GossipAddress: n.members.GossipAddress(),

		RespClusterAddress: n.respClusterAddress(),
	}
}

// followMap opens and removes replicas as maps arrive, until ctx ends or something cannot be opened. It does
// not wait for register: after a restart of all nodes the map of last time is what the groups,
// the meta group among them, find their majority by.
func (n *node) followMap(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	cancel := n.follower.Subscribe(func(m *pb.ClusterMap) {
		n.onMap(m)
		select {
		case changed <- struct{}{}:
		default: // a wake-up is waiting already; the reader takes the newest map
		}
	})
	defer cancel()
	var again <-chan time.Time // to what is pending
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		case <-again:
		case <-n.replicas.born:
		}
		m := n.follower.Map()
		n.followDuties(m)
		waiting, err := n.followMapReplica(ctx, m)
		if err == nil {
			var pending bool
			pending, err = n.replicas.follow(ctx, m)
			waiting = waiting || pending
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return &DataDirError{n.config.DataDir, err}
		}
		again = nil
		if waiting {
			again = time.After(pendingPause)
		}
	}
}

// followDuties keeps leaderships away from the nodes that are being emptied, this one too.
func (n *node) followDuties(m *pb.ClusterMap) {
	var avoided []api.NodeID
	own := false
	for _, other := range m.GetNodes() {
		if other.State != pb.NodeState_NODE_STATE_ACTIVE {
			avoided = append(avoided, api.NodeID(other.Id))
			own = own || other.Id == string(n.id)
		}
	}
	n.host.Avoid(avoided)
	n.duties.setDrained(own)
}

// onMap tells everyone who needs the map. It is quick and does no I/O.
func (n *node) onMap(m *pb.ClusterMap) {
	// A map whose shards are not placed yet routes nothing.
	if len(m.Shards) > 0 {
		if _, err := n.router.Update(m); err != nil {
			n.logger.Error("cluster map refused", "revision", m.Revision, "error", err)
		}
	}
	known := make([]membership.Known, 0, len(m.Nodes))
	for _, other := range m.Nodes {
		known = append(known, membership.Known{
			Node: api.NodeID(other.Id), GRPCAddress: other.GrpcAddress, GossipAddress: other.GossipAddress,
		})
	}
	n.members.Learn(known)
}

// endWhenLeftBehind ends a node whose cluster goes on without it. Such a node may be one of a majority of those that were given up, and
// they would serve what they have until they hear of the recovery.
func (n *node) endWhenLeftBehind(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case into := <-n.leftBehind:
		return &RefusedError{fmt.Errorf("cluster %s was recovered as %s, and lightning-cli recover apply was not run on this node's data directory: "+
			"run it with the plan of that recovery if the node is one of the plan, otherwise start with an empty directory", n.clusterID(), into)}
	}
}

// watchGossip hints the groups at nodes that are gone, and looks for recoveries of this cluster. It ends when membership closes.
func (n *node) watchGossip() {
	for e := range n.members.Events() {
		if e.Member.Stage == membership.Joined && pledge.Supersedes(e.Member.Cluster, n.clusterID()) {
			select {
			case n.leftBehind <- e.Member.Cluster:
			default: // it is known
			}
		}
		n.logger.Info("gossip", "event", string(e.Kind), "member", e.Member.Node, "name", e.Member.Name)
		if e.Member.Node == n.id {
			continue
		}
		switch e.Kind {
		case membership.NodeDied, membership.NodeLeft, membership.NodeRestarted:
			n.host.Suspect(e.Member.Node)
		}
	}
}
