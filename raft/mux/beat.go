package mux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// Heartbeats of all groups to one node travel together. Each waits for others until the next frame is
// due, at the same moments for all nodes, holdsPerTimeout times in a heartbeat timeout: the library
// sends them five to ten times in one, so that this makes them later by a third on average, and a
// follower still hears from its leader three times before it loses patience. 64 idle groups on three
// nodes cost 33 % of a core on each node when each heartbeat was a message. Twice as many frames, with
// 64 groups, were a sixth of what woke a goroutine.
//
// While a group has nothing to tell a follower (rest.go), its heartbeats go on without the library, each
// restSlots-th of these moments: 64 groups were woken 900 times a second to send another, half of it by timers of
// their own.
//
// The receiver gives each to its group's main loop (RM5), and looks after beatLook which are answered:
// one look at all costs less than waking a goroutine for each. A group that takes longer is answered for
// after a later look.
const (
	holdsPerTimeout = 10
	restSlots       = 2
	beatLook        = 2 * time.Millisecond
	maxBeatLook     = 16 * time.Millisecond
)

// beat is one heartbeat on its way.
type beat struct {
	transport *Transport
	to        string
	term      uint64
	done      chan error // capacity 1
	status    wire.BeatStatus
	peer      peerState // of the replica that answered
}

// peerState is what a replica said of itself in its latest answer to a heartbeat.
type peerState struct {
	term, lastLog, commit uint64
}

var errBeatRefused = errors.New("the replica is not there or has too much to do")

// beater sends the heartbeats of all groups to one node.
type beater struct {
	mux  *Mux
	node api.NodeID

	// mu is a leaf and guards both.
	mu      sync.Mutex
	asked   departure // by the library
	resting departure // of groups that rest
}

// departure is heartbeats that leave together.
type departure struct {
	beats []*beat
	timer *time.Timer // runs while there are any
}

// maxBeatsPerFrame bounds a frame; no node has more groups.
const maxBeatsPerFrame = 4096

// ask sends a heartbeat that the library asks for.
func (b *beater) ask(q *beat) {
	b.add(&b.asked, q.transport.opts.HeartbeatTimeout/holdsPerTimeout, b.flushAsked, q)
}

// again sends what was answered to groups that rest.
func (b *beater) again(beats []*beat) {
	if len(beats) > 0 {
		b.add(&b.resting, restSlots*beats[0].transport.opts.HeartbeatTimeout/holdsPerTimeout, b.flushResting, beats...)
	}
}

func (b *beater) add(d *departure, every time.Duration, flush func(), beats ...*beat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d.beats = append(d.beats, beats...)
	if len(d.beats) > len(beats) {
		return
	}
	hold := every - b.mux.clock.Now().Sub(b.mux.began).Abs()%every
	if d.timer == nil {
		d.timer = time.AfterFunc(hold, flush)
	} else {
		d.timer.Reset(hold)
	}
}

func (b *beater) take(d *departure) []*beat {
	b.mu.Lock()
	defer b.mu.Unlock()
	beats := d.beats
	d.beats = nil
	return beats
}

func (b *beater) flushAsked() { b.sendAll(b.take(&b.asked)) }

// flushResting gives those back to the library that may not be sent without it any more.
func (b *beater) flushResting() {
	b.sendAll(slices.DeleteFunc(b.take(&b.resting), func(q *beat) bool {
		owner := q.transport.owner
		if owner.Leads(q.term) && !owner.Stalled() {
			return false
		}
		q.done <- nil // as it was answered last
		return true
	}))
}

func (b *beater) sendAll(beats []*beat) {
	for len(beats) > 0 {
		n := min(len(beats), maxBeatsPerFrame)
		b.send(beats[:n])
		beats = beats[n:]
	}
}

