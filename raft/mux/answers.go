package mux

import (
	"sync"

	hraft "github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/raft/wire"
)

// answers is the answering half of one lane of one node: what waits to be sent back on its stream.
type answers struct {
	wake chan struct{} // capacity 1

	// mu is a leaf.
	mu    sync.Mutex
	queue queue
}

// maxAnswerBytes bounds the answers that wait for one stream; beyond it answers are dropped and the
// asker's deadline passes.
const maxAnswerBytes = 1 << 20

func (a *answers) send(f *wire.Frame) {
	a.mu.Lock()
	room := a.queue.bytes < maxAnswerBytes
	if room {
		a.queue.add(f, 0)
	}
	a.mu.Unlock()
	if room {
		signal(a.wake)
	}
}

func (a *answers) take() []*batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.queue.take()
}

// replier says where the answer to one request goes: back on its stream.
type replier struct {
	answers         *answers
	kind            wire.Kind
	group, sequence uint64
}

// refuse answers with an error.
func (r *replier) refuse(err error) {
	f := wire.Answer(r.kind, r.group, r.sequence, nil, err)
	r.answers.send(&f)
}

// answer passes on what the library answered.
func (r *replier) answer(response hraft.RPCResponse) {
	var room [64]byte
	payload, err := room[:0], response.Error
	if err == nil {
		payload, err = wire.AppendResponse(payload, response.Response)
	}
	f := wire.Answer(r.kind, r.group, r.sequence, payload, err)
	r.answers.send(&f)
}

// Exchange implements peerv1.RaftServer: it hands out the requests of one lane of one node and
// sends the answers back in whatever order they come.
func (m *Mux) Exchange(stream grpc.BidiStreamingServer[peerv1.RaftBatch, peerv1.RaftBatch]) error {
	if err := checkCodec(stream); err != nil {
		return err
	}
	a := &answers{wake: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	// The receiver ends when this handler returns: gRPC then cancels the stream.
	if !m.run(func() { ended <- m.receive(stream, a) }) {
		return api.ToStatus(api.ErrShuttingDown)
	}
	for {
		select {
		case <-a.wake:
			batches := a.take()
			for i, b := range batches {
				if err := stream.SendMsg(b); err != nil {
					discard(batches[i+1:])
					return err
				}
			}
		case err := <-ended:
			return err
		case <-m.ctx.Done():
			return api.ToStatus(api.ErrShuttingDown)
		}
	}
}

func (m *Mux) receive(stream grpc.ServerStream, a *answers) error {
	for {
		var b batch
		if err := stream.RecvMsg(&b); err != nil {
			return err
		}
		err := m.handleAll(&b, a)
		b.free()
		if err != nil {
			m.logger.Warn("raft stream ended by a bad message", "error", err)
			return api.ToStatus(api.Errorf(api.CodeInvalid, "%w", err))
		}
	}
}

// handleAll handles the requests of a batch. A damaged one has no effect at all.
func (m *Mux) handleAll(b *batch, a *answers) error {
	frames, err := b.frames()
	if err != nil {
		return err
	}
	for {
		var f wire.Frame
		if ok, err := frames.Next(&f); err != nil || !ok {
			return err
		}
		m.handle(&f, a)
	}
}

// handle never blocks: the stream carries all groups.
func (m *Mux) handle(f *wire.Frame, a *answers) {
	r := replier{answers: a, kind: f.Kind, group: f.Group, sequence: f.Sequence}
	var err error
	switch f.Kind {
	case wire.KindBeats:
		err = m.takeBeats(f, a)
	case wire.KindProbe:
		var payload []byte
		if payload, err = m.answerProbe(f.Payload); err == nil {
			answer := wire.Answer(f.Kind, f.Group, f.Sequence, payload, nil)
			a.send(&answer)
		}
	default:
		var t *Transport
		if t, err = m.hosted(f.Group, f.To); err == nil {
			err = t.accept(f, r)
		}
	}
	if err != nil {
		r.refuse(err)
	}
}
