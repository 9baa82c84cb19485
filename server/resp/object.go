package resp

import (
	"math"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

const errNoFrequency = wire.Error("ERR An LFU maxmemory policy is not selected, access frequency not tracked. " +
	"Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.")

// objectCommands is OBJECT, whose subcommands tell of a key how Redis would hold its value.
func objectCommands() []*command {
	key := positions{2, 2, 1}
	subs := inGroup("generic",
		&command{name: "encoding", arity: 3, flags: reads, positions: key, since: "2.2.3", summary: "int, embstr or raw", plan: planObject(replyEncoding),
			differs: "follows from the value: int or embstr also where Redis has raw because APPEND, SETRANGE or SETBIT wrote the value"},
		&command{name: "refcount", arity: 3, flags: reads, positions: key, since: "2.2.3", summary: "1, or 2147483647 for a small number", plan: planObject(replyRefCount)},
		&command{name: "idletime", arity: 3, flags: reads, positions: key, since: "2.2.3", summary: "seconds since the last write of a key", plan: planObject(replyIdleTime),
			differs: "reads do not count, because a read writes nothing"},
		&command{name: "freq", arity: 3, flags: reads, positions: key, since: "4.0.0", summary: "refused: uses are not counted", plan: planObject(replyFrequency)},
	)
	row := container(command{
		name: "object", arity: -2, categories: []string{"@keyspace", "@slow"}, group: "generic", since: "2.2.3",
		summary: "how Redis would hold a value",
	}, subs...)
	row.categories = []string{"@slow"} // those of its HELP are more
	return []*command{row}
}

// planObject makes the plan of a subcommand of OBJECT.
func planObject(answer func(e env, out *wire.Reply, found *api.OpResult) error) func(env, [][]byte) (plan, error) {
	return func(_ env, args [][]byte) (plan, error) {
		return plan{ops: []api.Op{readsValue(args[2])}, reply: func(e env, out *wire.Reply, results []api.OpResult) error {
			if !results[0].Existed {
				out.Null()
				return nil
			}
			return answer(e, out, &results[0])
		}}, nil
	}
}

func replyFrequency(env, *wire.Reply, *api.OpResult) error { return errNoFrequency }

// maxEmbeddedBytes is the longest value that Redis holds in one piece with its header.
const maxEmbeddedBytes = 44

func replyEncoding(_ env, out *wire.Reply, found *api.OpResult) error {
	value := found.Previous
	switch _, isNumber := wire.ParseNumber(value); {
	case isNumber:
		out.BulkString("int")
	case len(value) <= maxEmbeddedBytes:
		out.BulkString("embstr")
	default:
		out.BulkString("raw")
	}
	return nil
}

// replyRefCount answers 1, or what Redis answers for the small numbers that it holds once.
func replyRefCount(_ env, out *wire.Reply, found *api.OpResult) error {
	const sharedNumbers = 10_000
	if n, ok := wire.ParseNumber(found.Previous); ok && n >= 0 && n < sharedNumbers {
		out.Integer(math.MaxInt32)
	} else {
		out.Integer(1)
	}
	return nil
}

// replyIdleTime answers the seconds since the last write, which the version tells.
func replyIdleTime(e env, out *wire.Reply, found *api.OpResult) error {
	written := found.PreviousVersion.Millis()
	out.Integer(int64((max(e.nowMillis, written) - written) / 1000))
	return nil
}
