package shard

import (
	"context"

	"github.com/lightning-db/lightning/api"
)

// Outcome is what one command of a Pending came to.
type Outcome struct {
	Result api.Result
	Err    error
}

// Pending are commands of one caller on their way through a shard, in their order.
type Pending struct {
	shard    *Shard
	commands []Command
	outcomes []Outcome
	// written are the commands that go through the log, by their places in outcomes; empty when
	// all commands only read.
	written []int
	waiters []*waiter
}

// Begin puts commands on their way, in their order, and does not wait. Each sees what the ones
// before it did. If one of them is not executed for a reason that a retry may cure, none behind
// it is, so that a caller may begin again from there, under the same request ids. A command that
// can never be applied is answered as such and keeps no other from being applied. The caller
// keeps the commands and what they point to unchanged until Wait has returned.
//
// Commands that all only read need no entry of the log, and are answered from one snapshot.
func (s *Shard) Begin(ctx context.Context, commands []Command) *Pending {
	p := &Pending{shard: s, commands: commands, outcomes: make([]Outcome, len(commands))}
	reads := true
	for i := range commands {
		reads = reads && commands[i].ReadsOnly()
	}
	var encoded [][]byte
	for i := range commands {
		command, err := s.encode(&commands[i], reads)
		if err != nil {
			p.outcomes[i].Err = err
			continue
		}
		if !reads {
			encoded = append(encoded, command)
			p.written = append(p.written, i)
		}
	}
	if len(p.written) == 0 {
		return p
	}
	err := ctx.Err()
	if err != nil {
		err = api.Errorf(api.CodeExpired, "not proposed: %w", context.Cause(ctx))
	} else if !s.group.IsReadyLeader() {
		err = s.notLeader()
	} else {
		p.waiters, err = s.proposer.begin(encoded)
	}
	if err != nil {
		for _, i := range p.written {
			p.outcomes[i].Err = hint(err, s.options.ID)
		}
	}
	return p
}

func (s *Shard) encode(c *Command, reads bool) ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if reads {
		return nil, nil
	}
	encoded := EncodeCommand(*c)
	if len(encoded) > maxCommandBytes {
		return nil, api.Errorf(api.CodeTooLarge, "a command of %d bytes is over the limit of %d", len(encoded), maxCommandBytes)
	}
	return encoded, nil
}

// Wait returns the outcomes, one for each command, in their order. Once ctx ends, what is not
// proposed is refused and what is has an unknown outcome. It is called once.
func (p *Pending) Wait(ctx context.Context) []Outcome {
	if len(p.written) == 0 {
		p.read(ctx)
		return p.outcomes
	}
	for i, w := range p.waiters {
		o := &p.outcomes[p.written[i]]
		answer, err := w.wait(ctx)
		if err == nil && answer.Err != nil {
			err = answer.Err
		}
		if err != nil {
			o.Err = hint(err, p.shard.options.ID)
			continue
		}
		if o.Result = answer.Result; p.commands[p.written[i]].ReadsOnly() {
			o.Result.Version = 0 // nothing was written
		}
	}
	return p.outcomes
}

func (p *Pending) read(ctx context.Context) {
	for i := range p.commands {
		if o := &p.outcomes[i]; o.Err == nil {
			o.Result, o.Err = p.shard.readBatch(ctx, &p.commands[i])
		}
	}
}
