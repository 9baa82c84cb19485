package policy

import (
	"regexp"
	"strings"
	"testing"
)

var requirement = regexp.MustCompile(`^\t?(?:require )?([\w.-]+\.\w+/\S+) (v\S+)( // indirect)?$`)

// pinned are versions that build together only as a set; see docs/decisions.
var pinned = map[string]string{
	"github.com/hashicorp/raft":           "v1.7.3",
	"github.com/hashicorp/raft-boltdb/v2": "v2.3.1",
	"github.com/hashicorp/memberlist":     "v0.6.0",
	"go.etcd.io/bbolt":                    "v1.5.0",
	"google.golang.org/grpc":              "v1.85.0",
	"github.com/klauspost/compress":       "v1.20.3",
}

// nested are the folders of modules of their own.
var nested = []string{"tests", "tests/deploy", "examples/loadtree", "bench"}

// required is a line of go.mod.
type required struct {
	line     int
	version  string
	indirect bool
}

func readRequirements(t *testing.T) map[string]required {
	t.Helper()
	modules := map[string]required{}
	for i, line := range readDoc(t, "go.mod") {
		if m := requirement.FindStringSubmatch(line); m != nil {
			modules[m[1]] = required{i + 1, m[2], m[3] != ""}
		}
	}
	return modules
}

// importedModules returns the modules that the main module imports, each with a file that does.
func importedModules(t *testing.T, modules map[string]required) map[string]string {
	t.Helper()
	users := map[string]string{}
	for _, f := range loadModule(t) {
		if within(f.dir, nested...) {
			continue
		}
		for _, imp := range f.ast.Imports {
			imported, owner := strings.Trim(imp.Path.Value, `"`), ""
			for module := range modules {
				if within(imported, module) && len(module) > len(owner) {
					owner = module
				}
			}
			if owner != "" {
				users[owner] = f.path
			}
		}
	}
	return users
}

func TestDependenciesArePinnedAndNotReplaced(t *testing.T) {
	for i, line := range readDoc(t, "go.mod") {
		if strings.HasPrefix(strings.TrimSpace(line), "replace") {
			t.Errorf("go.mod:%d: a replace line breaks go install for users", i+1)
		}
	}
	modules := readRequirements(t)
	for module, version := range pinned {
		if r, ok := modules[module]; !ok || r.version != version {
			t.Errorf("go.mod:%d: %s is at %q; the set that builds together has %s", r.line, module, r.version, version)
		}
	}
}

func TestDependenciesAreDirectAndExplained(t *testing.T) {
	const doc = "docs/dependencies.md"
	modules := readRequirements(t)
	users := importedModules(t, modules)
	explained := map[string]int{}
	for i, line := range readDoc(t, doc) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); ok && strings.HasPrefix(line, "| `") {
			explained[name] = i + 1
		}
	}
	for module, file := range users {
		if modules[module].indirect {
			t.Errorf("go.mod:%d: %s is imported by %s: run go mod tidy", modules[module].line, module, file)
		}
		if explained[module] == 0 {
			t.Errorf("%s: %s, which %s imports, is not explained", doc, module, file)
		}
	}
	for module, r := range modules {
		if !r.indirect && users[module] == "" {
			t.Errorf("go.mod:%d: nothing imports %s: run go mod tidy", r.line, module)
		}
	}
	for module, line := range explained {
		if users[module] == "" {
			t.Errorf("%s:%d: nothing imports %s", doc, line, module)
		}
	}
}
