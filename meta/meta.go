package meta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/placement"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

// Options configures Open. All fields but Incarnation are required.
type Options struct {
	// Dir is the directory of the replica's state, meta/ in the data directory.
	Dir     string
	FS      vfs.FS
	Self    api.NodeID
	Cluster pledge.Cluster
	// Incarnation is that of the replica. 0 is the one that the cluster was founded with.
	Incarnation uint64
	Logger      *slog.Logger
}

// HasReplica reports whether the meta group of cluster c was founded with a replica on node.
func HasReplica(c pledge.Cluster, node api.NodeID) bool {
	return slices.Contains(placement.MetaVoters(c.ID, c.Founders), node)
}

// group is what Meta needs of a Raft group.
type group interface {
	// Propose waits until the command is applied and returns its result.
	Propose(ctx context.Context, data []byte) (any, error)
	Leader() (api.NodeID, api.Term)
	IsReadyLeader() bool
	Close() error
}

type raftGroup struct{ *raft.Group }

// Propose implements group.
func (g raftGroup) Propose(ctx context.Context, data []byte) (any, error) {
	result, _, err := g.Group.Propose(data).Wait(ctx)
	return result, err
}

// Meta is this node's replica of the meta group. Safe for concurrent use.
type Meta struct {
	// Set by Open, never written again.
	cluster pledge.Cluster
	machine *Machine
	group   group
	logger  *slog.Logger
	stop    context.CancelFunc
	loops   sync.WaitGroup

	// elected wakes the lead loop; it holds one signal, more say nothing new.
	elected chan struct{}
}

const (
	// leadPause separates the attempts of a leader to make the cluster's first map.
	leadPause = 500 * time.Millisecond
	// proposeTimeout bounds one proposal of the lead loop; it is made again after that.
	proposeTimeout = 5 * time.Second
	// repeatMissing is how often the log says which founders have not registered.
	repeatMissing = 30 * time.Second
)

// Open opens the state in o.Dir and starts the group. A replica that the cluster was not founded with is empty until the
// leader makes it a member.
func Open(host *raft.Host, o Options) (*Meta, error) {
	machine, err := OpenMachine(o.FS, o.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the cluster map: %w", err)
	}
	m := newMeta(o, machine)
	var voters []raft.ReplicaID
	for _, node := range placement.MetaVoters(o.Cluster.ID, o.Cluster.Founders) {
		voters = append(voters, raft.ReplicaID{Node: node, Incarnation: firstIncarnation})
	}
	tick, err := encodeCommand(&peerv1.MetaCommand{Op: &peerv1.MetaCommand_Tick{Tick: &peerv1.MetaTick{}}})
	if err != nil {
		return nil, err
	}
	g, err := host.Start(raft.GroupOptions{
		ID:           raft.MetaGroup,
		Incarnation:  max(o.Incarnation, firstIncarnation),
		Voters:       voters,
		StateMachine: machine,
		Tick:         func() []byte { return tick },
		OnLeader:     m.onLeader,
	})
	if err != nil {
		return nil, fmt.Errorf("start the meta group: %w", err)
	}
	m.start(raftGroup{g})
	return m, nil
}

func newMeta(o Options, machine *Machine) *Meta {
	return &Meta{cluster: o.Cluster, machine: machine, logger: o.Logger, elected: make(chan struct{}, 1)}
}

func (m *Meta) start(g group) {
	m.group = g
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.loops.Go(func() { m.leadLoop(ctx) })
}

func (m *Meta) onLeader(api.Term) {
	select {
	case m.elected <- struct{}{}:
	default:
	}
}

// Map is the cluster map as applied here; nil before the cluster is initialised. Callers must not
// change it.
func (m *Meta) Map() *pb.ClusterMap { return m.machine.Map() }

// Wait returns a map whose revision is above after, when one is applied here.
func (m *Meta) Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error) {
	return m.machine.Wait(ctx, after)
}

