package policy

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// leaves are internal packages that everything above them may use: seams to the machine and
// small mechanisms without knowledge of the product.
var leaves = []string{
	"internal/clock", "internal/entropy", "internal/network", "internal/vfs",
	"internal/peers", "internal/session", "internal/seededbug", "internal/evaluate", "internal/rows", "internal/build", "internal/jsontext",
	"internal/access", "internal/certs", "internal/trace",
}

// layer says what the packages that match from may import of this module. A name that ends in
// /... means the folder and all below it.
type layer struct {
	from string
	to   []string
	why  string
}

// layers is the import table. The first entry that matches a package decides. Imports point
// down: cmd, internal/node, server, txn and meta and membership, shard, raft and engine and
// router, api, leaves.
var layers = []layer{
	{"cmd/lightning-node", []string{"internal/node", "api", "internal/network", "internal/clock", "internal/build"},
		"a main parses, wires, waits and stops; the wiring itself is internal/node's"},
	{"cmd/lightning-cli/...", []string{"cmd/lightning-cli/...", "client", "backup/...", "recovery", "router", "api/...", "engine", "engine/inspect", "internal/vfs", "internal/certs", "internal/clock", "internal/entropy", "internal/build", "internal/jsontext"},
		"the CLI is a client, and opens embedded stores: it must not need, or contain, the server"},
	{"examples/...", []string{"client", "engine", "api/..."},
		"an example uses what a user may use"},
	{"internal/node", []string{"internal/datadir", "internal/trace/otlp", "server/...", "txn/...", "meta/...", "membership", "shard", "raft", "engine", "router", "api/...", "leaves"},
		"the one place that knows every part"},
	{"backup/record", []string{"api"},
		"the layout of a backup's rows is pure: nodes send them, a backup keeps them"},
	{"recovery", []string{"meta/...", "shard", "raft", "api/...", "internal/datadir", "internal/entropy", "internal/vfs"},
		"it works on the data directories of nodes that are stopped"},
	{"internal/datadir", []string{"api", "internal/entropy", "internal/vfs"}, "it is what a node and a recovery need of a directory before anything else"},
	{"backup", []string{"backup/record", "router", "api", "internal/vfs", "internal/seededbug"},
		"a backup is files: it knows neither nodes nor engines"},
	{"server/...", []string{"backup/record", "server/...", "txn/...", "meta", "membership", "shard", "router", "api/...", "leaves"},
		"front ends and operations stand on shards; they never touch an engine or a Raft group"},
	{"txn/...", []string{"txn/...", "shard", "router", "api/...", "leaves"},
		"a transaction is made of shard commands"},
	{"meta/...", []string{"meta/...", "raft", "router", "api/...", "leaves"},
		"the cluster map is a state machine of its own beside the shards"},
	{"membership/...", []string{"membership/...", "api", "internal/clock", "internal/entropy", "internal/network"},
		"gossip is advice, never truth: it must not be able to reach Raft or a shard"},
	{"shard/...", []string{"shard/...", "backup/record", "raft", "engine", "router", "api/...", "leaves"},
		"a shard joins one Raft group to one engine"},
	{"raft/mux", []string{"raft/wire", "api/...", "internal/clock", "internal/peers", "internal/seededbug"},
		"messages between replicas are moved without knowing logs, state machines or elections"},
	{"raft/...", []string{"raft/...", "api/...", "leaves"},
		"Raft replicates bytes; it knows neither shards nor engines"},
	{"engine/...", []string{"engine/...", "internal/vfs", "internal/entropy", "internal/clock", "internal/seededbug"},
		"the engine is importable on its own and knows nothing of replication or the network; segments of its log have random ids, its events durations"},
	{"router", []string{"api/..."},
		"tables that server and client share: pure, without I/O"},
	{"client/...", []string{"client/...", "router", "api/...", "internal/clock", "internal/entropy", "internal/network", "internal/session", "internal/evaluate", "internal/seededbug", "internal/trace",
		"engine", "internal/rows"},
		"the SDK must not drag in the server; the embedded store has the cluster's interface, so it is an engine here"},
	{"api/...", []string{"api/..."},
		"what all agree on depends on nobody"},
	{"internal/peers", []string{"api", "internal/network", "internal/clock", "internal/trace"},
		"connections are kept by node id, which api defines; calls on them are parts of traces"},
	{"internal/trace", []string{"api"},
		"a trace says of an error its code, which is api's"},
	{"internal/trace/otlp", []string{"internal/trace", "internal/network", "internal/clock"},
		"spans are sent through the seam of the network; only internal/node sends them"},
	{"internal/access", []string{"api", "internal/clock", "internal/network", "internal/vfs"},
		"passwords come from a file, refusals are api's errors; failures are counted by source"},
	{"internal/certs", []string{"internal/clock", "internal/entropy", "internal/network", "internal/vfs"},
		"certificates come from files, their end is judged by the clock; handshakes are counted by source"},
	{"internal/session", []string{"api", "internal/clock", "internal/entropy"},
		"request ids are api's; time and bits come from the seams"},
	{"internal/evaluate", []string{"api"},
		"what an operation means is pure, and the same for a shard and for an embedded store"},
	{"internal/rows", []string{"api"},
		"the layout of rows is pure, and the same for a shard and for an embedded store"},
	{"internal/fakecluster", []string{"api/...", "router", "internal/clock", "internal/evaluate"},
		"a stand-in cluster for tests of clients speaks the public protocol only"},
	{"internal/...", nil,
		"a leaf imports nothing of ours"},
}

