package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

const planFormat = 1

// skip is how far numbers jump that a lost map or a lost log may have given out.
const skip = 1000

// Plan says what becomes of a cluster.
type Plan struct {
	Format int `json:"format"`
	// ID changes with everything else in the plan.
	ID         string `json:"id"`
	OldCluster string `json:"old_cluster"`
	NewCluster string `json:"new_cluster"`
	// Nodes are those that are left, and Lost those that never come back.
	Nodes []Node `json:"nodes"`
	Lost  []Node `json:"lost"`
	// Groups are the map, which is group 0, and all shards.
	Groups []Group `json:"groups"`
	// State is the new state of the map, a peerv1.MetaState.
	State []byte `json:"state"`
}

// Node is a node of the plan.
type Node struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// View is the digest of what was collected there.
	View string `json:"view,omitempty"`
}

// Group says what becomes of a group.
type Group struct {
	Group uint64 `json:"group"`
	// Node is where the replica is that the group goes on with. From is its incarnation, 0 for one that begins empty.
	Node string `json:"node"`
	From uint64 `json:"from"`
	// Incarnation and Term are those with which it goes on.
	Incarnation uint64 `json:"incarnation"`
	Term        uint64 `json:"term"`
	// Last and LastTerm are those of the last entry of the replica. The group goes on at the next one.
	Last     uint64 `json:"last"`
	LastTerm uint64 `json:"last_term"`
	Epoch    uint64 `json:"epoch"`
	// Voters is how many voters the group had, Left how many of them are left. More than half: nothing is lost.
	Voters int `json:"voters"`
	Left   int `json:"left"`
	// Notes say why replicas that are left were not taken.
	Notes []string `json:"notes,omitempty"`
}

// Lossless reports whether everything that was acknowledged is there.
func (g *Group) Lossless() bool { return g.From != 0 && g.Left > g.Voters/2 }

// Options are the settings of Make.
type Options struct {
	// AcceptEmpty are shards that may begin empty, because nothing of them is left.
	AcceptEmpty []uint64
}

// LostShardsError says which shards have no replica left.
type LostShardsError struct {
	Shards []uint64
	// Notes say why replicas that are left cannot be taken.
	Notes []string
}

// Error implements error.
func (e *LostShardsError) Error() string {
	text := fmt.Sprintf("nothing is left of the shards %s: restore the cluster from a backup, or give up all that they held with --accept-empty %s",
		numbers(e.Shards), numbers(e.Shards))
	return strings.Join(append([]string{text}, e.Notes...), "; ")
}

func numbers(all []uint64) string {
	text := make([]string, len(all))
	for i, n := range all {
		text[i] = fmt.Sprint(n)
	}
	return strings.Join(text, ",")
}

// planner makes one plan.
type planner struct {
	views []*View
	plan  *Plan
	o     Options
	old   *peerv1.MetaState
	known map[string]*pb.Node // the nodes of the map
	load  map[string]int      // replicas that a node was given
	next  map[uint64]meta.Recovered
	lost  LostShardsError
}

