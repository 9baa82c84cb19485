package shard

import (
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Sessions, part of the meaning of a write (evaluateWrite) and of a tick (evaluateTick).
const (
	// sessionHorizonMillis: a session that the shard does not know is taken as new if it was
	// created within that time, and as forgotten otherwise. It is also how long an idle session
	// is kept. An hour is far beyond any retry; whoever uses a session for the first time on
	// some shard must do it within that hour.
	sessionHorizonMillis = uint64(time.Hour / time.Millisecond)

	// lastUsedStepMillis is the precision of a session's last use: one row written a minute
	// instead of one for every command.
	lastUsedStepMillis = uint64(time.Minute / time.Millisecond)

	// maxSessions bounds the session rows of a shard: about 100 MB of rows at worst, and ten
	// times the sessions of 100,000 connections that each change theirs twice within the hour.
	maxSessions = 1 << 20

	// sweepEveryMillis and maxSweepRows bound the work of ticks: at most 4096 rows (and the
	// rest of one session) a second.
	sweepEveryMillis = uint64(time.Second / time.Millisecond)
	maxSweepRows     = 4096
)

// openSession is a session as of the last command evaluated: it is in the engine, or goes there
// with the run.
type openSession struct {
	id api.SessionID
	window
	known   bool // there is a row
	changed bool // the run must write it, or delete it if it is not known any more
}

// idle reports whether a session may be forgotten: nobody used it for the horizon, and it was
// created before the horizon, so that its requests are refused from then on (S4).
func (w *window) idle(id api.SessionID, nowMillis uint64) bool {
	return w.lastUsedMillis+sessionHorizonMillis <= nowMillis && id.CreatedMillis+sessionHorizonMillis < nowMillis
}

// session finds a session.
func (r *run) session(id api.SessionID) (*openSession, error) {
	if s := r.sessions[id]; s != nil {
		return s, nil
	}
	r.key = appendSessionKey(r.key[:0], id)
	found, known, err := r.db.Get(r.key, engine.MaxVersion)
	if err != nil {
		return nil, err
	}
	s := &openSession{id: id, known: known}
	if known {
		if err := decodeWindow(&s.window, found.Value); err != nil {
			return nil, err
		}
	}
	r.sessions[id] = s
	return s, nil
}

// change notes that the run must write a session's row.
func (r *run) change(s *openSession) {
	if !s.changed {
		s.changed = true
		r.changed = append(r.changed, s)
	}
}

// maxOpenSessions is how many sessions are remembered from one run to the next, as a cache.
const maxOpenSessions = 1024

// commitSessions puts the rows of the sessions that have changed into the batch.
func (r *run) commitSessions(v engine.Version) {
	for _, s := range r.changed {
		s.changed = false
		r.key = appendSessionKey(r.key[:0], s.id)
		if s.known {
			r.value = s.append(r.value[:0])
			r.batch.Put(r.key, r.value, v, 0)
		} else {
			r.batch.Delete(r.key, v)
		}
	}
	clear(r.changed)
	r.changed = r.changed[:0]
	if len(r.sessions) > maxOpenSessions {
		clear(r.sessions)
	}
}

// admission is what a session says about a request before it is evaluated.
type admission struct {
	session *openSession
	// duplicate is the answer that was given before, of so many bytes; nil for a request not seen
	// yet.
	duplicate      *Answer
	duplicateBytes int
	refusal        *api.Error
}

// admit decides whether a protected request may be evaluated. It changes nothing.
func (r *run) admit(req api.RequestID, nowMillis uint64) (admission, error) {
	s, err := r.session(req.Session)
	if err != nil {
		return admission{}, err
	}
	a := admission{session: s}
	if !s.known {
		a.refusal = r.admitNewSession(req, nowMillis)
		return a, nil
	}
	floor := max(s.floor, req.Floor)
	switch {
	case req.Sequence < floor:
		a.refusal = api.Errorf(api.CodeReleased, "request %d is below the session's floor %d", req.Sequence, floor)
		return a, nil
	case req.Sequence-floor >= api.MaxSessionWindow:
		a.refusal = errWindow(req.Sequence, floor)
		return a, nil
	}
	at, found := s.find(req.Sequence)
	if !found || seededbug.Enabled(seededbug.ShardRunTwice) {
		return a, nil
	}
	a.duplicate, a.duplicateBytes, err = r.answerOf(s, &s.kept[at])
	return a, err
}

// answerOf is an answer that was given before, and its length.
func (r *run) answerOf(s *openSession, k *kept) (*Answer, int, error) {
	if k.form != keptApart {
		answer, err := k.answer()
		return &answer, len(k.whole), err
	}
	raw, found, err := r.System(answerKey(s.id, k.sequence))
	if err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, fmt.Errorf("the answer of request %d is missing: %w", k.sequence, errMalformed)
	}
	answer, err := decodeAnswer(raw)
	return &answer, len(raw), err
}

func errWindow(sequence, floor uint64) *api.Error {
	return api.Errorf(api.CodeInvalid, "request %d is beyond the window of %d from the session's floor %d", sequence, api.MaxSessionWindow, floor)
}

