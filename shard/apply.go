package shard

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
)

// Applied is what an entry came to.
type Applied struct {
	// First is the version of the first command; each later one's is one more. 0 when the entry was
	// not executed.
	First api.Version
	// Answers has one for each command.
	Answers []Answer
	// Broken says that the run of the entry ends here: nothing more of it will be applied (S9).
	Broken bool
}

// ErrOutOfOrder refuses what stands behind something of its run that was not applied.
var ErrOutOfOrder = api.Errorf(api.CodeUnavailable, "an entry before this one was refused: retry")

// apply evaluates one entry into the run. Its result is nil for an entry that only changes the
// membership.
func (m *Machine) apply(r *run, e *raft.Entry) (*Applied, error) {
	position := engine.Position{Index: uint64(e.Index), Term: uint64(e.Term)}
	if e.Configuration != nil {
		r.state.beginTerm(e.Term)
		r.membership = e.Configuration
		r.handle.Members.Add(*e.Configuration)
		r.position = position
		return nil, nil
	}
	entry, err := openEntry(e.Data)
	if err != nil {
		return nil, err
	}
	if entry.maintains() {
		// Maintenance reads the engine alone, so what the run holds goes there first.
		if err := m.commit(r); err != nil {
			return nil, err
		}
	}
	r.state.beginTerm(e.Term)
	r.state.ceilingMillis = max(r.state.ceilingMillis, entry.CeilingMillis)
	applied := &Applied{Answers: make([]Answer, entry.count)}
	if r.state.follows(entry.Run, entry.Sequence) {
		err = m.applyCommands(r, &entry, position, applied)
	} else {
		applied.refuse(0)
	}
	for i := range applied.Answers {
		r.effects.answer(&applied.Answers[i])
	}
	r.state.takeIn(e.Index, &r.effects)
	r.digests = append(r.digests, digestAt{e.Index, r.state.digest})
	r.position = position
	return applied, err
}

// refuse refuses the commands from one on.
func (a *Applied) refuse(from int) {
	a.Broken = true
	for i := from; i < len(a.Answers); i++ {
		a.Answers[i] = Answer{Err: ErrOutOfOrder}
	}
}

func (m *Machine) applyCommands(r *run, entry *entryReader, at engine.Position, applied *Applied) error {
	r.carried = 0
	r.keeper.Begin()
	r.batch.Grow(entry.count+2, len(entry.rest.rest)+entry.count*rows.MaxOverheadBytes)
	r.evaluator.Results = make([]api.OpResult, 0, entry.count)
	leading := true
	for i := range applied.Answers {
		if err := r.decode(entry.next()); err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
		c := &r.command
		leading = leading && c.opcode != opWrite && c.opcode != opStage
		v := r.state.nextVersion(entry.Time)
		if i == 0 {
			applied.First = v
		}
		var err error
		if c.opcode == opSplit {
			applied.Answers[i], err = m.applySplitAlone(r, c.split, entry, at)
		} else {
			applied.Answers[i], err = m.applyCommand(r, c, v, leading)
		}
		if err != nil {
			return fmt.Errorf("command %d: %w", i, err)
		}
		if applied.Answers[i].Err == evaluate.ErrOverloaded {
			// It may be tried again, so nothing behind it may be executed before.
			r.state.next = noNext
			applied.refuse(i + 1)
			return nil
		}
	}
	return nil
}

// applyCommand evaluates a command. leading says that no write stands
// before it in its entry; only then does a tick sweep, so that what it sees does not depend on
// how entries were grouped into runs (S1).
func (m *Machine) applyCommand(r *run, c *decoded, v api.Version, leading bool) (Answer, error) {
	switch c.opcode {
	case opConfigure:
		return Answer{}, m.applyConfigure(r, c.configure)
	case opTick:
		if leading {
			return Answer{}, r.sweep(v)
		}
		return Answer{}, nil
	case opStage:
		return r.applyStage(&c.write, v)
	default:
		return r.applyWrite(&c.write, v)
	}
}

