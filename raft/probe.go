package raft

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// A probe asks a replica whether it has not gone beyond a term. The answer is a load of an
// atomic: no main loop, no disk. See readindex.go for what it proves. It brings the wall clock
// of the answering node along, for clockcheck.go.
type probe struct {
	group  GroupID
	to     string
	term   api.Term
	answer chan<- probeAnswer // capacity for every probe of the round
}

type probeAnswer struct {
	replica string // that was asked
	granted bool
	// offsetMillis is how far the clock of the replica's node is ahead of this node's, if hasClock.
	offsetMillis int64
	hasClock     bool
}

// prober sends the probes of all groups to one node, those that wait together in one frame. A
// frame carries only probes that were asked for before it was made, and its answer counts only
// for them.
type prober struct {
	mux  *mux
	node api.NodeID

	// mu is a leaf.
	mu struct {
		sync.Mutex
		waiting []probe
		running bool
	}
}

// maxProbesPerFrame bounds a frame; there are never more groups with waiting reads than that
// on a node without its being a sign of something wrong.
const maxProbesPerFrame = 4096

// ask queues p. Every probe gets one answer, an empty one if the node cannot be reached in time.
func (p *prober) ask(q probe, timeout time.Duration) {
	p.mu.Lock()
	p.mu.waiting = append(p.mu.waiting, q)
	start := !p.mu.running
	p.mu.running = true
	p.mu.Unlock()
	if start && !p.mux.run(func() { p.loop(timeout) }) {
		p.fail()
	}
}

// fail answers everything that waits with no, because the mux is closed.
func (p *prober) fail() {
	p.mu.Lock()
	waiting := p.mu.waiting
	p.mu.waiting, p.mu.running = nil, false
	p.mu.Unlock()
	for _, q := range waiting {
		q.answer <- probeAnswer{replica: q.to}
	}
}

// loop runs as long as probes wait, one frame at a time.
func (p *prober) loop(timeout time.Duration) {
	for {
		p.mu.Lock()
		batch := p.mu.waiting
		p.mu.waiting = nil
		if len(batch) > maxProbesPerFrame {
			batch, p.mu.waiting = batch[:maxProbesPerFrame:maxProbesPerFrame], batch[maxProbesPerFrame:]
		}
		if len(batch) == 0 {
			p.mu.running = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		answers, err := p.send(batch, timeout)
		for i, q := range batch {
			var a probeAnswer
			if err == nil {
				a = answers[i]
			}
			a.replica = q.to
			q.answer <- a
		}
	}
}

// send asks one frame of probes. Answer i is that to probe i, but for its replica.
func (p *prober) send(batch []probe, timeout time.Duration) ([]probeAnswer, error) {
	l, err := p.mux.link(p.node, peers.Control)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(p.mux.ctx, timeout)
	defer cancel()
	if err := l.waitReady(ctx); err != nil { // so that the measured round trip is one
		return nil, err
	}
	sent := clock.Millis(p.mux.clock)
	a, err := l.ask(ctx, &wire.Frame{Kind: wire.KindProbe, From: string(p.mux.node), To: string(p.node), Payload: encodeProbes(batch)})
	if err != nil {
		return nil, err
	}
	received := clock.Millis(p.mux.clock)
	peer, granted, err := wire.DecodeProbeAnswer(a.payload, len(batch))
	if err != nil {
		return nil, err
	}
	offset, ok := clockOffset(sent, received, peer, timeout)
	answers := make([]probeAnswer, len(batch))
	for i := range answers {
		answers[i] = probeAnswer{granted: granted[i], offsetMillis: offset, hasClock: ok}
	}
	return answers, nil
}

func encodeProbes(batch []probe) []byte {
	b := binary.AppendUvarint(nil, uint64(len(batch)))
	for _, q := range batch {
		b = binary.AppendUvarint(b, uint64(q.group))
		b = binary.AppendUvarint(b, uint64(q.term))
		b = wire.AppendField(b, []byte(q.to))
	}
	return b
}

// answerProbe grants each probe whose replica is here and whose term is not beyond the asked one.
func (m *mux) answerProbe(payload []byte) ([]byte, error) {
	d := wire.Decoder{Rest: payload}
	count := d.Uvarint()
	if d.Bad || count > maxProbesPerFrame {
		return nil, fmt.Errorf("probe: %w", wire.ErrMalformed)
	}
	granted := make([]bool, 0, count)
	for range count {
		group, term, to := GroupID(d.Uvarint()), d.Uvarint(), string(d.Field())
		if d.Bad {
			return nil, fmt.Errorf("probe: %w", wire.ErrMalformed)
		}
		granted = append(granted, m.grants(group, to, term))
	}
	return wire.EncodeProbeAnswer(clock.Millis(m.clock), granted), d.End()
}

func (m *mux) grants(g GroupID, to string, term uint64) bool {
	t, err := m.hosted(g, to)
	return err == nil && t.currentTerm() <= term
}
