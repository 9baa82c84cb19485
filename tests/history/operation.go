package history

import (
	"fmt"
	"math"
	"time"
)

// Kind is what an operation asks for.
type Kind uint8

// The kinds.
const (
	Read Kind = iota + 1
	Write
	Delete
	// CompareAndSet writes Input.Value if the key is as Input.Expected says. Every value that
	// is ever written is unique, so that a condition on the version and one on the value mean the same.
	CompareAndSet
	Increment
)

// String implements fmt.Stringer.
func (k Kind) String() string {
	return [...]string{"?", "read", "write", "delete", "cas", "increment"}[k]
}

// Outcome is what the caller knows about an operation that ended.
type Outcome uint8

// The outcomes.
const (
	OK Outcome = iota + 1
	// Unknown: it may have run, may still run, or never will.
	Unknown
	// Failed: it certainly did not run and never will.
	Failed
)

// String implements fmt.Stringer.
func (o Outcome) String() string { return [...]string{"?", "ok", "unknown", "failed"}[o] }

// Seen is one key as somebody found it. Version is 0 when it is absent or not told.
type Seen struct {
	Found   bool
	Value   string
	Version uint64
}

// Input is what was asked.
type Input struct {
	Kind     Kind
	Key      string
	Value    string // Write, CompareAndSet
	Expected Seen   // CompareAndSet
	Delta    int64  // Increment
	// Lives is how long the value of a Write or CompareAndSet is there; 0 is until it is replaced.
	Lives time.Duration

	called, returned time.Duration // set by Check, for models that know time
}

// Output is what was answered.
type Output struct {
	Seen           // Read: what was there. Otherwise only Version: of the write, 0 when not told.
	Applied bool   // CompareAndSet: whether the condition held
	Existed *bool  // Delete: whether it was there; nil when not told
	Number  int64  // Increment: the number after
	Unknown bool   // set by the recorder
	Note    string // how it ended, for people
}

// Operation is one call. Times are since the start of the recorder, by a monotonic clock.
type Operation struct {
	Client  int
	Input   Input
	Output  Output
	Call    time.Duration
	Return  time.Duration // forever when the outcome is unknown
	Outcome Outcome
}

const forever = time.Duration(math.MaxInt64)

// String prints one line.
func (o Operation) String() string {
	end := "…"
	if o.Return != forever {
		end = o.Return.Round(time.Microsecond).String()
	}
	return fmt.Sprintf("[%v, %s] client %d %s %s", o.Call.Round(time.Microsecond), end, o.Client,
		o.Outcome, describe(o.Input, o.Output))
}

func describe(in Input, out Output) string {
	if out.Unknown {
		return describeInput(in) + " -> unknown " + out.Note
	}
	switch in.Kind {
	case Read:
		return describeInput(in) + " -> " + out.Seen.String()
	case CompareAndSet:
		return fmt.Sprintf("%s -> applied=%t v%d", describeInput(in), out.Applied, out.Version)
	case Increment:
		return fmt.Sprintf("%s -> %d", describeInput(in), out.Number)
	default:
		return fmt.Sprintf("%s -> v%d", describeInput(in), out.Version)
	}
}

func describeInput(in Input) string {
	switch in.Kind {
	case Write:
		return fmt.Sprintf("%s = %s%s", in.Key, in.Value, describeLife(in))
	case CompareAndSet:
		return fmt.Sprintf("%s = %s%s if %s", in.Key, in.Value, describeLife(in), in.Expected)
	case Increment:
		return fmt.Sprintf("%s += %d", in.Key, in.Delta)
	default:
		return fmt.Sprintf("%s %s", in.Kind, in.Key)
	}
}

func describeLife(in Input) string {
	if in.Lives == 0 {
		return ""
	}
	return fmt.Sprintf(" for %v", in.Lives)
}

// String implements fmt.Stringer.
func (s Seen) String() string {
	if !s.Found {
		return "absent"
	}
	return fmt.Sprintf("%s@%d", s.Value, s.Version)
}
