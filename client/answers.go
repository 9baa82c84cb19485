package client

import (
	"bytes"
	"slices"

	"github.com/lightning-db/lightning/api"
)

const (
	// maxAnswers and maxAnswerBytes bound what an embedded store remembers of requests: enough
	// for the retries of any number of goroutines that a process can have waiting for a disk.
	maxAnswers     = 4096
	maxAnswerBytes = 16 << 20

	// maxAnswerSessions bounds the sessions of which it knows what it has forgotten.
	maxAnswerSessions = 1024

	answerOverheadBytes = 256 // about what an answer takes beside its values
)

// answers is what requests came to, so that one that is repeated does not run again. What it
// cannot know any more it refuses (K6). The zero value is empty. Guarded by its owner's lock.
type answers struct {
	// unknownMillis: sessions made at or before this time that are not in the map may have had
	// answers here.
	unknownMillis uint64
	sessions      map[api.SessionID]*answered
	order         []answerName // oldest first; those that were released are skipped
	count, bytes  int
}

// answered is one session. Requests below floor are forgotten.
type answered struct {
	floor  uint64
	answer map[uint64]*answer
}

type answerName struct {
	session  api.SessionID
	sequence uint64
}

// answer is what evaluation came to: a result, or a refusal.
type answer struct {
	result  api.Result
	refusal *api.Error
	bytes   int
}

// admit returns the answer of a request that was made before, or a refusal if nobody can know.
func (a *answers) admit(r api.RequestID) (*answer, *api.Error) {
	s := a.sessions[r.Session]
	if s == nil {
		if r.Session.CreatedMillis <= a.unknownMillis {
			return nil, api.Errorf(api.CodeReleased, "the session of the request is older than what this store remembers")
		}
		s = a.begin(r.Session)
	}
	if s.floor < r.Floor {
		s.floor = r.Floor
		for sequence := range s.answer {
			if sequence < s.floor {
				a.forget(s, sequence)
			}
		}
	}
	if r.Sequence < s.floor {
		return nil, api.Errorf(api.CodeReleased, "request %d was released: the session keeps answers from %d on", r.Sequence, s.floor)
	}
	return s.answer[r.Sequence], nil
}

// begin remembers a session, and forgets the one that was made first if there are too many.
func (a *answers) begin(id api.SessionID) *answered {
	if a.sessions == nil {
		a.sessions = make(map[api.SessionID]*answered)
	}
	if len(a.sessions) >= maxAnswerSessions {
		var first *api.SessionID
		for other := range a.sessions {
			if first == nil || other.CreatedMillis < first.CreatedMillis {
				first = &other
			}
		}
		for sequence := range a.sessions[*first].answer {
			a.forget(a.sessions[*first], sequence)
		}
		delete(a.sessions, *first)
		a.unknownMillis = max(a.unknownMillis, first.CreatedMillis)
	}
	s := &answered{floor: 1, answer: make(map[uint64]*answer)}
	a.sessions[id] = s
	return s
}

// keep remembers what a request that admit let pass came to.
func (a *answers) keep(r api.RequestID, result api.Result, refusal *api.Error) *answer {
	s := a.sessions[r.Session]
	kept := &answer{result: result, refusal: refusal, bytes: answerOverheadBytes}
	for _, op := range result.Ops {
		kept.bytes += len(op.Previous) + len(op.Text) + answerOverheadBytes
	}
	s.answer[r.Sequence] = kept
	a.order = append(a.order, answerName{r.Session, r.Sequence})
	a.count++
	a.bytes += kept.bytes
	for a.count > 1 && (a.count > maxAnswers || a.bytes > maxAnswerBytes) {
		a.dropOldest()
	}
	if len(a.order) > 2*maxAnswers {
		a.order = slices.DeleteFunc(a.order, func(n answerName) bool { return !a.has(n) })
	}
	return kept
}

func (a *answers) has(n answerName) bool {
	s := a.sessions[n.session]
	return s != nil && s.answer[n.sequence] != nil
}

// dropOldest forgets the oldest answer, and with it all requests of its session up to it.
func (a *answers) dropOldest() {
	oldest := a.order[0]
	a.order = a.order[1:]
	s := a.sessions[oldest.session]
	if !a.has(oldest) {
		return
	}
	for sequence := range s.answer {
		if sequence <= oldest.sequence {
			a.forget(s, sequence)
		}
	}
	s.floor = max(s.floor, oldest.sequence+1)
}

func (a *answers) forget(s *answered, sequence uint64) {
	if kept := s.answer[sequence]; kept != nil {
		a.count--
		a.bytes -= kept.bytes
		delete(s.answer, sequence)
	}
}

// cloneResult copies what a caller may change.
func cloneResult(r api.Result) api.Result {
	r.Ops = slices.Clone(r.Ops)
	for i := range r.Ops {
		r.Ops[i].Previous, r.Ops[i].Text = bytes.Clone(r.Ops[i].Previous), bytes.Clone(r.Ops[i].Text)
	}
	return r
}