func (b *beater) send(beats []*beat) {
	sent := &beatCall{beater: b, beats: beats}
	sent.to = sent
	patience := beats[0].transport.opts.HeartbeatTimeout
	f := wire.Frame{Kind: wire.KindBeats}
	for _, q := range beats {
		f.Payload = wire.AppendBeat(f.Payload, &wire.Beat{Group: q.transport.group, Term: q.term, From: q.transport.localBytes, To: []byte(q.to)})
	}
	l, err := b.mux.link(b.node, peers.Control)
	if err == nil {
		ctx, cancel := context.WithTimeout(b.mux.ctx, patience)
		err = l.start(ctx, &f, &sent.call)
		cancel()
	}
	if err != nil {
		sent.receive(nil, false, err)
		return
	}
	sent.mu.Lock()
	defer sent.mu.Unlock()
	if !sent.ended {
		sent.timer = time.AfterFunc(patience, sent.giveUp)
	}
}

// beatCall is a frame of heartbeats that was sent.
type beatCall struct {
	call
	beater *beater

	// mu is a leaf.
	mu    sync.Mutex
	beats []*beat // nil where answered
	timer *time.Timer
	ended bool
}

// giveUp ends a frame that was not answered for in full.
func (c *beatCall) giveUp() {
	c.forget()
	c.receive(nil, false, errBeatLate)
}

// receive implements receiver.
func (c *beatCall) receive(payload []byte, more bool, err error) {
	c.beater.again(slices.DeleteFunc(c.take(payload, more, err), func(q *beat) bool {
		if q.transport.goesOn(q) {
			return false
		}
		q.done <- nil
		return true
	}))
}

// take returns what a frame answers and ends the others if no more answers come.
func (c *beatCall) take(payload []byte, more bool, err error) (answered []*beat) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := wire.Decoder{Rest: payload}
	for err == nil && len(d.Rest) > 0 {
		a := d.BeatAnswer()
		if d.Bad || a.Slot >= uint64(len(c.beats)) || c.beats[a.Slot] == nil {
			err = fmt.Errorf("answer to heartbeats: %w", wire.ErrMalformed)
			break
		}
		q := c.beats[a.Slot]
		c.beats[a.Slot] = nil
		if a.Status == wire.BeatRefused {
			q.done <- errBeatRefused
			continue
		}
		q.status, q.peer = a.Status, peerState{a.Term, a.LastLog, a.Commit}
		answered = append(answered, q)
	}
	if err == nil && !more {
		err = errBeatRefused
	}
	if err == nil {
		return answered
	}
	c.ended = true
	if c.timer != nil {
		c.timer.Stop()
	}
	for i, q := range c.beats {
		if q != nil {
			q.done <- err
			c.beats[i] = nil
		}
	}
	return answered
}

// heartbeat sends what the library's heartbeat goroutine asks for and waits for the answer, or, while the group
// rests, for the first that the library has to have.
func (t *Transport) heartbeat(to hraft.ServerAddress, args *hraft.AppendEntriesRequest, resp *hraft.AppendEntriesResponse) error {
	node, err := nodeOf(to)
	if err != nil {
		return err
	}
	if err := t.awaitControl(node); err != nil {
		return err
	}
	q := &beat{transport: t, to: string(to), term: args.Term, done: make(chan error, 1)}
	t.mux.beater(node).ask(q)
	select {
	case err = <-q.done:
	case <-t.ctx.Done():
		err = errTransportClosed
	}
	if err != nil {
		return fmt.Errorf("heartbeat to %s: %w", to, err)
	}
	resp.Term, resp.LastLog, resp.Success = q.peer.term, q.peer.lastLog, q.status == wire.BeatYes
	return nil
}

var errBeatLate = errors.New("no answer in time")

// awaitControl waits until heartbeats can be sent to a node.
func (t *Transport) awaitControl(node api.NodeID) error {
	l, err := t.mux.link(node, peers.Control)
	if err != nil || l.isConnected() {
		return err
	}
	timer := time.NewTimer(t.opts.HeartbeatTimeout)
	defer timer.Stop()
	select {
	case <-l.readyChannel():
		return nil
	case <-timer.C:
		return fmt.Errorf("reach node %s: %w", node, errBeatLate)
	case <-t.ctx.Done():
		return errTransportClosed
	}
}

