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
// fast: after the first error or answer other than yes it is dead, and every call on it fails.
// The library then falls back to one request at a time, which can repair what is wrong. A
// pipeline that waited instead could wedge the follower for good while heartbeats stay healthy
// (hashicorp/raft issues 611 and 612).
type pipeline struct {
	transport *Transport
	to        hraft.ServerAddress
	link      *link

	ctx    context.Context // ends when the pipeline is dead or closed
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // the answer loop

	window chan struct{}           // one token per request on its way
	sent   chan *appendFuture      // in order
	ready  chan hraft.AppendFuture // answered, in order
}

// appendWindow: more requests on their way would only make each smaller, and the follower pays
// an fsync for each (hashicorp/raft pull request 541).
const appendWindow = 2

var (
	errPipelineClosed   = errors.New("the pipeline is closed")
	errPipelineRejected = errors.New("the follower rejected entries")
)

// appendFuture implements hraft.AppendFuture.
type appendFuture struct {
	start    time.Time
	request  *hraft.AppendEntriesRequest
	response *hraft.AppendEntriesResponse
	call     *call
	done     chan struct{} // closed when err and response are set
	err      error
}

func (f *appendFuture) Error() error {
	<-f.done
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
		transport: t, to: to, link: l,
		window: make(chan struct{}, appendWindow),
		sent:   make(chan *appendFuture, appendWindow),
		// One more than the window, for the future that ends the decoder after a failure.
		ready: make(chan hraft.AppendFuture, appendWindow+1),
	}
	p.ctx, p.cancel = context.WithCancelCause(t.ctx)
	p.wg.Go(p.answerLoop)
	return p, nil
}

// AppendEntries implements hraft.AppendPipeline. It waits for a place in the window and not
// longer than the pipeline lives.
func (p *pipeline) AppendEntries(args *hraft.AppendEntriesRequest, resp *hraft.AppendEntriesResponse) (hraft.AppendFuture, error) {
	if p.transport.owner.Stalled() {
		p.cancel(errLogStalled)
		return nil, errLogStalled
	}
	trimEntries(args)
	select {
	case p.window <- struct{}{}:
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	}
	if p.ctx.Err() != nil {
		return nil, context.Cause(p.ctx)
	}
	c, err := p.link.start(p.ctx, p.transport.request(p.to, wire.KindAppendEntries, wire.EncodeAppendEntries(args)))
	if err != nil {
		p.cancel(err)
		return nil, err
	}
	f := &appendFuture{start: p.transport.mux.clock.Now(), request: args, response: resp, call: c, done: make(chan struct{})}
	p.sent <- f // has room: the window is as large
	return f, nil
}

// Consumer implements hraft.AppendPipeline.
func (p *pipeline) Consumer() <-chan hraft.AppendFuture { return p.ready }

// Close implements hraft.AppendPipeline: what is on its way is given up. The library calls it from
// the goroutine that calls AppendEntries.
func (p *pipeline) Close() error {
	p.cancel(errPipelineClosed)
	p.wg.Wait()
	p.forgetSent()
	if p.transport.owner.Failed() {
		// The library's sender was ended by a damaged log (see guard.go) and did not tell its
		// decoder, which waits for one more answer.
		failed := &appendFuture{request: &hraft.AppendEntriesRequest{}, response: &hraft.AppendEntriesResponse{}, done: make(chan struct{}), err: errPipelineClosed}
		close(failed.done)
		select {
		case p.ready <- failed:
		default:
		}
	}
	return nil
}

// forgetSent lets the link forget the requests that nobody awaits any more: one that is never
// answered, because the follower's replica went away, would stay there with its entries.
func (p *pipeline) forgetSent() {
	for {
		select {
		case f := <-p.sent:
			f.call.forget()
		default:
			return
		}
	}
}

// answerLoop completes the requests in order until one fails.
func (p *pipeline) answerLoop() {
	for {
		select {
		case f := <-p.sent:
			err := p.await(f)
			if err != nil {
				p.cancel(err)
			}
			f.err = err
			close(f.done)
			// A request that got no answer is not handed over: the library would take it for a
			// sign of life. The next AppendEntries, at most two commit timeouts away, fails instead.
			if err == nil || errors.Is(err, errPipelineRejected) {
				select {
				case p.ready <- f:
				case <-p.transport.ctx.Done():
				}
			}
			if err != nil {
				return
			}
			<-p.window
		case <-p.ctx.Done():
			return
		}
	}
}

// await waits for the answer to f; anything but a yes is an error.
func (p *pipeline) await(f *appendFuture) error {
	ctx, cancel := context.WithTimeout(p.ctx, appendTimeout)
	defer cancel()
	a, err := f.call.wait(ctx)
	if err != nil {
		return fmt.Errorf("append entries to %s: %w", p.to, err)
	}
	if err := p.transport.answered(p.to, a, f.response); err != nil {
		return fmt.Errorf("append entries to %s: %w", p.to, err)
	}
	if !f.response.Success || f.response.Term > f.request.Term {
		return fmt.Errorf("append entries to %s: %w", p.to, errPipelineRejected)
	}
	return nil
}
