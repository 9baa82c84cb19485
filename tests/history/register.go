package history

import (
	"slices"

	"github.com/anishathalye/porcupine"
)

// registerState is a key that can be read, written, deleted and written under a condition.
type registerState struct {
	Seen
	// floor is below the version of every later write: versions of a key only grow.
	floor uint64
}

// Register is the model of a key with Read, Write, Delete and CompareAndSet. A key is absent at
// first. Where versions are told it also checks that they grow and that a value keeps its own.
var Register = porcupine.Model{
	Partition:         partition,
	Init:              func() any { return registerState{} },
	Step:              stepRegister,
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return describe(in.(Input), out.(Output)) },
	DescribeState:     func(s any) string { return s.(registerState).Seen.String() },
}

func stepRegister(s, i, o any) (bool, any) {
	state, in, out := s.(registerState), i.(Input), o.(Output)
	switch in.Kind {
	case Read:
		return state.read(out)
	case Write:
		return state.write(Seen{Found: true, Value: in.Value}, out)
	case Delete:
		if out.Existed != nil && *out.Existed != state.Found {
			return false, state
		}
		return state.write(Seen{}, out)
	case CompareAndSet:
		matches := in.Expected.Found == state.Found && in.Expected.Value == state.Value
		if !out.Unknown && out.Applied != matches {
			return false, state
		}
		if !matches {
			return true, state
		}
		return state.write(Seen{Found: true, Value: in.Value}, out)
	default:
		return false, state
	}
}

func (s registerState) read(out Output) (bool, registerState) {
	if out.Found != s.Found || out.Value != s.Value {
		return false, s
	}
	if out.Version == 0 || !out.Found {
		return true, s
	}
	if s.Version == 0 { // written by somebody who was not told the version
		s.Version = out.Version
		ok := out.Version > s.floor
		s.floor = max(s.floor, out.Version)
		return ok, s
	}
	return out.Version == s.Version, s
}

func (s registerState) write(next Seen, out Output) (bool, registerState) {
	ok := true
	if out.Version != 0 {
		ok = out.Version > s.floor
		s.floor = max(s.floor, out.Version)
		if next.Found {
			next.Version = out.Version
		}
	}
	s.Seen = next
	return ok, s
}

// Counter is the model of a key with Increment and Read; it is 0 at first. A Read tells the number
// in Output.Number.
var Counter = porcupine.Model{
	Partition:         partition,
	Init:              func() any { return int64(0) },
	Step:              stepCounter,
	DescribeOperation: func(in, out any) string { return describe(in.(Input), out.(Output)) },
}

func stepCounter(s, i, o any) (bool, any) {
	state, in, out := s.(int64), i.(Input), o.(Output)
	switch in.Kind {
	case Read:
		return out.Number == state, state
	case Increment:
		state += in.Delta
		return out.Unknown || out.Number == state, state
	default:
		return false, state
	}
}

// partition splits a history by key: linearizability is local, so each key can be judged alone.
func partition(ops []porcupine.Operation) [][]porcupine.Operation {
	byKey := make(map[string][]porcupine.Operation)
	var keys []string
	for _, op := range ops {
		key := op.Input.(Input).Key
		if _, ok := byKey[key]; !ok {
			keys = append(keys, key)
		}
		byKey[key] = append(byKey[key], op)
	}
	slices.Sort(keys)
	out := make([][]porcupine.Operation, 0, len(keys))
	for _, key := range keys {
		out = append(out, byKey[key])
	}
	return out
}
