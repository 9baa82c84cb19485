package shard

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
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

// session is the row of one session. Its creation time is in its key.
type session struct {
	// floor is the lowest sequence that is not released.
	floor uint64
	// lastUsedMillis is shard time, at most lastUsedStepMillis too low.
	lastUsedMillis uint64
}

const sessionFormat = 1

// encode writes the row: format u8 = 1 | floor uvarint | last used uvarint.
func (s session) encode() []byte {
	dst := make([]byte, 0, 1+2*uvarintBytes)
	dst = append(dst, sessionFormat)
	dst = binary.AppendUvarint(dst, s.floor)
	return binary.AppendUvarint(dst, s.lastUsedMillis)
}

func decodeSession(b []byte) (session, error) {
	r := byteReader{rest: b}
	if format := r.byte(); r.bad || format != sessionFormat {
		return session{}, fmt.Errorf("decode session row: format: %w", errMalformed)
	}
	s := session{floor: r.uvarint(), lastUsedMillis: r.uvarint()}
	if err := r.done(); err != nil {
		return session{}, fmt.Errorf("decode session row: %w", err)
	}
	return s, nil
}

// idle reports whether a session may be forgotten: nobody used it for the horizon, and it was
// created before the horizon, so that its requests are refused from then on (S4).
func (s session) idle(id api.SessionID, nowMillis uint64) bool {
	return s.lastUsedMillis+sessionHorizonMillis <= nowMillis && id.CreatedMillis+sessionHorizonMillis < nowMillis
}

// admission is what the session rows say about a request before it is evaluated.
type admission struct {
	session session
	known   bool // the session has a row
	// duplicate is the answer that was given before; nil for a request not seen yet.
	duplicate      *Answer
	duplicateBytes int
	refusal        *api.Error
}

// admit decides whether a protected request may be evaluated. It changes nothing.
func (r *run) admit(req api.RequestID, nowMillis uint64) (admission, error) {
	raw, known, err := r.system(sessionKey(req.Session))
	if err != nil {
		return admission{}, err
	}
	a := admission{known: known, session: session{floor: req.Floor}}
	if !known {
		a.refusal = r.admitNewSession(req, nowMillis)
		return a, nil
	}
	if a.session, err = decodeSession(raw); err != nil {
		return admission{}, err
	}
	floor := max(a.session.floor, req.Floor)
	switch {
	case req.Sequence < floor:
		a.refusal = api.Errorf(api.CodeReleased, "request %d is below the session's floor %d", req.Sequence, floor)
		return a, nil
	case req.Sequence-floor >= api.MaxSessionWindow:
		a.refusal = errWindow(req.Sequence, floor)
		return a, nil
	}
	kept, found, err := r.system(answerKey(req.Session, req.Sequence))
	if err != nil || !found {
		return a, err
	}
	answer, err := decodeAnswer(kept)
	if err != nil {
		return admission{}, err
	}
	a.duplicate, a.duplicateBytes = &answer, len(kept)
	return a, nil
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
func (r *run) touch(req api.RequestID, a admission, nowMillis uint64) error {
	next := session{floor: max(a.session.floor, req.Floor), lastUsedMillis: a.session.lastUsedMillis}
	if !a.known {
		r.state.sessions++
	}
	if !a.known || nowMillis-min(nowMillis, next.lastUsedMillis) >= lastUsedStepMillis {
		next.lastUsedMillis = nowMillis
	}
	if a.known && next == a.session {
		return nil
	}
	r.putSystem(sessionKey(req.Session), next.encode())
	if !a.known {
		return nil
	}
	return r.release(req.Session, a.session.floor, next.floor)
}

// release deletes the answers of the sequences s with from <= s < to. Answers lie within a
// window above the floor, so a floor that jumps further costs no more.
func (r *run) release(id api.SessionID, from, to uint64) error {
	if to-from > api.MaxSessionWindow {
		to = from + api.MaxSessionWindow
	}
	for s := from; s < to; s++ {
		key := answerKey(id, s)
		_, found, err := r.system(key)
		if err != nil {
			return err
		}
		if found {
			r.deleteSystem(key)
		}
	}
	return nil
}

// sweep forgets idle sessions, a bounded number at a time, going round through all of them. It
// must run on an empty overlay: it reads the engine alone.
func (r *run) sweep(nowMillis uint64) error {
	if r.state.sessions == 0 || nowMillis < r.state.sweptMillis+sweepEveryMillis {
		return nil
	}
	r.state.sweptMillis = nowMillis
	_, end := allSessions()
	snapshot := r.db.Snapshot()
	defer snapshot.Close()
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
		s, err := decodeSession(it.Row().Value)
		if err != nil {
			return api.SessionID{}, err
		}
		if !s.idle(id, nowMillis) {
			rows++
			ok = it.SeekGE(append(appendSessionPrefix(nil, id), answerRow+1))
			continue
		}
		r.state.sessions--
		for same := true; ok && same; {
			r.deleteSystem(append([]byte(nil), it.Row().Key...))
			rows++
			if ok = it.Next(); ok {
				var following api.SessionID
				if following, _, err = sessionOfKey(it.Row().Key); err != nil {
					return api.SessionID{}, err
				}
				same = following == id
			}
		}
	}
	return api.SessionID{}, it.Err()
}
