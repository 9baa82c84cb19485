package membership

import (
	"cmp"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"

	"github.com/lightning-db/lightning/api"
)

// maxGone bounds the dead and departed nodes that are remembered. Each is a node that a person set
// up, so the bound is for those who wipe nodes in a loop.
const maxGone = 1024

// processView is one process of a node, as memberlist knows it under a name of its own.
type processView struct {
	Member
	name string
}

// view collects what memberlist tells. Memberlist calls it under its own lock, so nothing here may
// call memberlist or wait.
type view struct {
	// mu is a leaf.
	mu struct {
		sync.Mutex
		alive   map[string]processView // by memberlist name
		gone    map[api.NodeID]Member  // last seen of nodes without a living process
		order   []api.NodeID           // of gone, oldest first
		known   map[api.NodeID]Known   // as the cluster map says
		changed chan struct{}          // closed at the next change
	}
}

func newView() *view {
	v := &view{}
	v.mu.alive = make(map[string]processView)
	v.mu.gone = make(map[api.NodeID]Member)
	v.mu.changed = make(chan struct{})
	return v
}

// NotifyJoin implements memberlist.EventDelegate.
func (v *view) NotifyJoin(n *memberlist.Node) { v.NotifyUpdate(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (v *view) NotifyUpdate(n *memberlist.Node) {
	info, boot, err := decodeInfo(n.Meta)
	if err != nil {
		return // not a node of ours, or of a version to come: there is nothing to know about it
	}
	p := processView{name: n.Name, Member: Member{Info: info, GossipAddress: n.Address(), Boot: boot, Liveness: Alive}}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.alive[p.name] = p
	v.forgetLocked(info.Node)
	v.changedLocked()
}

// NotifyLeave implements memberlist.EventDelegate. Memberlist does not say whether the process died
// or left; the process itself did, in its last description.
func (v *view) NotifyLeave(n *memberlist.Node) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p, ok := v.mu.alive[n.Name]
	if !ok {
		return
	}
	delete(v.mu.alive, n.Name)
	if _, another := v.newestLocked(p.Node); !another {
		p.Liveness = Dead
		if p.Restarting {
			p.Liveness = Left
		}
		v.forgetLocked(p.Node)
		v.mu.gone[p.Node] = p.Member
		v.mu.order = append(v.mu.order, p.Node)
		if len(v.mu.order) > maxGone {
			v.forgetLocked(v.mu.order[0])
		}
	}
	v.changedLocked()
}

// forgetLocked drops node from those that are gone.
func (v *view) forgetLocked(node api.NodeID) {
	if _, ok := v.mu.gone[node]; ok {
		delete(v.mu.gone, node)
		v.mu.order = slices.DeleteFunc(v.mu.order, func(n api.NodeID) bool { return n == node })
	}
}

func (v *view) changedLocked() {
	close(v.mu.changed)
	v.mu.changed = make(chan struct{})
}

// newestLocked finds the newest living process of node (G2). A process that announced its restart
// counts as older than one that did not.
func (v *view) newestLocked(node api.NodeID) (Member, bool) {
	var newest processView
	found := false
	for _, p := range v.mu.alive {
		if p.Node == node && (!found || compareProcesses(p, newest) > 0) {
			newest, found = p, true
		}
	}
	return newest.Member, found
}

func compareProcesses(a, b processView) int {
	if a.Restarting != b.Restarting {
		if a.Restarting {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Boot, b.Boot), cmp.Compare(a.name, b.name))
}

// process is what one living process told.
func (v *view) process(name string) Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.alive[name].Member
}

// changed returns a channel that is closed at the next change.
func (v *view) changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mu.changed
}

// members lists the newest living process of each node, sorted by id.
func (v *view) members() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	newest := make(map[api.NodeID]processView, len(v.mu.alive))
	for _, p := range v.mu.alive {
		if q, ok := newest[p.Node]; !ok || compareProcesses(p, q) > 0 {
			newest[p.Node] = p
		}
	}
	members := make([]Member, 0, len(newest))
	for _, p := range newest {
		members = append(members, p.Member)
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
	return members
}

// all is members and the nodes that are gone, by id.
func (v *view) all() map[api.NodeID]Member {
	members := v.members()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := make(map[api.NodeID]Member, len(members)+len(v.mu.gone))
	for node, m := range v.mu.gone {
		all[node] = m
	}
	for _, m := range members {
		all[m.Node] = m
	}
	return all
}

// member is the last that was heard of node.
func (v *view) member(node api.NodeID) Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m, ok := v.newestLocked(node); ok {
		return m
	}
	if m, ok := v.mu.gone[node]; ok {
		return m
	}
	return Member{Info: Info{Node: node}, Liveness: Unknown}
}

func (v *view) address(node api.NodeID) (string, bool) {
	if m := v.member(node); m.GRPCAddress != "" {
		return m.GRPCAddress, true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.mu.known[node]
	return k.GRPCAddress, k.GRPCAddress != ""
}

func (v *view) learn(known []Known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mu.known = make(map[api.NodeID]Known, len(known))
	for _, k := range known {
		v.mu.known[k.Node] = k
	}
	v.changedLocked()
}

// missing lists the gossip addresses of known nodes that no living process has, and how many nodes
// are known.
func (v *view) missing() (addresses []string, known int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for node, k := range v.mu.known {
		if _, ok := v.newestLocked(node); !ok && k.GossipAddress != "" {
			addresses = append(addresses, k.GossipAddress)
		}
	}
	slices.Sort(addresses)
	return addresses, len(v.mu.known)
}