// takeBeats hands the heartbeats of a frame to their groups. It never blocks.
func (m *Mux) takeBeats(f *wire.Frame, a *answers) error {
	w := &beatWatch{answers: a, sequence: f.Sequence, pause: beatLook}
	for d := (wire.Decoder{Rest: f.Payload}); len(d.Rest) > 0; {
		b := d.Beat()
		if d.Bad || len(w.waiting) == maxBeatsPerFrame {
			return fmt.Errorf("heartbeats: %w", wire.ErrMalformed)
		}
		slot := queuedSlot{slot: uint64(len(w.waiting))}
		if t, err := m.hosted(b.Group, b.To); err == nil {
			slot.beat = t.acceptBeat(&b)
		}
		w.waiting = append(w.waiting, slot)
	}
	if len(w.waiting) == 0 {
		return fmt.Errorf("heartbeats: %w", wire.ErrMalformed)
	}
	time.AfterFunc(w.pause, w.look)
	return nil
}

// queuedBeat is a heartbeat that the library has. A later one of the same leader in the same term gets
// its answer and takes no place in the queue.
type queuedBeat struct {
	transport *Transport
	key       beatKey
	response  chan hraft.RPCResponse // capacity 1

	// Guarded by transport.mu.
	answered bool
	answer   wire.BeatAnswer
}

// beatKey is the leader and the term of a heartbeat.
type beatKey struct {
	from string
	term uint64
}

// poll reports whether the library has answered, and how.
func (q *queuedBeat) poll() (wire.BeatAnswer, bool) {
	t := q.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	if !q.answered {
		select {
		case r := <-q.response:
			q.answered = true
			if response, ok := r.Response.(*hraft.AppendEntriesResponse); ok && r.Error == nil {
				q.answer = wire.BeatAnswer{Status: wire.BeatNo, Term: response.Term, LastLog: response.LastLog, Commit: t.owner.CommitIndex()}
				if response.Success {
					q.answer.Status = wire.BeatYes
				}
			}
			if t.mu.beats[q.key] == q {
				delete(t.mu.beats, q.key)
			}
		default:
			return wire.BeatAnswer{}, t.ctx.Err() != nil
		}
	}
	return q.answer, true
}

// beatWatch waits for the answers to one frame of heartbeats.
type beatWatch struct {
	answers  *answers
	sequence uint64

	// Of look, which runs once at a time.
	waiting []queuedSlot
	pause   time.Duration
	waited  time.Duration
}

// queuedSlot is a heartbeat's place in its frame. Its beat is nil if it was refused.
type queuedSlot struct {
	slot uint64
	beat *queuedBeat
}

// maxBeatWait: who asked has given up long before.
const maxBeatWait = 10 * time.Second

// look sends the answers that are there and comes back for the others.
func (w *beatWatch) look() {
	w.waited += w.pause
	var payload []byte
	left := w.waiting[:0]
	for _, s := range w.waiting {
		var a wire.BeatAnswer
		if s.beat != nil {
			var ok bool
			if a, ok = s.beat.poll(); !ok && w.waited < maxBeatWait {
				left = append(left, s)
				continue
			}
		}
		a.Slot = s.slot
		payload = wire.AppendBeatAnswer(payload, a)
	}
	answered := len(w.waiting) - len(left)
	w.waiting = left
	if answered > 0 {
		f := wire.Answer(wire.KindBeats, 0, w.sequence, payload, nil)
		if len(left) > 0 {
			f.SetMore()
		}
		w.answers.send(&f)
	}
	if len(left) > 0 {
		w.pause = min(2*w.pause, maxBeatLook)
		time.AfterFunc(w.pause, w.look)
	}
}
