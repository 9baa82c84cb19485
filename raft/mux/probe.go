package mux

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// Probe asks a replica whether it has not gone beyond a term. The answer is a load of an
// atomic: no main loop, no disk. It brings the wall clock of the answering node along.
type Probe struct {
	Group  uint64
	To     string // replica id
	Term   api.Term
	Answer chan<- ProbeAnswer // capacity for every probe of the round
}

// ProbeAnswer is what came of a Probe.
type ProbeAnswer struct {
	Replica string // that was asked
	Granted bool
	// OffsetMillis is how far the clock of the replica's node is ahead of this node's, if HasClock.
	OffsetMillis int64
	HasClock     bool
}

// Probe sends q, together with others to the same node, in a frame that is made after the call. Every
// probe gets one answer, an empty one if the node cannot be reached within timeout.
func (m *Mux) Probe(q Probe, timeout time.Duration) {
	node, err := nodeOf(hraft.ServerAddress(q.To))
	if err != nil {
		q.Answer <- ProbeAnswer{Replica: q.To}
		return
	}
	m.prober(node).ask(q, timeout)
}

// clockOffset is how far a peer's clock is ahead: its time less the middle of the round trip in
// which it was read. It is wrong by at most half of that. All are in milliseconds since the Unix
// epoch. There is no result if this node's clock was set meanwhile, or the node stood still.
func clockOffset(sent, received, peer uint64, longest time.Duration) (millis int64, ok bool) {
	elapsed := int64(received - sent)
	if elapsed < 0 || elapsed > longest.Milliseconds() {
		return 0, false
	}
	return int64(peer - sent - uint64(elapsed)/2), true
}

// prober sends the probes of all groups to one node, those that wait together in one frame. A
// frame carries only probes that were asked for before it was made, and its answer counts only
// for them.
type prober struct {
	mux  *Mux
	node api.NodeID

	// mu is a leaf.
	mu struct {
		sync.Mutex
		waiting []Probe
		running bool
	}
}

// maxProbesPerFrame bounds a frame; there are never more groups with waiting reads than that
// on a node without its being a sign of something wrong.
const maxProbesPerFrame = 4096

// ask queues q.
func (p *prober) ask(q Probe, timeout time.Duration) {
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
		q.Answer <- ProbeAnswer{Replica: q.To}
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
			var a ProbeAnswer
			if err == nil {
				a = answers[i]
			}
			a.Replica = q.To
			q.Answer <- a
		}
	}
}

// send asks one frame of probes. Answer i is that to probe i, but for its replica.
func (p *prober) send(batch []Probe, timeout time.Duration) ([]ProbeAnswer, error) {
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
	payload, err := l.ask(ctx, &wire.Frame{Kind: wire.KindProbe, Payload: encodeProbes(batch)})
	if err != nil {
		return nil, err
	}
	received := clock.Millis(p.mux.clock)
	peer, granted, err := wire.DecodeProbeAnswer(payload, len(batch))
	if err != nil {
		return nil, err
	}
	offset, ok := clockOffset(sent, received, peer, timeout)
	answers := make([]ProbeAnswer, len(batch))
	for i := range answers {
		answers[i] = ProbeAnswer{Granted: granted[i], OffsetMillis: offset, HasClock: ok}
	}
	return answers, nil
}

func encodeProbes(batch []Probe) []byte {
	b := binary.AppendUvarint(nil, uint64(len(batch)))
	for _, q := range batch {
		b = binary.AppendUvarint(b, q.Group)
		b = binary.AppendUvarint(b, uint64(q.Term))
		b = wire.AppendField(b, []byte(q.To))
	}
	return b
}

// answerProbe grants each probe whose replica is here, can write its log, and whose term is not beyond
// the asked one.
func (m *Mux) answerProbe(payload []byte) ([]byte, error) {
	d := wire.Decoder{Rest: payload}
	count := d.Uvarint()
	if d.Bad || count > maxProbesPerFrame {
		return nil, fmt.Errorf("probe: %w", wire.ErrMalformed)
	}
	granted := make([]bool, 0, count)
	for range count {
		group, term, to := d.Uvarint(), d.Uvarint(), d.Field()
		if d.Bad {
			return nil, fmt.Errorf("probe: %w", wire.ErrMalformed)
		}
		granted = append(granted, m.grants(group, to, term))
	}
	return wire.EncodeProbeAnswer(clock.Millis(m.clock), granted), d.End()
}

func (m *Mux) grants(g uint64, to []byte, term uint64) bool {
	t, err := m.hosted(g, to)
	return err == nil && !t.owner.Stalled() && t.owner.CurrentTerm() <= term
}
