package resp

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// keyCommands are the rows about keys, whatever their values are.
func keyCommands() []*command {
	return slices.Concat(namedKeyCommands(), expiryCommands(), objectCommands(), keyspaceCommands())
}

func namedKeyCommands() []*command {
	return inGroup("generic",
		&command{name: "del", arity: -2, flags: alters, positions: eachKey, since: "1.0.0", summary: "removes keys", plan: planDel,
			differs: "atomic for the keys of one shard only"},
		&command{name: "unlink", arity: -2, flags: altersFast, positions: eachKey, since: "4.0.0", summary: "as DEL", plan: planDel,
			differs: "atomic for the keys of one shard only"},
		&command{name: "exists", arity: -2, flags: readsFast, positions: eachKey, since: "1.0.0", summary: "how many of the keys exist", plan: planExists,
			differs: "keys of several shards are not one snapshot"},
		&command{name: "type", arity: 2, flags: readsFast, positions: oneKey, since: "1.0.0", summary: "string or none", plan: planType},
		&command{name: "touch", arity: -2, flags: readsFast, positions: eachKey, since: "3.2.1", summary: "as EXISTS", plan: planExists,
			differs: "no time of use is kept, because a read writes nothing"},
		&command{name: "copy", arity: -3, flags: writes, positions: twoKeys, since: "6.2.0", summary: "makes a key equal to another; DB 0, REPLACE", plan: planCopy,
			differs: "there is database 0 only; CROSSSLOT if the keys live on several shards"},
		&command{name: "rename", arity: 3, flags: alters, positions: twoKeys, since: "1.0.0", summary: "gives a key another name", plan: planRename,
			differs: "CROSSSLOT if the keys live on several shards"},
		&command{name: "renamenx", arity: 3, flags: altersFast, positions: twoKeys, since: "1.0.0", summary: "gives a key another name, if that is free", plan: planRenameNX,
			differs: "CROSSSLOT if the keys live on several shards"},
	)
}

// planDel is DEL and UNLINK. A key that is named twice is removed once.
func planDel(_ env, args [][]byte) (plan, error) {
	return plan{ops: onEach(api.Op{Kind: api.OpDelete}, args[1:]), each: true, reply: replyExisted}, nil
}

// planExists is EXISTS and TOUCH. A key counts as often as it is named.
func planExists(_ env, args [][]byte) (plan, error) {
	return plan{ops: onEach(looksAt(nil), args[1:]), each: true, reply: replyExisted}, nil
}

func planType(_ env, args [][]byte) (plan, error) {
	return plan{ops: []api.Op{looksAt(args[1])}, reply: func(_ env, out *wire.Reply, results []api.OpResult) error {
		if results[0].Existed {
			out.Simple("string")
		} else {
			out.Simple("none")
		}
		return nil
	}}, nil
}
