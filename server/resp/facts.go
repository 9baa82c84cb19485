package resp

// What COMMAND says of commands beside their rows. Redis gives the same.

// tipsOf are hints to proxies and to clients of several nodes.
var tipsOf = map[string][]string{
	"ping":                          {"request_policy:all_shards", "response_policy:all_succeeded"},
	"client|info":                   {"nondeterministic_output"},
	"client|list":                   {"nondeterministic_output"},
	"command":                       {"nondeterministic_output_order"},
	"command|docs":                  {"nondeterministic_output_order"},
	"command|info":                  {"nondeterministic_output_order"},
	"command|list":                  {"nondeterministic_output_order"},
	"info":                          {"nondeterministic_output", "request_policy:all_shards", "response_policy:special"},
	"cluster|bumpepoch":             {"nondeterministic_output"},
	"cluster|count-failure-reports": {"nondeterministic_output"},
	"cluster|getkeysinslot":         {"nondeterministic_output"},
	"cluster|info":                  {"nondeterministic_output"},
	"cluster|links":                 {"nondeterministic_output"},
	"cluster|nodes":                 {"nondeterministic_output"},
	"cluster|replicas":              {"nondeterministic_output"},
	"cluster|shards":                {"nondeterministic_output"},
	"cluster|slaves":                {"nondeterministic_output"},
	"cluster|slots":                 {"nondeterministic_output"},
	"config|set":                    {"request_policy:all_nodes", "response_policy:all_succeeded"},
	"module|list":                   {"nondeterministic_output_order"},
	"time":                          {"nondeterministic_output"},
	"wait":                          {"request_policy:all_shards", "response_policy:agg_min"},
	"mget":                          {"request_policy:multi_shard"},
	"mset":                          {"request_policy:multi_shard", "response_policy:all_succeeded"},
	"msetnx":                        {"request_policy:multi_shard", "response_policy:agg_min"},
	"del":                           {"request_policy:multi_shard", "response_policy:agg_sum"},
	"unlink":                        {"request_policy:multi_shard", "response_policy:agg_sum"},
	"exists":                        {"request_policy:multi_shard", "response_policy:agg_sum"},
	"touch":                         {"request_policy:multi_shard", "response_policy:agg_sum"},
	"ttl":                           {"nondeterministic_output"},
	"pttl":                          {"nondeterministic_output"},
	"object|encoding":               {"nondeterministic_output"},
	"object|freq":                   {"nondeterministic_output"},
	"object|idletime":               {"nondeterministic_output"},
	"object|refcount":               {"nondeterministic_output"},
	"scan":                          {"nondeterministic_output", "request_policy:special"},
	"keys":                          {"request_policy:all_shards", "nondeterministic_output_order"},
	"randomkey":                     {"request_policy:all_shards", "nondeterministic_output"},
	"dbsize":                        {"request_policy:all_shards", "response_policy:agg_sum"},
	"flushdb":                       {"request_policy:all_shards", "response_policy:all_succeeded"},
	"flushall":                      {"request_policy:all_shards", "response_policy:all_succeeded"},
}

// accessOf is what a command does with its keys: RO reads, RW reads and writes, OW writes
// without reading, RM removes; then whether values are handed out, changed, made or removed. A
// command with two entries treats its first and its second key so.
var accessOf = map[string][]string{
	"ssubscribe": {"not_key"}, "sunsubscribe": {"not_key"}, "spublish": {"not_key"},
	"watch": {"RO"}, "exists": {"RO"}, "type": {"RO"}, "touch": {"RO"}, "strlen": {"RO"},
	"object|encoding": {"RO"}, "object|freq": {"RO"}, "object|idletime": {"RO"}, "object|refcount": {"RO"},
	"get": {"RO access"}, "mget": {"RO access"}, "getrange": {"RO access"}, "substr": {"RO access"}, "lcs": {"RO access"},
	"getbit": {"RO access"}, "bitcount": {"RO access"}, "bitpos": {"RO access"},
	"ttl": {"RO access"}, "pttl": {"RO access"}, "expiretime": {"RO access"}, "pexpiretime": {"RO access"},
	"set":   {"RW access update variable_flags"},
	"setnx": {"OW insert"}, "msetnx": {"OW insert"},
	"setex": {"OW update"}, "psetex": {"OW update"}, "mset": {"OW update"},
	"getset": {"RW access update"}, "getex": {"RW access update"}, "setbit": {"RW access update"},
	"incr": {"RW access update"}, "decr": {"RW access update"}, "incrby": {"RW access update"}, "decrby": {"RW access update"},
	"incrbyfloat": {"RW access update"},
	"getdel":      {"RW access delete"},
	"append":      {"RW insert"},
	"setrange":    {"RW update"}, "persist": {"RW update"},
	"expire": {"RW update"}, "pexpire": {"RW update"}, "expireat": {"RW update"}, "pexpireat": {"RW update"},
	"del": {"RM delete"}, "unlink": {"RM delete"},
	"copy":     {"RO access", "OW update"},
	"rename":   {"RW access delete", "OW update"},
	"renamenx": {"RW access delete", "OW insert"},
}

// complexity is the cost of a command in the number of its keys (N), the bytes of a value (M), or
// the keys and nodes of the whole cluster (K).
func (c *command) complexity() string {
	switch c.name {
	case "mget", "mset", "msetnx", "del", "unlink", "exists", "touch", "watch", "exec":
		return "O(N) in the number of keys"
	case "append", "getrange", "substr", "setrange", "setbit", "bitcount", "bitpos", "copy", "rename", "renamenx":
		return "O(M) in the bytes of the value"
	case "lcs":
		return "O(M*L) in the bytes of both values"
	case "keys", "dbsize", "flushdb", "flushall":
		return "O(K) in the keys of the cluster"
	case "scan":
		return "O(1) for every call"
	case "cluster|nodes", "cluster|slots", "cluster|shards", "cluster|info", "client|list", "client|kill":
		return "O(N) in the number of nodes or connections"
	}
	return "O(1)"
}
