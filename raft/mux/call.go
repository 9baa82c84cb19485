package mux

import (
	"context"
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/raft/wire"
)

// call is one request on its way over a link. It ends once, with an answer or an error; what a peer
// answers in parts ends with the last.
type call struct {
	link     *link
	sequence uint64
	to       receiver
}

// receiver gets the answer to a call. It runs on the goroutine that reads the stream: it must be quick
// and must not block. The payload is part of a batch and must not be kept.
type receiver interface {
	receive(payload []byte, more bool, err error)
}

// forget drops a call: its answer is not wanted any more. It reports whether there was none yet. A call
// that could not be started has none to come.
func (c *call) forget() bool {
	if c.link == nil {
		return false
	}
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	waiting := c.link.mu.pending[c.sequence] == c
	delete(c.link.mu.pending, c.sequence)
	return waiting
}

// question is a call that somebody waits for.
type question struct {
	call
	done    chan struct{} // closed after the fields below are set
	payload []byte
	err     error
}

func (q *question) receive(payload []byte, _ bool, err error) {
	q.payload, q.err = append([]byte(nil), payload...), err
	close(q.done)
}

// ask waits for the stream to be up, sends a request and waits for the answer.
func (l *link) ask(ctx context.Context, f *wire.Frame) ([]byte, error) {
	if err := l.waitReady(ctx); err != nil {
		return nil, err
	}
	q := &question{done: make(chan struct{})}
	q.to = q
	if err := l.start(ctx, f, &q.call); err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.payload, q.err
	case <-ctx.Done():
		q.forget()
		return nil, fmt.Errorf("wait for node %s: %w", l.node, context.Cause(ctx))
	}
}

// remoteError is the peer's answer that it could not do what was asked.
type remoteError struct {
	node api.NodeID
	text string
}

// Error implements error.
func (e *remoteError) Error() string { return fmt.Sprintf("node %s: %s", e.node, e.text) }
