package raft

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// Proposal is one entry on its way through the log.
type Proposal struct {
	group *Group
	data  []byte
	// stage moves from waiting to taken or refused, once.
	stage atomic.Uint32
	done  chan struct{} // closed after the fields below are set

	result any
	index  api.Index
	err    error
}

const (
	stageWaiting uint32 = iota
	stageTaken          // given to the library: may be executed
	stageRefused        // never given to the library
)

// Propose offers data as the next entry. The group owns data from then on. It does not block;
// proposals of one caller enter the log in the order of the calls, or not at all. NOT_LEADER if
// this replica does not lead or is not ready (R11).
func (g *Group) Propose(data []byte) *Proposal {
	if _, err := g.readyLeader(); err != nil {
		p := &Proposal{group: g, done: make(chan struct{})}
		p.refuse(notExecuted(err))
		return p
	}
	return g.propose(data)
}

// propose is Propose for a leader that need not be ready.
func (g *Group) propose(data []byte) *Proposal {
	p := &Proposal{group: g, data: data, done: make(chan struct{})}
	if len(data) > api.MaxEntryBytes {
		p.refuse(api.Errorf(api.CodeTooLarge, "an entry of %d bytes is over the limit of %d", len(data), api.MaxEntryBytes))
		return p
	}
	if err := g.unwell(); err != nil {
		p.refuse(notExecuted(err))
		return p
	}
	if g.current.Load().raft.State() != hraft.Leader {
		p.refuse(g.notLeader("group %s is led elsewhere", g.id))
		return p
	}
	select {
	case g.queue <- p:
	default:
		p.refuse(api.Errorf(api.CodeOverloaded, "group %s has %d proposals waiting", g.id, maxQueuedProposals))
	}
	return p
}

// notExecuted is err for a proposal that never reached the log: a failed store may otherwise
// have done anything.
func notExecuted(err error) error {
	if errors.Is(err, api.ErrStoreFailed) {
		return api.Errorf(api.CodeUnavailable, "%w", err)
	}
	return err
}

// refuse completes a proposal that was not given to the library; false if it was.
func (p *Proposal) refuse(err error) bool {
	if !p.stage.CompareAndSwap(stageWaiting, stageRefused) {
		return false
	}
	p.err = err
	close(p.done)
	return true
}

// take marks the proposal as given to the library; false if it was refused before.
func (p *Proposal) take() bool { return p.stage.CompareAndSwap(stageWaiting, stageTaken) }

// complete ends a proposal that was taken.
func (p *Proposal) complete(result any, index uint64, err error) {
	p.result, p.index, p.err = result, api.Index(index), err
	close(p.done)
}

// Wait returns the state machine's result and the entry's index. Errors are of type *api.Error:
// UNKNOWN_OUTCOME if the entry may have been, or may yet be, applied; any other code means that
// it was not and will not be. It may be called more than once.
func (p *Proposal) Wait(ctx context.Context) (any, api.Index, error) {
	select {
	case <-p.done:
		return p.result, p.index, p.err
	default:
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if !p.refuse(api.Errorf(api.CodeExpired, "proposal was not started in time: %w", ctx.Err())) {
			return nil, 0, api.Errorf(api.CodeUnknownOutcome, "stopped waiting for a proposal: %w", ctx.Err())
		}
	case <-p.group.done:
		// It may have been queued after the group emptied its queue.
		if !p.refuse(api.Errorf(api.CodeShuttingDown, "the group is closed")) {
			<-p.done
		}
	}
	<-p.done
	return p.result, p.index, p.err
}

// Done is closed when Wait would not block.
func (p *Proposal) Done() <-chan struct{} { return p.done }

type inflightProposal struct {
	proposal *Proposal
	future   hraft.ApplyFuture
}

// proposeLoop gives proposals to the library one after the other.
func (i *instance) proposeLoop() {
	defer close(i.inflight)
	for {
		select {
		case p := <-i.group.queue:
			if !p.take() {
				continue
			}
			f := i.raft.ApplyLog(hraft.Log{Data: p.data}, i.group.host.opts.Timing.ElectionTimeout)
			abandonable(f, i.stopped)
			p.data = nil
			i.inflight <- inflightProposal{p, f}
		case <-i.stop:
			return
		}
	}
}

// completeLoop waits for the library in the order of the proposals, which is the order in
// which it answers.
func (i *instance) completeLoop() {
	for p := range i.inflight {
		err := p.future.Error()
		if err != nil {
			p.proposal.complete(nil, 0, i.group.classify(err))
			continue
		}
		result := p.future.Response()
		if _, ok := result.(refused); ok {
			p.proposal.complete(nil, 0, api.Errorf(api.CodeUnknownOutcome, "%w", errGroupFailed))
			continue
		}
		p.proposal.complete(result, p.future.Index(), nil)
	}
}

// classify says what an error of the library means for the caller: only these few are given
// before the entry enters the log.
func (g *Group) classify(err error) error {
	switch {
	case errors.Is(err, hraft.ErrNotLeader):
		return g.notLeader("group %s: %w", g.id, err)
	case errors.Is(err, hraft.ErrEnqueueTimeout), errors.Is(err, hraft.ErrLeadershipTransferInProgress):
		return api.Errorf(api.CodeUnavailable, "group %s: %w", g.id, err)
	default:
		return api.Errorf(api.CodeUnknownOutcome, "group %s: %w", g.id, err)
	}
}

// abandonable lets Error of one of hashicorp/raft's futures return when stopped closes. The
// library never completes the futures that were on their way inside it when it shut down, and
// a goroutine that waits for one would stay for ever. The futures carry a channel for just
// that, ShutdownCh, which the library sets on some of them and not on these. It must be called
// before Error, from the goroutine that calls Error. It reports whether the channel was set; a
// future that is complete already has none and needs none.
func abandonable(future any, stopped chan struct{}) bool {
	v := reflect.ValueOf(future)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return false
	}
	field := v.Elem().FieldByName("ShutdownCh")
	if !field.IsValid() || !field.CanSet() || field.Type() != reflect.TypeOf(stopped) {
		return false
	}
	field.Set(reflect.ValueOf(stopped))
	return true
}
