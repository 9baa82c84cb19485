package membership

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"
)

const (
	// firstJoinPause doubles up to joinPause while somebody is missing: nodes that start together
	// find each other within a moment of the last one listening.
	firstJoinPause = 100 * time.Millisecond
	joinPause      = 3 * time.Second
	// completePause is the longest pause when nobody is missed: gossip that was cut in two never heals by
	// itself, because each half forgets the other.
	completePause = 30 * time.Second
	// resolveTimeout bounds one look-up of a name.
	resolveTimeout = 2 * time.Second
)

// joinLoop looks for nodes for ever. Gossip does the rest once one was found.
func (m *Membership) joinLoop() {
	next := firstJoinPause
	for m.stopped.Err() == nil {
		m.joinOnce()
		if m.complete() {
			next = firstJoinPause
			m.awaitLoss()
			continue
		}
		select {
		case <-m.stopped.Done():
		case <-time.After(next):
		}
		next = min(2*next, joinPause)
	}
}

// awaitLoss waits until somebody is missed, but not for ever.
func (m *Membership) awaitLoss() {
	timeout := time.After(completePause)
	for {
		changed := m.view.changed()
		if !m.complete() {
			return
		}
		select {
		case <-m.stopped.Done():
			return
		case <-timeout:
			return
		case <-changed:
		}
	}
}

// complete reports whether as many nodes are alive as the map or --bootstrap-expect lead to expect,
// and at least one other if there is an address to join.
func (m *Membership) complete() bool {
	_, known := m.view.missing()
	expect := max(known, m.info().Expect)
	if len(m.opts.Join) > 0 {
		expect = max(expect, 2)
	}
	return len(m.view.members()) >= expect
}

// joinOnce offers our view to every address that is not a living member's, ours left out.
func (m *Membership) joinOnce() {
	missing, _ := m.view.missing()
	var joined []string
	for _, p := range m.view.members() {
		joined = append(joined, p.GossipAddress)
	}
	joined = append(joined, m.address)
	for _, address := range append(slices.Clone(m.opts.Join), missing...) {
		for _, target := range m.resolve(address) {
			if slices.Contains(joined, target) || m.stopped.Err() != nil {
				continue
			}
			joined = append(joined, target) // once per round, even if two names lead there
			if _, err := m.list.Join([]string{target}); err != nil {
				m.logger.Debug("gossip: not joined", "address", target, "error", err)
			}
		}
	}
}

// resolve turns an address or name, with or without a port, into the addresses behind it.
func (m *Membership) resolve(address string) []string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = address, strconv.Itoa(m.defaultPort)
	}
	if ip := net.ParseIP(host); ip != nil {
		return []string{net.JoinHostPort(ip.String(), port)}
	}
	ctx, cancel := context.WithTimeout(m.stopped, resolveTimeout)
	defer cancel()
	ips, err := m.opts.Resolver.LookupHost(ctx, host)
	if err != nil {
		m.logger.Debug("gossip: name not resolved", "host", host, "error", err)
		return nil
	}
	targets := make([]string, len(ips))
	for i, ip := range ips {
		targets[i] = net.JoinHostPort(ip, port)
	}
	slices.Sort(targets)
	return targets
}
