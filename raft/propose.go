package raft

import (
	"context"
	"errors"
	"reflect"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
)

// Proposal is one entry on its way through the log.
type Proposal struct {
	done chan struct{} // closed after the fields below are set

	result any
	index  api.Index
	err    error
}

// settle is told once what became of a proposal: the state machine's result and the entry's index,
// or an error of type *api.Error. UNKNOWN_OUTCOME means that the entry may have been, or may yet be,
// applied; any other code means that it was not and will not be (R7).
type settle func(result any, index api.Index, err error)

// Propose offers data as the next entry. The group owns data from then on. It waits while the
// library's buffer is full, at most for an election timeout; proposals of one caller enter the
// log in the order of the calls, or not at all. NOT_LEADER if this replica does not lead or is not
// ready (R11).
func (g *Group) Propose(data []byte) *Proposal {
	p := &Proposal{done: make(chan struct{})}
	g.ProposeThen(data, p.settle)
	return p
}

// ProposeThen is Propose for a caller that does not wait: settled is called once, in the order of
// the proposals, by a goroutine of the group, or before ProposeThen returns if nothing was given to
// the library. It must return soon.
func (g *Group) ProposeThen(data []byte, settled func(result any, index api.Index, err error)) {
	if _, err := g.readyLeader(); err != nil {
		settled(nil, 0, notExecuted(err))
		return
	}
	g.propose(data, settled)
}

// proposeUnready is Propose for a leader that need not be ready.
func (g *Group) proposeUnready(data []byte) *Proposal {
	p := &Proposal{done: make(chan struct{})}
	g.propose(data, p.settle)
	return p
}

func (g *Group) propose(data []byte, settled settle) {
	if len(data) > api.MaxEntryBytes {
		settled(nil, 0, api.Errorf(api.CodeTooLarge, "an entry of %d bytes is over the limit of %d", len(data), api.MaxEntryBytes))
		return
	}
	if err := g.unwell(); err != nil {
		settled(nil, 0, notExecuted(err))
		return
	}
	i := g.current.Load()
	if i.raft.State() != hraft.Leader {
		settled(nil, 0, g.notLeader("group %s is led elsewhere", g.id))
		return
	}
	if err := i.enter(); err != nil {
		settled(nil, 0, err)
		return
	}
	defer i.entering.Done()
	f := i.raft.ApplyLog(hraft.Log{Data: data}, g.host.opts.Timing.ElectionTimeout)
	abandonable(f, i.stopped)
	i.inflight <- inflightProposal{f, settled}
}

// notExecuted is err for a proposal that never reached the log: a failed store may otherwise
// have done anything.
func notExecuted(err error) error {
	if errors.Is(err, api.ErrStoreFailed) {
		return api.Errorf(api.CodeUnavailable, "%w", err)
	}
	return err
}

func (p *Proposal) settle(result any, index api.Index, err error) {
	p.result, p.index, p.err = result, index, err
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
		return p.result, p.index, p.err
	case <-ctx.Done():
		return nil, 0, api.Errorf(api.CodeUnknownOutcome, "stopped waiting for a proposal: %w", ctx.Err())
	}
}

// Done is closed when Wait would not block.
func (p *Proposal) Done() <-chan struct{} { return p.done }

type inflightProposal struct {
	future  hraft.ApplyFuture
	settled settle
}

// maxInflightProposals bounds what the library has; a shard keeps four on their way.
const maxInflightProposals = 1024

// enter announces a proposal, for which close waits.
func (i *instance) enter() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.mu.closed:
		return i.group.notLeader("group %s is stopping here", i.group.id)
	case i.mu.proposals == maxInflightProposals:
		return api.Errorf(api.CodeOverloaded, "group %s has %d proposals on their way", i.group.id, i.mu.proposals)
	}
	i.mu.proposals++
	i.entering.Add(1)
	return nil
}

func (i *instance) leave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mu.proposals--
}

// completeLoop waits for the library in the order of the proposals, which is the order in
// which it answers.
func (i *instance) completeLoop() {
	for p := range i.inflight {
		err := p.future.Error()
		i.leave()
		if err != nil {
			p.settled(nil, 0, i.group.classify(err))
			continue
		}
		result := p.future.Response()
		if _, ok := result.(refused); ok {
			p.settled(nil, 0, api.Errorf(api.CodeUnknownOutcome, "%w", errGroupFailed))
			continue
		}
		p.settled(result, api.Index(p.future.Index()), nil)
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
