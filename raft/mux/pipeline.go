package mux

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/raft/wire"
)

// pipeline keeps a few AppendEntries requests to one follower on their way at once. It fails
// fast: after the first error or answer other than yes it is dead, and every call on it fails (RM6).
// The library then falls back to one request at a time, which can repair what is wrong. A
// pipeline that waited instead could wedge the follower for good while heartbeats stay healthy
// (hashicorp/raft issues 611 and 612).
//
// It has no goroutine: the one that reads the link's stream completes the requests.
type pipeline struct {
	transport *Transport
	to        hraft.ServerAddress
	link      *link

	ctx    context.Context // ends when the pipeline is dead or closed
	cancel context.CancelCauseFunc

	ready chan hraft.AppendFuture // answered, in order
	room  chan struct{}           // capacity 1: something was answered

	// mu is a leaf.
	mu struct {
		sync.Mutex
		sent     []*appendFuture // in order, at most appendWindow
		bytes    int             // of their entries
		progress uint64          // requests answered
		watched  bool            // the timer of watch runs
	}
}

const (
	// appendWindow: more requests on their way would only make each smaller, and the follower pays
	// an fsync for each (hashicorp/raft pull request 541).
	appendWindow = 2
	// maxWindowBytes bounds the entries of the requests on their way, unless one alone is larger.
	maxWindowBytes = maxAppendBytes
	// maxReady bounds the answers that the library has not taken. Its decoder does nothing that blocks.
	maxReady = 64
	// readyPause is between two looks whether it has.
	readyPause = time.Millisecond
)

var (
	errPipelineClosed   = errors.New("the pipeline is closed")
	errPipelineRejected = errors.New("the follower rejected entries")
	errPipelineLate     = errors.New("no answer in time")
)

// appendFuture implements hraft.AppendFuture, receiver and waiter.
type appendFuture struct {
	call
	pipeline *pipeline
	start    time.Time
	request  *hraft.AppendEntriesRequest
	response *hraft.AppendEntriesResponse
	bytes    int
	answered bool           // guarded by pipeline.mu
	done     sync.WaitGroup // zero when err and response are set
	err      error
}

func (f *appendFuture) Error() error {
	f.done.Wait()
	return f.err
}
func (f *appendFuture) Start() time.Time                       { return f.start }
func (f *appendFuture) Request() *hraft.AppendEntriesRequest   { return f.request }
func (f *appendFuture) Response() *hraft.AppendEntriesResponse { return f.response }

// AppendEntriesPipeline implements hraft.Transport.
func (t *Transport) AppendEntriesPipeline(_ hraft.ServerID, to hraft.ServerAddress) (hraft.AppendPipeline, error) {
	l, err := t.linkTo(to, peers.Log)
	if err != nil {
		return nil, err
	}
	p := &pipeline{
		transport: t, to: to, link: l, room: make(chan struct{}, 1),
		// What can be answered at once comes on top, and the future that ends the decoder after a failure. What
		// contact adds is there only while nothing else is.
		ready: make(chan hraft.AppendFuture, maxReady+appendWindow+1),
	}
	p.ctx, p.cancel = context.WithCancelCause(t.ctx)
	return p, nil
}

// AppendEntries implements hraft.AppendPipeline. It waits for a place in the window and not
// longer than the pipeline lives. The library calls it from one goroutine.
func (p *pipeline) AppendEntries(args *hraft.AppendEntriesRequest, resp *hraft.AppendEntriesResponse) (hraft.AppendFuture, error) {
	if p.transport.owner.Stalled() {
		p.cancel(errLogStalled)
		return nil, errLogStalled
	}
	trimEntries(args)
	f := &appendFuture{pipeline: p, start: p.transport.mux.clock.Now(), request: args, response: resp}
	f.to = f
	if p.ctx.Err() == nil && p.transport.knows(p.to, args) {
		p.transport.rest(p, args)
		resp.Term, resp.Success = args.Term, true
		return f, nil
	}
	f.bytes = wire.AppendEntriesBytes(args)
	if err := p.enter(f); err != nil {
		return nil, err
	}
	frame := p.transport.request(p.to, wire.KindAppendEntries, nil)
	frame.Append = args
	if err := p.link.start(p.ctx, &frame, &f.call); err != nil {
		p.cancel(err)
		f.receive(nil, false, err)
		return nil, err
	}
	return f, nil
}