// applyConfigure initialises a fresh shard; later ones do nothing.
func (m *Machine) applyConfigure(r *run, c configuration) error {
	if c.shard != m.id {
		return fmt.Errorf("shard %d: the log configures shard %d", m.id, c.shard)
	}
	if r.state.configured {
		return nil
	}
	r.state.configured = true
	r.state.shard = c.shard
	r.state.arc = router.Arc{Start: c.start, End: c.end}
	r.state.epoch = c.epoch
	r.state.retentionMillis = c.retentionMillis
	return nil
}

// applyWrite decides what a command comes to. The order of the checks is part of its meaning:
// ownership, the request id, the deadline, the form, the operations.
func (r *run) applyWrite(c *Command, v api.Version) (Answer, error) {
	if refusal := r.state.checkOwnership(c); refusal != nil {
		return Answer{Err: refusal}, nil
	}
	now := v.Millis()
	if c.Request.IsZero() {
		return r.evaluate(c, v)
	}
	if refusal := checkRequest(c.Request); refusal != nil {
		return Answer{Err: refusal}, nil
	}
	a, err := r.admit(c.Request, now)
	if err != nil {
		return Answer{}, err
	}
	if a.refusal != nil {
		return Answer{Err: a.refusal}, nil
	}
	if a.duplicate != nil {
		if r.carried += a.duplicateBytes; r.carried > evaluate.MaxCarriedBytes {
			return Answer{Err: evaluate.ErrOverloaded}, nil
		}
		r.touch(c.Request, a.session, now)
		return *a.duplicate, nil
	}
	answer, err := r.evaluate(c, v)
	if err != nil || !answer.kept() {
		return answer, err
	}
	if err := r.keeper.Publish(c.Request, r.values, v); err != nil {
		return Answer{}, err
	}
	r.touch(c.Request, a.session, now)
	return answer, r.keep(c.Request, a.session, &answer)
}

// checkOwnership refuses a command that was routed by another epoch, or that names a slot which
// is not this shard's (S5).
func (s *state) checkOwnership(c *Command) *api.Error {
	if refusal := s.checkEpoch(c.Epoch); refusal != nil {
		return refusal
	}
	for i := range c.Batch.Ops {
		op := &c.Batch.Ops[i]
		if refusal := s.checkSlot(router.Slot(c.Batch.Namespace, op.Key)); refusal != nil {
			return refusal
		}
		if op.HasSource() {
			if refusal := s.checkSlot(router.Slot(c.Batch.Namespace, op.Source)); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

func (s *state) checkSlot(slot api.Slot) *api.Error {
	if !s.arc.Contains(slot) && !seededbug.Enabled(seededbug.ShardTakeAnySlot) {
		return s.stale("slot %d is not in the arc %s of shard %d", slot, s.arc, s.shard)
	}
	return nil
}

func (s *state) checkEpoch(e api.Epoch) *api.Error {
	switch {
	case !s.configured:
		return s.stale("the shard has no arc yet")
	case e != s.epoch:
		return s.stale("routed by epoch %d of shard %d, which is at epoch %d", e, s.shard, s.epoch)
	}
	return nil
}

func (s *state) stale(format string, args ...any) *api.Error {
	err := api.Errorf(api.CodeStaleMap, format, args...)
	err.Shard, err.Epoch = s.shard, s.epoch
	return err
}

// evaluate checks deadline and form, runs the operations, and adds what they change to the run.
func (r *run) evaluate(c *Command, v api.Version) (Answer, error) {
	if c.DeadlineMillis != 0 && v.Millis() > c.DeadlineMillis {
		return Answer{Err: api.Errorf(api.CodeExpired, "the shard's time is %d ms past the deadline", v.Millis()-c.DeadlineMillis)}, nil
	}
	if _, refusal := evaluate.CheckInParts(&c.Batch); refusal != nil {
		return Answer{Err: refusal}, nil
	}
	refusal, err := r.keeper.Resolve(c.Request, &c.Batch)
	if err != nil || refusal != nil {
		return Answer{Err: refusal}, err
	}
	e := &r.evaluator
	e.Reset(v, r.carried)
	res, refusal, err := e.Run(&c.Batch)
	r.carried += e.Carried()
	if err == nil {
		err = r.putRows(c.Batch.Namespace, e.Writes(), v)
	}
	return Answer{Result: res, Err: refusal}, err
}
