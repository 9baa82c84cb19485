package plan

import (
	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func keyRows() []*Row {
	return inGroup("generic",
		&Row{Name: "del", Arity: -2, Flags: alters, Keys: eachKey, Since: "1.0.0", Summary: "removes keys", Make: planDel,
			Differs: "atomic for the keys of one shard only"},
		&Row{Name: "unlink", Arity: -2, Flags: altersFast, Keys: eachKey, Since: "4.0.0", Summary: "as DEL", Make: planDel,
			Differs: "atomic for the keys of one shard only"},
		&Row{Name: "exists", Arity: -2, Flags: readsFast, Keys: eachKey, Since: "1.0.0", Summary: "how many of the keys exist", Make: planExists,
			Differs: "keys of several shards are not one snapshot"},
		&Row{Name: "type", Arity: 2, Flags: readsFast, Keys: oneKey, Since: "1.0.0", Summary: "string or none", Make: planType},
		&Row{Name: "touch", Arity: -2, Flags: readsFast, Keys: eachKey, Since: "3.2.1", Summary: "as EXISTS", Make: planExists,
			Differs: "no time of use is kept, because a read writes nothing"},
		&Row{Name: "copy", Arity: -3, Flags: writes, Keys: twoKeys, Since: "6.2.0", Summary: "makes a key equal to another; DB 0, REPLACE", Make: planCopy,
			Differs: "there is database 0 only; CROSSSLOT if the keys live on several shards; refused if the value has more than " + whole},
		&Row{Name: "rename", Arity: 3, Flags: alters, Keys: twoKeys, Since: "1.0.0", Summary: "gives a key another name", Make: planRename,
			Differs: "CROSSSLOT if the keys live on several shards"},
		&Row{Name: "renamenx", Arity: 3, Flags: altersFast, Keys: twoKeys, Since: "1.0.0", Summary: "gives a key another name, if that is free", Make: planRenameNX,
			Differs: "CROSSSLOT if the keys live on several shards"},
	)
}

// planDel is DEL and UNLINK. A key that is named twice is removed once.
func planDel(_ Env, args [][]byte) (Plan, error) {
	return Plan{Ops: onEach(api.Op{Kind: api.OpDelete}, args[1:]), Each: true, reply: replyExisted}, nil
}

// planExists is EXISTS and TOUCH. A key counts as often as it is named.
func planExists(_ Env, args [][]byte) (Plan, error) {
	return Plan{Ops: onEach(looksAt(nil), args[1:]), Each: true, reply: replyExisted}, nil
}

func planType(_ Env, args [][]byte) (Plan, error) {
	return Plan{Ops: []api.Op{looksAt(args[1])}, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		if results[0].Existed {
			out.Simple("string")
		} else {
			out.Simple("none")
		}
		return nil
	}}, nil
}
