package evaluate

import (
	"math"

	"github.com/lightning-db/lightning/api"
)

// Expired says whether an expiry has come at a time; an expiry of 0 never does.
func Expired(expiryMillis, nowMillis uint64) bool {
	return expiryMillis != 0 && expiryMillis <= nowMillis
}

// holds checks the condition of an operation.
func (e *Evaluator) holds(op *api.Op, current Row) bool {
	switch op.Condition.Kind {
	case api.ConditionAbsent:
		return !current.Live
	case api.ConditionPresent:
		return current.Live
	case api.ConditionVersion:
		return current.Version == op.Condition.Version
	case api.ConditionPersistent:
		return current.Live && current.ExpiryMillis == 0
	case api.ConditionExpiring:
		return current.ExpiryMillis != 0
	case api.ConditionExpiresLater:
		return current.ExpiryMillis != 0 && e.wish(op.Expiry, current).after(current.ExpiryMillis)
	case api.ConditionExpiresSooner:
		return current.Live && e.wish(op.Expiry, current).before(current.ExpiryMillis)
	case api.ConditionExpiringSooner:
		return current.ExpiryMillis != 0 && e.wish(op.Expiry, current).before(current.ExpiryMillis)
	default:
		return true
	}
}

// expiry is a wish made absolute: a time, or never.
type expiry struct {
	millis uint64
	never  bool
}

// wish makes an expiry absolute. A relative one that does not fit is at the end of time.
func (e *Evaluator) wish(w api.Expiry, current Row) expiry {
	switch w.Mode {
	case api.ExpiryKeep:
		return expiry{millis: current.ExpiryMillis, never: current.ExpiryMillis == 0}
	case api.ExpiryAt:
		return expiry{millis: w.Millis}
	case api.ExpiryAfter:
		now := e.Version.Millis()
		if w.Millis > math.MaxUint64-now {
			return expiry{millis: math.MaxUint64}
		}
		return expiry{millis: now + w.Millis}
	default:
		return expiry{never: true}
	}
}

// after reports whether x is later than a row's expiry that is not 0.
func (x expiry) after(rowMillis uint64) bool { return x.never || x.millis > rowMillis }

// before reports whether x is sooner than a row's expiry, of which 0 means never.
func (x expiry) before(rowMillis uint64) bool {
	return !x.never && (rowMillis == 0 || x.millis < rowMillis)
}

// expiring gives a row the expiry that is wished for. A time that has already come deletes the
// key at once, as Redis does.
func (e *Evaluator) expiring(r Row, w api.Expiry, current Row) Row {
	x := e.wish(w, current)
	r.ExpiryMillis, r.Live = x.millis, x.never || x.millis > e.Version.Millis()
	return r
}