// Leader is the master as this replica believes; empty when unknown.
func (m *Meta) Leader() api.NodeID {
	leader, _ := m.group.Leader()
	return leader
}

// Close stops the group and writes what was applied, so that the next start has less to replay.
func (m *Meta) Close() error {
	m.stop()
	m.loops.Wait()
	return errors.Join(m.group.Close(), m.machine.Flush())
}

// register puts node into the map or updates its entry. Only the leader can; other replicas answer
// NOT_LEADER with a hint.
func (m *Meta) register(ctx context.Context, cluster string, node *pb.Node) (*peerv1.MetaResult, error) {
	return m.propose(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RegisterNode{
		RegisterNode: &peerv1.MetaRegisterNode{ClusterId: cluster, Node: node},
	}})
}

// registration turns the answer to a registration into an error.
func registration(r *peerv1.MetaResult, cluster string, node *pb.Node) error {
	switch r.GetCode() {
	case peerv1.MetaCode_META_CODE_OK:
		return nil
	case peerv1.MetaCode_META_CODE_KNOWN_NAME:
		return &KnownNameError{Name: node.GetName(), OldID: api.NodeID(r.GetHolderId())}
	case peerv1.MetaCode_META_CODE_REMOVED:
		return &RemovedNodeError{Name: node.GetName(), ID: api.NodeID(node.GetId())}
	case peerv1.MetaCode_META_CODE_TOO_OLD, peerv1.MetaCode_META_CODE_TOO_NEW:
		return &VersionError{Newest: Newest(node), Cluster: r.GetClusterVersion()}
	case peerv1.MetaCode_META_CODE_WRONG_CLUSTER:
		return &WrongClusterError{Cluster: cluster}
	case peerv1.MetaCode_META_CODE_NOT_INITIALISED:
		return api.Errorf(api.CodeNotReady, "the cluster map is not initialised yet")
	case peerv1.MetaCode_META_CODE_FULL:
		return api.Errorf(api.CodeOverloaded, "the cluster has %d nodes, which is the limit", maxNodes)
	}
	return api.Errorf(api.CodeInvalid, "register node %q (%s): %s", node.GetName(), node.GetId(), r.GetCode())
}

func (m *Meta) propose(ctx context.Context, c *peerv1.MetaCommand) (*peerv1.MetaResult, error) {
	if err := everyoneKnows(m.Map(), c); err != nil {
		return nil, err
	}
	data, err := encodeCommand(c)
	if err != nil {
		return nil, err
	}
	result, err := m.group.Propose(ctx, data)
	if err != nil {
		return nil, err
	}
	r, ok := result.(*peerv1.MetaResult)
	if !ok {
		return nil, api.Errorf(api.CodeInternal, "the meta group answered %T", result)
	}
	return r, nil
}

// leadLoop makes the first map whenever this replica leads, and ends when there is one. Its steps
// may be taken by several leaders one after the other, or twice: apply settles that.
func (m *Meta) leadLoop(ctx context.Context) {
	quiet := repeatMissing // since the log said who is missing
	for len(m.Map().GetShards()) == 0 {
		if m.group.IsReadyLeader() {
			missing, err := m.lead(ctx)
			if err != nil && ctx.Err() == nil {
				m.logger.Warn("meta: first map", "error", err)
			}
			if quiet += leadPause; len(missing) > 0 && quiet >= repeatMissing {
				quiet = 0
				m.logger.Info("meta: waiting for founders to register", "missing", missing)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-m.elected:
		case <-m.machine.changed(m.Map()):
		case <-time.After(leadPause):
		}
	}
}

// lead takes the next step towards the first map. It returns the founders that it waits for.
func (m *Meta) lead(ctx context.Context) (missing []api.NodeID, err error) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	current := m.Map()
	if current == nil {
		return nil, m.command(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_Init{Init: &peerv1.MetaInit{
			ClusterId: m.cluster.ID, FounderIds: texts(m.cluster.Founders), ShardCount: uint32(m.cluster.Shards),
		}}})
	}
	var founders []placement.Node
	for _, founder := range m.cluster.Founders {
		at := slices.IndexFunc(current.GetNodes(), func(n *pb.Node) bool { return n.GetId() == string(founder) })
		if at < 0 {
			missing = append(missing, founder)
			continue
		}
		n := current.GetNodes()[at]
		founders = append(founders, placement.Node{ID: founder, Zone: n.GetZone(), Weight: int(n.GetWeight())})
	}
	if len(missing) > 0 {
		return missing, nil
	}
	var create peerv1.MetaCreateShards
	for _, s := range placement.Shards(m.cluster.ID, placement.DefaultReplication, founders, m.cluster.Shards) {
		create.Shards = append(create.Shards, &peerv1.MetaNewShard{StartSlot: s.Arc.Start, EndSlot: s.Arc.End, NodeIds: texts(s.Replicas)})
	}
	return nil, m.command(ctx, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_CreateShards{CreateShards: &create}})
}

