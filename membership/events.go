package membership

import (
	"cmp"
	"slices"

	"github.com/lightning-db/lightning/api"
)

// eventLoop compares the view with what it told before, and tells the difference. So its queue is
// one event per node at most, whatever happens while the reader is busy (G3).
func (m *Membership) eventLoop() {
	defer close(m.events)
	told := map[api.NodeID]Member{}
	for {
		changed := m.view.changed()
		for _, e := range differences(told, m.view.all()) {
			select {
			case m.events <- e:
			case <-m.stopped.Done():
				return
			}
			told[e.Member.Node] = e.Member
		}
		select {
		case <-changed:
		case <-m.stopped.Done():
			return
		}
	}
}

// differences lists what happened between two views, sorted by node. Nodes that are forgotten while
// gone are dropped from told.
func differences(told, now map[api.NodeID]Member) []Event {
	var events []Event
	for node, m := range now {
		before, known := told[node]
		if kind := difference(before, known, m); kind != "" {
			events = append(events, Event{Kind: kind, Member: m})
		}
	}
	for node := range told {
		if _, ok := now[node]; !ok {
			delete(told, node)
		}
	}
	slices.SortFunc(events, func(a, b Event) int { return cmp.Compare(a.Member.Node, b.Member.Node) })
	return events
}

func difference(before Member, known bool, now Member) Kind {
	wasAlive := known && before.Liveness == Alive
	switch {
	case known && before == now:
		return ""
	case now.Liveness == Dead && (wasAlive || !known):
		return NodeDied
	case now.Liveness == Left && (wasAlive || !known):
		return NodeLeft
	case now.Liveness != Alive:
		return ""
	case !wasAlive:
		return NodeJoined
	case before.Boot != now.Boot:
		return NodeRestarted
	}
	return NodeUpdated
}
