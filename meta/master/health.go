package master

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// What a master remembers between its rounds, all of which is lost with it: who does not answer and for how long, who
// learns nothing, and what was refused.

// idlePause is between two looks at a cluster in which nothing is to be done. What the map and gossip say is looked at
// in each round.
const idlePause = 10 * time.Second

// look is when the master looked at the cluster last, and what told it that it need not look again soon.
type look struct {
	at       time.Time
	revision uint64
	alive    []api.NodeID // for gossip
	restless bool         // something was to be done, or to be waited for
}

// due reports whether it is time to look at the cluster. That costs a read of each shard, so that it is seldom done in a
// cluster that is as it should be.
func (m *Master) due() bool {
	current := m.o.Map.Map()
	age := m.o.Clock.Now().Sub(m.looked.at)
	return !m.o.Map.Leads() || m.looked.restless || age < 0 || age >= idlePause ||
		current.GetRevision() != m.looked.revision || !slices.Equal(m.alive(current), m.looked.alive)
}

func (m *Master) alive(current *pb.ClusterMap) (list []api.NodeID) {
	for _, n := range current.GetNodes() {
		if id := api.NodeID(n.Id); m.o.Alive(id) {
			list = append(list, id)
		}
	}
	return list
}

// lookedAt ends a look. It is the last one for a while if nothing is wrong.
func (m *Master) lookedAt(seen *observation, busy bool) {
	m.looked = look{
		at: m.o.Clock.Now(), revision: seen.current.Revision, alive: m.alive(seen.current),
		restless: busy || len(seen.reports) < len(seen.groups()) || len(seen.down)+len(seen.unheard) > 0,
	}
}

// isSilent reports whether a node is silent for gossip and for every leader (MA5).
func (m *Master) isSilent(node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mu.seen == nil {
		return false
	}
	_, silent := m.mu.seen.down[node]
	return silent
}

// answers reports whether a leader has heard a member lately.
func answers(member *peerv1.GroupMember) bool {
	return member != nil && member.ContactMillis >= 0 && member.ContactMillis <= silentAfter.Milliseconds()
}

// listenToReplicas notes which voters do not answer although their nodes live: what a node held may be gone, or not open.
// A new leader has heard nobody, so that only what lasts counts. Without a report nothing is known, and nothing changes.
func (m *Master) listenToReplicas(seen *observation) {
	now := m.o.Clock.Now()
	known := make(map[replicaKey]bool)
	for _, s := range seen.groups() {
		r := seen.reports[s.Id]
		for _, replica := range s.Replicas {
			key := keyOf(s, replica)
			member := memberOf(r, replica)
			known[key] = r == nil || member.GetVoter()
			if r == nil || !member.GetVoter() {
				continue
			}
			since, was := m.unheard[key]
			_, nodeDown := seen.down[replica.NodeId]
			switch {
			case answers(member) || nodeDown: // the silence of a node is another matter, and counts from when it is back
				delete(m.unheard, key)
			case !was:
				m.unheard[key] = now
			case now.Sub(since) >= silentAfter:
				seen.unheard[key] = now.Sub(since)
			}
		}
	}
	maps.DeleteFunc(m.unheard, func(k replicaKey, _ time.Time) bool { return !known[k] })
}

const (
	// slowestLearner is the pace in bytes per second below which a replica that learns is taken for stuck. While a snapshot
	// is on its way nothing shows but its end.
	slowestLearner = 1 << 20
	// restAfterGivingUp is for how long a node gets nothing new on which a replica did not learn.
	restAfterGivingUp = 10 * time.Minute
)

// giveUp finds the learners that make no progress, so that the planner tries elsewhere, and lets their nodes rest.
func (m *Master) giveUp(seen *observation) {
	now := m.o.Clock.Now()
	m.mu.Lock()
	since := m.mu.since
	m.mu.Unlock()
	for _, s := range seen.groups() {
		p, mark := since[api.ShardID(s.Id)], seen.mark(s)
		patience := stuckAfter + time.Duration(seen.reports[s.Id].GetDiskBytes()/slowestLearner)*time.Second
		if seen.reports[s.Id] == nil || mark == "" || p.mark != mark || now.Sub(p.since) < patience {
			continue
		}
		for _, replica := range s.Replicas {
			if member := memberOf(seen.reports[s.Id], replica); replica.Learner && !replica.Leaving && !member.GetVoter() && !member.GetCaughtUp() {
				seen.stuck[keyOf(s, replica)] = true
				m.resting[api.NodeID(replica.NodeId)] = now.Add(restAfterGivingUp)
			}
		}
	}
	for node, until := range m.resting {
		if !now.Before(until) {
			delete(m.resting, node)
			continue
		}
		seen.full[string(node)] = true
	}
}

// leastRoom is how much of a disk must be free for a node to get new replicas: a twentieth, and 2 GiB are always enough.
const leastRoom = 2 << 30

// spare is what a disk can take before its node gets nothing new.
func spare(free, total int64) int64 { return free - min(total/20, leastRoom) }

// askRoom asks the nodes that answer how much room they have. Those that do not say are taken for having enough.
func (m *Master) askRoom(ctx context.Context, seen *observation, mu *sync.Mutex, calls *errgroup.Group) {
	for _, n := range seen.current.Nodes {
		if !m.o.Alive(api.NodeID(n.Id)) {
			continue
		}
		calls.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, reportTimeout)
			defer cancel()
			free, total, err := m.o.Groups.Room(ctx, api.NodeID(n.Id))
			if err != nil {
				m.o.Logger.Debug("master: no word about room", "on", n.Id, "error", err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if room := spare(free, total); room > 0 {
				seen.room[n.Id] = room
			} else if total > 0 {
				seen.full[n.Id] = true
			}
			return nil
		})
	}
}

// noteRefusal keeps why the last step of a shard, or of the map, was refused, until one succeeds.
func (m *Master) noteRefusal(shard api.ShardID, what string, err error) {
	if shard == ofNoShard {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.mu.refused, shard)
		return
	}
	if m.mu.refused == nil {
		m.mu.refused = make(map[api.ShardID]string)
	}
	m.mu.refused[shard] = nameMap(fmt.Sprintf("shard %d", shard)) + fmt.Sprintf(": %s: %v", what, err)
}

// refusalsLocked lists what was refused, by shard.
func (m *Master) refusalsLocked() (list []string) {
	for _, id := range slices.Sorted(maps.Keys(m.mu.refused)) {
		list = append(list, m.mu.refused[id])
	}
	return list
}
