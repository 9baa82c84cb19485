package plan

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// Env is what planning a command may know beside its arguments.
type Env struct {
	NowMillis uint64 // the node's clock; what must be exact is left to the shard's
	// Scratch may be nil.
	Scratch *Scratch
	// Open opens the bytes [start, end) of the value that an operation of a piecewise plan found, if that was not
	// brought. It returns nil if it was.
	Open func(op int, start, end uint64) (wire.Pieces, error)
}

// Scratch is memory for the operations of plans, to be used again when the plans are not.
type Scratch struct{ ops []api.Op }

// keptOps is for how many operations a Scratch keeps memory.
const keptOps = 64

// Reset is called when the plans are not used any more.
func (s *Scratch) Reset() {
	if cap(s.ops) > keptOps {
		s.ops = nil
		return
	}
	clear(s.ops)
	s.ops = s.ops[:0]
}

// only makes the list of one operation.
func (e Env) only(op api.Op) []api.Op {
	s := e.Scratch
	if s == nil {
		return []api.Op{op}
	}
	s.ops = append(s.ops, op)
	n := len(s.ops)
	return s.ops[n-1 : n : n]
}

// Plan is what a command on named keys comes to. Making one does no I/O, so that a command means
// the same alone and in a MULTI block.
type Plan struct {
	// Ops are steps of an independent batch: those that must hold together are Joined.
	Ops []api.Op
	// Each lets the operations run on several shards, each shard's for itself. Otherwise keys
	// that live on several are refused as CROSSSLOT before anything is proposed.
	Each bool
	// Piecewise says that the reply can do with values that are not brought but opened.
	Piecewise bool
	// reply writes the answer, or fails before it has written anything. results are those of Ops.
	// It is not called if an operation failed with a code that tolerates does not name.
	reply     func(e Env, out *wire.Reply, results []api.OpResult) error
	tolerates api.Code
}

// errTooLong is the error of a value that would grow beyond the limit. It begins as Redis' does.
var errTooLong = wire.Coded(wire.Error(fmt.Sprintf("ERR string exceeds maximum allowed size (%d bytes)", api.MaxWholeBytes)), api.CodeTooLarge)

// ReadsOnly reports whether the plan can be answered without a write.
func (p *Plan) ReadsOnly() bool {
	for i := range p.Ops {
		if p.Ops[i].Kind != api.OpGet {
			return false
		}
	}
	return true
}

// ReturnsWhatItChanged reports whether the plan writes and its reply has a value that it found.
func (p *Plan) ReturnsWhatItChanged() bool {
	for i := range p.Ops {
		if p.Ops[i].ReturnPrevious {
			return !p.ReadsOnly()
		}
	}
	return false
}

// Finish writes the reply. results are those of Ops, in their order. If it fails it has written
// nothing (UP2).
func (p *Plan) Finish(e Env, out *wire.Reply, results []api.OpResult) error {
	for i := range results {
		switch code := results[i].Code; code {
		case "", p.tolerates:
		case api.CodeTooLarge:
			return errTooLong
		default:
			return &api.Error{Code: code}
		}
	}
	return p.reply(e, out, results)
}