// outsiders says which packages may import a module that is not ours, where that is not all.
var outsiders = []layer{
	{"github.com/hashicorp/raft", []string{"raft/..."}, "one package knows the library and its traps"},
	{"github.com/hashicorp/raft-boltdb/v2", []string{"raft/..."}, "the log store is behind a seam of ours"},
	{"go.etcd.io/bbolt", []string{"raft/..."}, "the log store is behind a seam of ours"},
	{"github.com/hashicorp/go-hclog", []string{"raft/..."}, "the product logs with log/slog; this is an adapter"},
	{"github.com/hashicorp/memberlist", []string{"membership/..."}, "one package knows the library and its traps"},
	{"github.com/tidwall/redcon", []string{"server/resp", "examples/..."}, "one front end speaks RESP"},
	{"github.com/klauspost/compress", []string{"engine/...", "raft/...", "backup"}, "blocks and snapshot streams are what we compress"},
	{"github.com/prometheus/client_golang", []string{"server/...", "internal/node"}, "metrics leave by the HTTP front end"},
	{"github.com/spf13/cobra", []string{"cmd/..."}, "only programs have command lines"},
	{"github.com/spf13/pflag", []string{"cmd/...", "internal/node"}, "only programs have flags"},
	{"go.yaml.in/yaml/v3", []string{"internal/node", "cmd/..."}, "YAML is a format of the configuration only"},
	{"github.com/redis/go-redis/v9", []string{"cmd/lightning-cli/...", "tests/...", "examples/..."}, "only the benchmark of the CLI is a client of Redis"},
	{"go.opentelemetry.io/otel/sdk", []string{"internal/trace/..."}, "spans are made and sent behind a seam of ours"},
	{"go.opentelemetry.io", []string{"internal/trace/..."}, "spans are made and sent behind a seam of ours"},
	{"google.golang.org/grpc", []string{"api/...", "raft/...", "meta/...", "server/...", "client/...", "cmd/lightning-cli", "internal/node", "internal/peers", "internal/trace/otlp"}, "only what talks to other nodes or clients knows the transport"},
}

func matchesPattern(pkg, pattern string) bool {
	if folder, ok := strings.CutSuffix(pattern, "/..."); ok {
		return within(pkg, folder)
	}
	return pkg == pattern
}

// allows reports whether l lets an import of pkg pass.
func (l layer) allows(pkg string) bool {
	for _, to := range l.to {
		if matchesPattern(pkg, to) || to == "leaves" && slices.Contains(leaves, pkg) {
			return true
		}
	}
	return false
}

// breach returns why a package in dir may not import imported, or "".
func breach(dir, imported string) string {
	if ours, ok := strings.CutPrefix(imported, modulePath+"/"); ok {
		for _, l := range layers {
			if matchesPattern(dir, l.from) {
				if l.allows(ours) {
					return ""
				}
				return l.why
			}
		}
		return "the package is not in the import table of internal/policy"
	}
	for _, o := range outsiders {
		if within(imported, o.from) && !o.allows(dir) {
			return o.why
		}
	}
	return ""
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range loadModule(t) {
		if f.inTest() {
			continue
		}
		for _, imp := range f.ast.Imports {
			imported := strings.Trim(imp.Path.Value, `"`)
			if why := breach(f.dir, imported); why != "" && !excepted("import", f.path, imported) {
				t.Errorf("%s:%d: %s may not import %s: %s", f.path, f.line(imp.Pos()), f.dir, imported, why)
			}
		}
	}
}

func TestProductDoesNotImportTestCode(t *testing.T) {
	for _, f := range loadModule(t) {
		if !f.product() {
			continue
		}
		for _, imp := range f.ast.Imports {
			ours, ok := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), modulePath+"/")
			if ok && within(ours, testOnly...) {
				t.Errorf("%s:%d: product code imports %s, which is for tests", f.path, f.line(imp.Pos()), ours)
			}
		}
	}
}

// TestImportTableHasTeeth tries edges that must never be there.
func TestImportTableHasTeeth(t *testing.T) {
	for _, e := range [][2]string{
		{"membership", "raft"}, {"membership", "shard"}, {"client", "server"}, {"client", "raft"},
		{"engine", "api"}, {"engine/internal/table", "raft"}, {"router", "engine"}, {"raft", "shard"},
		{"raft", "engine"}, {"shard", "meta"}, {"server/resp", "engine"}, {"api", "router"},
		{"cmd/lightning-cli", "server"}, {"internal/clock", "api"}, {"newfolder", "api"},
	} {
		if breach(e[0], path.Join(modulePath, e[1])) == "" {
			t.Errorf("%s may import %s", e[0], e[1])
		}
	}
	for _, e := range [][2]string{
		{"engine", "google.golang.org/grpc"}, {"shard", "github.com/hashicorp/raft"},
		{"server", "github.com/hashicorp/memberlist"}, {"client", "github.com/klauspost/compress/s2"},
	} {
		if breach(e[0], e[1]) == "" {
			t.Errorf("%s may import %s", e[0], e[1])
		}
	}
	if why := breach("raft", "github.com/hashicorp/raft-boltdb/v2"); why != "" {
		t.Errorf("raft may not import its log store: %s", why)
	}
}

// TestImportTableIsCurrent finds entries for packages that are gone. The table names txn before
// it exists, because the design does.
func TestImportTableIsCurrent(t *testing.T) {
	planned := []string{"txn/..."}
	for _, l := range layers {
		found := slices.Contains(planned, l.from)
		for _, f := range loadModule(t) {
			found = found || matchesPattern(f.dir, l.from)
		}
		if !found {
			t.Errorf("the import table has an entry for %s, which does not exist", l.from)
		}
		if l.why == "" {
			t.Errorf("the entry for %s has no reason", l.from)
		}
	}
}