// Make makes a plan of what was collected on all nodes that are left.
func Make(views []*View, o Options) (*Plan, error) {
	views = slices.Clone(views)
	slices.SortFunc(views, func(a, b *View) int { return strings.Compare(a.Node, b.Node) })
	if err := sameCluster(views); err != nil {
		return nil, err
	}
	p := &planner{views: views, o: o, load: map[string]int{}, known: map[string]*pb.Node{}, next: map[uint64]meta.Recovered{}}
	p.plan = &Plan{Format: planFormat, OldCluster: views[0].Cluster}
	mark, err := digest(struct {
		Views []*View
		Empty []uint64
	}{views, o.AcceptEmpty})
	if err != nil {
		return nil, err
	}
	p.plan.NewCluster = pledge.NextID(p.plan.OldCluster, mark[:8])
	if err := p.chooseMap(); err != nil {
		return nil, err
	}
	if err := p.chooseShards(); err != nil {
		return nil, err
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return p.plan, p.plan.seal()
}

func sameCluster(views []*View) error {
	if len(views) == 0 {
		return errors.New("nothing was collected")
	}
	for i, v := range views[1:] {
		switch {
		case v.Node == views[i].Node:
			return fmt.Errorf("node %s was collected twice", v.Node)
		case v.Cluster != views[0].Cluster:
			return fmt.Errorf("node %s belongs to cluster %s, node %s to cluster %s", v.Node, v.Cluster, views[0].Node, views[0].Cluster)
		}
	}
	return nil
}

// seal gives the plan its id.
func (p *Plan) seal() error {
	id, err := p.identify()
	p.ID = id
	return err
}

func (p *Plan) identify() (string, error) {
	unsealed := *p
	unsealed.ID = ""
	sum, err := digest(&unsealed)
	if err != nil {
		return "", err
	}
	return sum[:16], nil
}

// ParsePlan reads a plan as JSON, and refuses one that was changed.
func ParsePlan(data []byte) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	if p.Format != planFormat {
		return nil, fmt.Errorf("the plan has format %d, this version reads format %d", p.Format, planFormat)
	}
	if id, err := p.identify(); err != nil || id != p.ID {
		return nil, errors.Join(errors.New("the plan is not as it was made: make another one with recover plan"), err)
	}
	return &p, nil
}

// candidate is a replica that is left.
type candidate struct {
	node string
	*Replica
}

// candidates are the replicas of a group that can be taken, the best first: that with the most of the log (RC1).
// Between equal ones a voter, then the node that has fewer. What is left and cannot be taken goes to notes.
func (p *planner) candidates(group uint64) (usable []candidate, notes []string) {
	for _, v := range p.views {
		for i := range v.Replicas {
			c := candidate{v.Node, &v.Replicas[i]}
			switch {
			case c.Group != group:
			case c.Trouble != "":
				notes = append(notes, fmt.Sprintf("the replica of %s on node %s cannot be used: %s", groupName(group), v.Node, c.Trouble))
			case p.old != nil && p.known[v.Node] == nil:
				notes = append(notes, fmt.Sprintf("the replica of %s on node %s cannot be used: the map does not have the node", groupName(group), v.Node))
			case c.Last > 0 && len(c.Members) > 0:
				usable = append(usable, c)
			}
		}
	}
	slices.SortStableFunc(usable, func(a, b candidate) int {
		return compare(b.Term, a.Term, b.Last, a.Last, votes(b), votes(a), uint64(p.load[a.node]), uint64(p.load[b.node]))
	})
	return usable, notes
}

// votes is 1 for a replica that is a voter by its own account.
func votes(c candidate) uint64 {
	if slices.Contains(c.Members, Member{Node: c.node, Incarnation: c.Incarnation, Voter: true}) {
		return 1
	}
	return 0
}

func groupName(group uint64) string {
	if group == uint64(raft.MetaGroup) {
		return "the cluster map"
	}
	return fmt.Sprintf("shard %d", group)
}

// choose makes the group go on with the best replica, false if none is left.
func (p *planner) choose(group uint64, lastIncarnation uint64) (Group, candidate, bool) {
	usable, notes := p.candidates(group)
	g := Group{Group: group, Notes: notes, Incarnation: lastIncarnation}
	for _, v := range p.views {
		for _, r := range v.Replicas {
			if r.Group == group {
				g.Incarnation, g.Term = max(g.Incarnation, r.Incarnation), max(g.Term, r.CurrentTerm, r.Term)
			}
		}
	}
	g.Incarnation, g.Term = g.Incarnation+skip, g.Term+1
	if len(usable) == 0 {
		return g, candidate{}, false
	}
	best := usable[0]
	g.Node, g.From, g.Last, g.LastTerm, g.Epoch = best.node, best.Incarnation, best.Last, best.Term, best.Epoch
	for _, m := range best.Members {
		if !m.Voter {
			continue
		}
		g.Voters++
		if slices.ContainsFunc(usable, func(c candidate) bool { return c.node == m.Node && c.Incarnation == m.Incarnation }) {
			g.Left++
		}
	}
	p.load[g.Node]++
	return g, best, true
}
