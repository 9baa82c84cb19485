package plan

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

const errNoFrequency = wire.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
	"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")

// objectRows is OBJECT, whose subcommands tell of a key how Redis would hold its value.
func objectRows() []*Row {
	key := Keys{2, 2, 1}
	subs := inGroup("generic",
		&Row{Name: "encoding", Arity: 3, Flags: reads, Keys: key, Since: "2.2.3", Summary: "int, embstr or raw", Make: planObject(replyEncoding),
			Differs: "follows from the value: int or embstr also where Redis has raw because APPEND, SETRANGE or SETBIT wrote the value"},
		&Row{Name: "refcount", Arity: 3, Flags: reads, Keys: key, Since: "2.2.3", Summary: "1, or 2147483647 for a small number", Make: planObject(replyRefCount)},
		&Row{Name: "idletime", Arity: 3, Flags: reads, Keys: key, Since: "2.2.3", Summary: "seconds since the last write of a key", Make: planObject(replyIdleTime),
			Differs: "reads do not count, because a read writes nothing"},
		&Row{Name: "freq", Arity: 3, Flags: reads, Keys: key, Since: "4.0.0", Summary: "refused: uses are not counted", Make: planObject(replyFrequency)},
	)
	return []*Row{{
		Name: "object", Arity: -2, Categories: []string{"@slow"}, Group: "generic", Since: "2.2.3",
		Summary: "how Redis would hold a value", Subs: subs,
	}}
}

// planObject makes the plan of a subcommand of OBJECT.
func planObject(answer func(e Env, out *wire.Reply, found *api.OpResult) error) func(Env, [][]byte) (Plan, error) {
	return func(_ Env, args [][]byte) (Plan, error) {
		return Plan{Ops: []api.Op{readsValue(args[2])}, Piecewise: true, reply: func(e Env, out *wire.Reply, results []api.OpResult) error {
			if !results[0].Existed {
				out.Null()
				return nil
			}
			return answer(e, out, &results[0])
		}}, nil
	}
}

func replyFrequency(Env, *wire.Reply, *api.OpResult) error { return errNoFrequency }

// maxEmbeddedBytes is the longest value that Redis holds in one piece with its header.
const maxEmbeddedBytes = 44

func replyEncoding(_ Env, out *wire.Reply, found *api.OpResult) error {
	value := found.Previous
	switch _, isNumber := wire.ParseNumber(value); {
	case isNumber:
		out.BulkString("int")
	case found.Number <= maxEmbeddedBytes: // a long value is not brought
		out.BulkString("embstr")
	default:
		out.BulkString("raw")
	}
	return nil
}

// replyRefCount answers 1, or what Redis answers for the small numbers that it holds once.
func replyRefCount(_ Env, out *wire.Reply, found *api.OpResult) error {
	const sharedNumbers = 10_000
	if n, ok := wire.ParseNumber(found.Previous); ok && n >= 0 && n < sharedNumbers {
		out.Integer(math.MaxInt32)
	} else {
		out.Integer(1)
	}
	return nil
}

// replyIdleTime answers the seconds since the last write, which the version tells.
func replyIdleTime(e Env, out *wire.Reply, found *api.OpResult) error {
	written := found.PreviousVersion.Millis()
	out.Integer(int64((max(e.NowMillis, written) - written) / 1000))
	return nil
}
