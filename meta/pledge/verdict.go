package pledge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/api"
)

// verdict is what one round of questions concludes. At most one of the first four is set.
type verdict struct {
	form    bool         // every node of our pledge holds it
	join    *Cluster     // a cluster formed without us
	take    *Pledge      // another's pledge names us
	propose []api.NodeID // we are the one who has to propose these
	lost    *Cluster     // we founded this cluster and have lost the pledge

	// reason says for people why nothing happened; blocked, that it will not pass by itself.
	reason  string
	blocked bool
}

func wait(format string, args ...any) verdict { return verdict{reason: fmt.Sprintf(format, args...)} }

func block(format string, args ...any) verdict {
	return verdict{reason: fmt.Sprintf(format, args...), blocked: true}
}

// judgePledged decides for a node that holds p, from what the other nodes of p answered.
func judgePledged(self api.NodeID, p Pledge, answers map[api.NodeID]State) verdict {
	var silent, empty []api.NodeID
	var other *State
	var elsewhere *Cluster
	for _, node := range p.Nodes {
		if node == self {
			continue
		}
		s, answered := answers[node]
		switch {
		case !answered:
			silent = append(silent, node)
		case s.Cluster != nil && s.Cluster.ID == p.ClusterID:
			return verdict{form: true} // by B3 that node has seen all hold p
		case s.Cluster != nil:
			elsewhere = s.Cluster
		case s.Pledge == nil:
			empty = append(empty, node)
		case !s.Pledge.Equal(p):
			other = &s
		}
	}
	switch {
	case elsewhere != nil && elsewhere.FoundedBy(self):
		return verdict{lost: elsewhere}
	case elsewhere != nil:
		return verdict{join: elsewhere} // its member will never hold p (B1), so p never forms (B3)
	case other != nil:
		return block("node %s (%s) has pledged to form a cluster with %s, this node with %s: neither can form. "+
			"Stop these nodes, delete their data directories, which hold no data yet, and start exactly %d again",
			other.Node, other.Name, list(other.Pledge.Nodes), list(p.Nodes), len(p.Nodes))
	case len(silent) > 0:
		return wait("pledged to form cluster %s with %d nodes, no answer from %s. A node that lost its data directory will not "+
			"come back: then delete the data directories of the others, which hold no data yet, and start again", p.ClusterID, len(p.Nodes), list(silent))
	case len(empty) > 0:
		return wait("pledged to form cluster %s with %d nodes, %s did not pledge: check their --bootstrap-expect", p.ClusterID, len(p.Nodes), list(empty))
	}
	return verdict{form: true}
}

// judgeEmpty decides for a node that holds nothing and expects a cluster of expect nodes (0: an
// existing one), from what gossip shows and what those who were asked answered.
func judgeEmpty(self api.NodeID, expect int, seen []Seen, answers map[api.NodeID]State) verdict {
	if v, found := judgeClusters(self, answers); found {
		return v
	}
	if expect == 0 {
		return wait("looking for a member of a cluster to join; %d nodes seen", len(seen))
	}
	if v, found := judgePledges(self, expect, answers); found {
		return v
	}
	candidates := candidates(self, expect, seen)
	switch {
	case len(candidates) > expect:
		return block("%d nodes are there and each expects a cluster of exactly %d, so none is formed: stop the surplus, or correct --bootstrap-expect: %s",
			len(candidates), expect, list(candidates))
	case len(candidates) < expect:
		return wait("%d of %d nodes seen that expect a cluster of %d", len(candidates), expect, expect)
	}
	for _, node := range candidates {
		s, answered := answers[node]
		switch {
		case node == self:
		case !answered:
			return wait("%d of %d nodes seen, no answer from %s", expect, expect, node)
		case s.Pledge != nil:
			return block("node %s (%s) has pledged to form a cluster with other nodes, %s: this node is not one of them", node, s.Name, list(s.Pledge.Nodes))
		case s.Expect != expect:
			return wait("node %s (%s) expects %d nodes, this one %d", node, s.Name, s.Expect, expect)
		}
	}
	if candidates[0] != self {
		return wait("%d of %d nodes seen, waiting for node %s to propose", expect, expect, candidates[0])
	}
	return verdict{propose: candidates}
}

// judgeClusters looks for a cluster that has formed.
func judgeClusters(self api.NodeID, answers map[api.NodeID]State) (verdict, bool) {
	var found *Cluster
	for _, s := range sorted(answers) {
		switch {
		case s.Cluster == nil:
		case s.Cluster.FoundedBy(self):
			return verdict{lost: s.Cluster}, true
		case found == nil:
			found = s.Cluster
		case found.ID != s.Cluster.ID:
			return block("members of two clusters are there, %s and %s: keep them apart with --cluster-name", found.ID, s.Cluster.ID), true
		}
	}
	return verdict{join: found}, found != nil
}

// judgePledges looks for a pledge that names self.
func judgePledges(self api.NodeID, expect int, answers map[api.NodeID]State) (verdict, bool) {
	for _, s := range sorted(answers) {
		if s.Pledge == nil || !s.Pledge.Names(self) || s.Pledge.Validate() != nil {
			continue
		}
		if len(s.Pledge.Nodes) != expect {
			return block("node %s (%s) wants to form a cluster of %d nodes with this one, which expects %d: correct --bootstrap-expect",
				s.Node, s.Name, len(s.Pledge.Nodes), expect), true
		}
		return verdict{take: s.Pledge}, true
	}
	return verdict{}, false
}

// candidates are the nodes that expect a cluster of the same size, self among them, sorted.
func candidates(self api.NodeID, expect int, seen []Seen) []api.NodeID {
	nodes := []api.NodeID{self}
	for _, s := range seen {
		if s.Expect == expect && !s.Joined {
			nodes = append(nodes, s.Node)
		}
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// sorted lists answers by node, so that equal answers give equal verdicts.
func sorted(answers map[api.NodeID]State) []State {
	states := make([]State, 0, len(answers))
	for _, s := range answers {
		states = append(states, s)
	}
	slices.SortFunc(states, func(a, b State) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return states
}

func list(nodes []api.NodeID) string { return strings.Join(texts(nodes), ", ") }