// everyoneKnows refuses a command that some node of the map cannot evaluate: its replica of the map would stop (M11).
func everyoneKnows(current *pb.ClusterMap, c *peerv1.MetaCommand) error {
	want := versionOf(c)
	lost := ""
	if op := c.GetSetNodeState(); op.GetState() == pb.NodeState_NODE_STATE_LOST {
		lost = op.GetNodeId() // it never comes back
	}
	for _, n := range current.GetNodes() {
		if max(n.GetCommandVersion(), 1) < want && n.GetState() != pb.NodeState_NODE_STATE_LOST && (lost == "" || n.GetId() != lost) {
			return api.Errorf(api.CodeUnavailable, "node %s runs a version that does not know the command %s: upgrade it first", n.GetName(), opName(c))
		}
	}
	return nil
}

// command proposes what must succeed.
func (m *Meta) command(ctx context.Context, c *peerv1.MetaCommand) error {
	r, err := m.propose(ctx, c)
	if err != nil {
		return err
	}
	if r.GetCode() != peerv1.MetaCode_META_CODE_OK {
		return fmt.Errorf("meta command %s: %s", opName(c), r.GetCode())
	}
	return nil
}

func opName(c *peerv1.MetaCommand) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", c.GetOp()), "*peerv1.MetaCommand_")
}

func texts(nodes []api.NodeID) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = string(n)
	}
	return out
}

// Leads reports whether this replica leads the group and has applied what earlier leaders committed.
func (m *Meta) Leads() bool { return m.group.IsReadyLeader() }

// Change proposes a command. What the map refuses is an error that says why.
func (m *Meta) Change(ctx context.Context, c *peerv1.MetaCommand) (*peerv1.MetaResult, error) {
	r, err := m.propose(ctx, c)
	if err != nil {
		return nil, err
	}
	return r, Refusal(c, r)
}

// Refusal is the error of a command that the map refused, nil for one that it took.
func Refusal(c *peerv1.MetaCommand, r *peerv1.MetaResult) error {
	switch r.GetCode() {
	case peerv1.MetaCode_META_CODE_OK:
		return nil
	case peerv1.MetaCode_META_CODE_CONFLICT:
		return api.Errorf(api.CodeUnavailable, "the cluster map does not allow %s now: another change comes first, or the nodes are not in the state for it", opName(c))
	case peerv1.MetaCode_META_CODE_UNKNOWN:
		return api.Errorf(api.CodeInvalid, "the cluster map does not have the node, shard or replica that %s names", opName(c))
	case peerv1.MetaCode_META_CODE_REMOVED:
		return api.Errorf(api.CodeInvalid, "the node is lost or was taken out of the cluster, for ever")
	case peerv1.MetaCode_META_CODE_FULL:
		return api.Errorf(api.CodeOverloaded, "the cluster map holds as much as it may")
	}
	return api.Errorf(api.CodeInvalid, "the cluster map refuses %s: %s", opName(c), r.GetCode())
}