// admitNewSession decides about a session without a row. One that is older than the horizon may
// have been here and been forgotten, so nothing may run under it (S4).
func (r *run) admitNewSession(req api.RequestID, nowMillis uint64) *api.Error {
	id := req.Session
	switch {
	case req.Sequence-req.Floor >= api.MaxSessionWindow:
		return errWindow(req.Sequence, req.Floor)
	case id.CreatedMillis+sessionHorizonMillis < nowMillis:
		return api.Errorf(api.CodeReleased, "the session was created %d ms before the shard's time and is not known", nowMillis-id.CreatedMillis)
	case id.CreatedMillis > nowMillis+sessionHorizonMillis:
		return api.Errorf(api.CodeInvalid, "the session was created %d ms after the shard's time: check the client's clock", id.CreatedMillis-nowMillis)
	case r.state.sessions >= maxSessions:
		return api.Errorf(api.CodeOverloaded, "the shard keeps %d sessions already", r.state.sessions)
	}
	return nil
}

// touch records that a session was used: its floor, its last use, and the answers that the
// floor releases.
func (r *run) touch(req api.RequestID, s *openSession, nowMillis uint64) {
	if !s.known {
		r.state.sessions++
		s.known, s.window = true, window{floor: req.Floor, lastUsedMillis: nowMillis, kept: s.kept[:0]}
		r.change(s)
		return
	}
	if nowMillis-min(nowMillis, s.lastUsedMillis) >= lastUsedStepMillis {
		s.lastUsedMillis = nowMillis
		r.change(s)
	}
	if req.Floor > s.floor {
		s.release(req.Floor, func(sequence uint64) { r.DeleteSystem(answerKey(s.id, sequence)) })
		r.change(s)
	}
}

// keep keeps the answer of a request until it is released.
func (r *run) keep(req api.RequestID, s *openSession, answer *Answer) error {
	apart, err := s.keep(req.Sequence, answer)
	if err != nil {
		return err
	}
	if apart != nil {
		r.PutSystem(answerKey(req.Session, req.Sequence), apart)
	}
	r.change(s)
	return nil
}

// forget drops a session without its answers.
func (r *run) forget(id api.SessionID) {
	s := r.sessions[id]
	if s == nil {
		s = &openSession{id: id}
		r.sessions[id] = s
	}
	r.state.sessions--
	s.known, s.window = false, window{}
	r.change(s)
}

// sweep cleans up, a bounded amount at a time: parts of values, then idle sessions, going round through
// all of them; or rows of other shards. It must run on an empty overlay: it reads the engine alone.
func (r *run) sweep(v api.Version) error {
	nowMillis := v.Millis()
	if r.state.wantsForeignTick(nowMillis) && r.state.foreign.sweptMillis <= r.state.sweptMillis {
		return r.sweepForeign(v) // they take turns
	}
	if r.state.sessions+r.state.parts.Stagings+r.state.parts.Due == 0 || nowMillis < r.state.sweptMillis+sweepEveryMillis {
		return r.sweepForeign(v)
	}
	r.state.sweptMillis = nowMillis
	_, end := allSessions()
	snapshot := r.db.Snapshot()
	defer snapshot.Close()
	if err := r.sweepParts(snapshot, v); err != nil {
		return fmt.Errorf("sweep parts of values: %w", err)
	}
	if r.state.sessions == 0 {
		return nil
	}
	it := snapshot.NewIterator(engine.IteratorOptions{
		Start: appendSessionPrefix(nil, r.state.sweepFrom), End: end, At: engine.MaxVersion,
	})
	next, err := r.sweepFrom(it, nowMillis)
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sweep sessions: %w", err)
	}
	r.state.sweepFrom = next
	return nil
}

// sweepFrom walks over sessions from the iterator's start and returns the session to go on from
// next time, the zero one for the beginning. Sessions sort by age, so the first one that is too
// young ends the round.
func (r *run) sweepFrom(it *engine.Iterator, nowMillis uint64) (api.SessionID, error) {
	rows := 0
	for ok := it.First(); ok; {
		id, kind, err := sessionOfKey(it.Row().Key)
		if err != nil {
			return api.SessionID{}, err
		}
		if kind != sessionRow {
			return api.SessionID{}, fmt.Errorf("an answer without a session: %w", errMalformed)
		}
		if id.CreatedMillis+sessionHorizonMillis >= nowMillis {
			return api.SessionID{}, nil
		}
		if rows >= maxSweepRows {
			return id, nil
		}
		head := byteReader{rest: it.Row().Value}
		var w window
		if readWindowHead(&head, &w); head.bad {
			return api.SessionID{}, fmt.Errorf("decode session row: %w", errMalformed)
		}
		if !w.idle(id, nowMillis) {
			rows++
			ok = it.SeekGE(append(appendSessionPrefix(nil, id), answerRow+1))
			continue
		}
		r.forget(id)
		rows++
		for ok = it.Next(); ok; ok = it.Next() {
			following, _, err := sessionOfKey(it.Row().Key)
			if err != nil {
				return api.SessionID{}, err
			}
			if following != id {
				break
			}
			r.DeleteSystem(append([]byte(nil), it.Row().Key...))
			rows++
		}
	}
	return api.SessionID{}, it.Err()
}
