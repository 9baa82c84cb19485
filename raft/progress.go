package raft

import (
	"cmp"
	"slices"
	"sync"

	hraft "github.com/hashicorp/raft"
)

// progress is what a leader knows of the other replicas from their answers to its entries and
// heartbeats. The library keeps the like and does not tell.
type progress struct {
	// mu is a leaf.
	mu   sync.Mutex
	last map[string]answered
}

// answered is the latest answer of one replica.
type answered struct {
	lastLog uint64 // the end of its log
	look    uint64 // when it came, in the host's looks
}

func (p *progress) note(replica string, lastLog, look uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = make(map[string]answered)
	}
	p.last[replica] = answered{lastLog: lastLog, look: look}
}

func (p *progress) of(replica string) (answered, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.last[replica]
	return a, ok
}

// successors are the other voters that are connected and have answered within a heartbeat timeout,
// the one whose log ends last first.
func (i *instance) successors() []string {
	type candidate struct {
		id      string
		lastLog uint64
	}
	var list []candidate
	for _, s := range i.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != hraft.Voter || string(s.ID) == i.local {
			continue
		}
		if a, ok := i.healthy(string(s.ID)); ok {
			list = append(list, candidate{string(s.ID), a.lastLog})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(b.lastLog, a.lastLog) })
	ids := make([]string, len(list))
	for k, c := range list {
		ids[k] = c.id
	}
	return ids
}

// healthy is the latest answer of a replica that is connected and has just answered.
func (i *instance) healthy(replica string) (answered, bool) {
	if !i.group.host.mux.Connected(nodeOf(hraft.ServerAddress(replica))) {
		return answered{}, false
	}
	a, ok := i.progress.of(replica)
	return a, ok && a.look+looksPerTimeout >= i.group.host.looks.Load()
}