// enter puts f behind those on their way, when the window has room.
func (p *pipeline) enter(f *appendFuture) error {
	f.done.Add(1)
	for {
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		if len(p.ready) > maxReady {
			p.pause()
			continue
		}
		p.mu.Lock()
		n := len(p.mu.sent)
		if n == 0 || n < appendWindow && p.mu.bytes+f.bytes <= maxWindowBytes {
			p.mu.sent = append(p.mu.sent, f)
			p.mu.bytes += f.bytes
			p.watchLocked()
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
		select {
		case <-p.room:
		case <-p.ctx.Done():
		}
	}
}

// pause gives the library's decoder time.
func (p *pipeline) pause() {
	timer := time.NewTimer(readyPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ctx.Done():
	}
}

// watchLocked makes sure that a pipeline whose follower does not answer dies (RM6): one that made no
// progress between two looks does, within appendTimeout to twice that. One timer serves all requests.
func (p *pipeline) watchLocked() {
	if p.mu.watched {
		return
	}
	p.mu.watched = true
	before := p.mu.progress
	time.AfterFunc(appendTimeout, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.mu.watched = false
		switch {
		case len(p.mu.sent) == 0 || p.ctx.Err() != nil:
		case p.mu.progress == before:
			p.cancel(fmt.Errorf("append entries to %s: %w", p.to, errPipelineLate))
		default:
			p.watchLocked()
		}
	})
}

// receive implements receiver.
func (f *appendFuture) receive(payload []byte, _ bool, err error) {
	p := f.pipeline
	if err == nil {
		err = p.transport.answered(p.to, payload, f.response)
	}
	if err == nil && (!f.response.Success || f.response.Term > f.request.Term) {
		err = errPipelineRejected
	}
	if err == nil && p.transport.counted(lastIndex(f.request), f) {
		return
	}
	f.pass(err)
}

// pass implements waiter: it hands the answer over to the library.
func (f *appendFuture) pass(err error) {
	p := f.pipeline
	if err != nil {
		f.err = fmt.Errorf("append entries to %s: %w", p.to, err)
		p.cancel(f.err)
	}
	f.done.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	f.answered = true
	for len(p.mu.sent) > 0 && p.mu.sent[0].answered {
		first := p.mu.sent[0]
		p.mu.sent = p.mu.sent[1:]
		p.mu.bytes -= first.bytes
		p.mu.progress++
		// A request that got no answer is not handed over: the library would take it for a
		// sign of life. The next AppendEntries, at most two commit timeouts away, fails instead.
		if first.err == nil || errors.Is(first.err, errPipelineRejected) {
			p.ready <- first // has room, see enter
		}
		if first.err != nil {
			break // nothing after it counts
		}
	}
	signal(p.room)
}

// contact tells the library that the follower has answered a heartbeat while the sender rests, as the answer
// to an empty append would. It reports whether the pipeline lives. One at a time tells enough.
func (p *pipeline) contact(term uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	if len(p.ready) == 0 {
		p.ready <- &appendFuture{
			pipeline: p, start: p.transport.mux.clock.Now(),
			request:  &hraft.AppendEntriesRequest{Term: term},
			response: &hraft.AppendEntriesResponse{Term: term, Success: true},
		}
	}
	return true
}

// Consumer implements hraft.AppendPipeline.
func (p *pipeline) Consumer() <-chan hraft.AppendFuture { return p.ready }

// Close implements hraft.AppendPipeline: what is on its way is given up. The library calls it from
// the goroutine that calls AppendEntries.
func (p *pipeline) Close() error {
	p.cancel(errPipelineClosed)
	p.mu.Lock()
	sent := p.mu.sent
	p.mu.sent = nil
	p.mu.Unlock()
	// One that is never answered, because the follower's replica went away, would stay in the link
	// with its entries.
	for _, f := range sent {
		f.forget()
		p.transport.gate.forget(f)
	}
	if p.transport.owner.Failed() {
		// The library's sender was ended by a damaged log (see guard.go) and did not tell its
		// decoder, which waits for one more answer.
		failed := &appendFuture{request: &hraft.AppendEntriesRequest{}, response: &hraft.AppendEntriesResponse{}, err: errPipelineClosed}
		select {
		case p.ready <- failed:
		default:
		}
	}
	return nil
}
