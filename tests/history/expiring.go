package history

import (
	"time"

	"github.com/anishathalye/porcupine"
)

// expiringState is a register whose value may have an end. The end is known only as well as the moment at
// which the write took effect: not before soonest, at the latest at latest.
type expiringState struct {
	registerState
	ends            bool
	soonest, latest time.Duration
}

// Expiring is the model of a register whose writes may say, by Input.Lives, how long the value is there. The time
// of the store may differ from the recorder's: early and late say how much before and after its end a value
// may be found to have ended. Whatever these are, a value that was once seen ended never comes back, for readers and
// for conditions alike.
func Expiring(early, late time.Duration) porcupine.Model {
	model := porcupine.NondeterministicModel{
		Partition: partition,
		Init:      func() []any { return []any{expiringState{}} },
		Step: func(s, i, o any) []any {
			return s.(expiringState).step(i.(Input), o.(Output), early, late)
		},
		DescribeOperation: func(in, out any) string { return describe(in.(Input), out.(Output)) },
		DescribeState:     func(s any) string { return s.(expiringState).String() },
	}
	return model.ToModel()
}

// step lists the states in which the key may be after an operation.
func (s expiringState) step(in Input, out Output, early, late time.Duration) (next []any) {
	if !s.ends || in.called <= s.latest { // it may be there still
		next = s.perform(in, out, early, late, next)
	}
	if s.ends && in.returned >= s.soonest {
		gone := expiringState{registerState: registerState{floor: s.floor}}
		next = gone.perform(in, out, early, late, next)
	}
	return next
}

// perform appends the states after an operation on the key as it is.
func (s expiringState) perform(in Input, out Output, early, late time.Duration, next []any) []any {
	ok, after := stepRegister(s.registerState, in, out)
	if !ok {
		return next
	}
	register := after.(registerState)
	writes := in.Kind == Write || in.Kind == CompareAndSet && in.Expected.Found == s.Found && in.Expected.Value == s.Value
	result := expiringState{registerState: register}
	switch {
	case writes && in.Lives > 0:
		result.ends = true
		result.soonest, result.latest = later(in.called, in.Lives-early), later(in.returned, in.Lives+late)
	case !writes && register.Found:
		result.ends, result.soonest, result.latest = s.ends, s.soonest, s.latest
	}
	return append(next, result)
}

// later is t+d, or forever.
func later(t, d time.Duration) time.Duration {
	if t > forever-max(d, 0) {
		return forever
	}
	return t + d
}
