package pledge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
)

// Seen is a node that gossip shows alive.
type Seen struct {
	Node   api.NodeID
	Expect int
	// Joined is set for a node that says it belongs to a cluster.
	Joined bool
}

// FormOptions configures Form.
type FormOptions struct {
	// Store says what this node expects: 1 makes a cluster of this node alone, 0 waits for a
	// cluster to join.
	Store *Store
	// Shards of a new cluster; 0 means one per founder.
	Shards int
	// Members is the view of gossip, with or without this node.
	Members func() []Seen
	Caller  Caller
	Entropy entropy.Source
	Logger  *slog.Logger
	// Progress, if set, is told why the node still waits, once per round.
	Progress func(reason string)
}

// LostPledgeError says that the node founded a cluster and has lost what it wrote then. Its votes
// are lost with it, so it may not take part under this identity.
type LostPledgeError struct {
	Node    api.NodeID
	Cluster string
}

// Error says what happened and what to do.
func (e *LostPledgeError) Error() string {
	return fmt.Sprintf("node %s is a founder of cluster %s but its data directory does not say so: a part of it was lost or replaced. "+
		"Restore the data directory, or start with an empty one under a new --name", e.Node, e.Cluster)
}

const (
	// roundPause separates rounds: short against what people notice, long against a round trip.
	roundPause = 200 * time.Millisecond
	// callTimeout bounds one question; a node that is slower is asked again in the next round.
	callTimeout = time.Second
	// repeatReason is how often an unchanged reason is logged.
	repeatReason = 30 * time.Second
	// maxAskedMembers bounds the members asked per round by a node that wants to join: one answer
	// is enough, and each round asks others.
	maxAskedMembers = 3
)

// Form returns the cluster that this node belongs to, at once if it already belongs to one (B4),
// else when one has formed or was found. What it returns is durable. It ends with ctx, when the
// disk fails, or with a *LostPledgeError.
func Form(ctx context.Context, o FormOptions) (Cluster, error) {
	f := former{o: o}
	for {
		c, done, v, err := f.round(ctx)
		if err != nil || done {
			return c, err
		}
		f.report(v)
		if v.take != nil || v.propose != nil {
			continue // pledged just now: the next round tells the others
		}
		select {
		case <-ctx.Done():
			return Cluster{}, fmt.Errorf("form a cluster: %w (%s)", ctx.Err(), v.reason)
		case <-time.After(roundPause):
		}
	}
}

type former struct {
	o      FormOptions
	rounds int

	// What was logged last, and the rounds since.
	logged string
	quiet  time.Duration
}

// round asks once and acts on the answers.
func (f *former) round(ctx context.Context) (Cluster, bool, verdict, error) {
	state, err := f.o.Store.show()
	if err != nil {
		return Cluster{}, false, verdict{}, err
	}
	if state.Cluster != nil {
		return *state.Cluster, true, verdict{}, nil
	}
	seen := f.o.Members()
	answers := f.ask(ctx, f.whom(state, seen), state.Pledge)
	v := judge(state, seen, answers)
	c, done, err := f.act(state, v)
	return c, done, v, err
}

func judge(state State, seen []Seen, answers map[api.NodeID]State) verdict {
	switch {
	case state.Pledge != nil:
		return judgePledged(state.Node, *state.Pledge, answers)
	case state.Expect == 1:
		return verdict{propose: []api.NodeID{state.Node}}
	default:
		return judgeEmpty(state.Node, state.Expect, seen, answers)
	}
}

// whom lists the nodes to ask: the others of the pledge, or those that expect the same and a few
// members.
func (f *former) whom(state State, seen []Seen) []api.NodeID {
	var nodes []api.NodeID
	switch {
	case state.Pledge != nil:
		nodes = slices.Clone(state.Pledge.Nodes)
	case state.Expect == 1:
		return nil
	default:
		var members []api.NodeID
		for _, s := range seen {
			if s.Joined {
				members = append(members, s.Node)
			} else if state.Expect > 0 && s.Expect == state.Expect && len(nodes) < MaxFounders {
				nodes = append(nodes, s.Node)
			}
		}
		for i := range min(len(members), maxAskedMembers) {
			nodes = append(nodes, members[(f.rounds+i)%len(members)])
		}
		f.rounds++
	}
	return slices.DeleteFunc(nodes, func(n api.NodeID) bool { return n == state.Node })
}

// ask puts the question to all nodes at once. Nodes that do not answer are not in the result.
func (f *former) ask(ctx context.Context, nodes []api.NodeID, p *Pledge) map[api.NodeID]State {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		answers = make(map[api.NodeID]State, len(nodes))
	)
	for _, node := range nodes {
		wg.Go(func() {
			s, err := f.call(ctx, node, p)
			if err != nil {
				f.o.Logger.Debug("bootstrap: no answer", "node", node, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answers[node] = s
		})
	}
	wg.Wait()
	return answers
}

func (f *former) call(ctx context.Context, node api.NodeID, p *Pledge) (State, error) {
	if p != nil {
		return f.o.Caller.Pledge(ctx, node, *p)
	}
	return f.o.Caller.Show(ctx, node)
}

// act makes the verdict durable. It judged state, which may have changed meanwhile in one way
// only: another node's proposal arrived. The store settles that (B1) and the next round sees it.
func (f *former) act(state State, v verdict) (Cluster, bool, error) {
	switch {
	case v.lost != nil:
		// Unless it is only this round that did not know of a pledge taken meanwhile.
		if now, err := f.o.Store.show(); err != nil || now.Pledge != state.Pledge {
			return Cluster{}, false, err
		}
		return Cluster{}, false, &LostPledgeError{Node: state.Node, Cluster: v.lost.ID}
	case v.form:
		c, err := f.o.Store.form()
		return c, err == nil, err
	case v.join != nil:
		return f.o.Store.join(*v.join, state.Pledge)
	case v.take != nil:
		_, err := f.o.Store.Pledge(*v.take)
		return Cluster{}, false, err
	case v.propose != nil:
		return Cluster{}, false, f.propose(v.propose)
	}
	return Cluster{}, false, nil
}

// propose pledges this node to a new cluster. The others hear of it in the next round: they must
// never hold a pledge that its proposer could forget.
func (f *former) propose(nodes []api.NodeID) error {
	id, err := f.o.Entropy.UUID()
	if err != nil {
		return fmt.Errorf("make a cluster id: %w", err)
	}
	shards := f.o.Shards
	if shards == 0 {
		shards = len(nodes)
	}
	_, err = f.o.Store.Pledge(Pledge{ClusterID: id, Nodes: nodes, Shards: shards})
	return err
}

func (f *former) report(v verdict) {
	if v.reason == "" {
		return
	}
	if f.o.Progress != nil {
		f.o.Progress(v.reason)
	}
	if f.quiet += roundPause; v.reason == f.logged && f.quiet < repeatReason {
		return
	}
	level := slog.LevelInfo
	switch {
	case v.blocked && v.reason == f.logged:
		level = slog.LevelError
	case v.blocked: // gossip may only be a moment behind, as after a wiped node came back
		level = slog.LevelWarn
	}
	f.logged, f.quiet = v.reason, 0
	f.o.Logger.Log(context.Background(), level, "bootstrap: "+v.reason)
}
