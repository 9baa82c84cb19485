package policy

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// adapters may touch the machine: they are the seams, or what stands outside them.
var adapters = []string{
	"cmd", "examples", "internal/node", "internal/vfs", "internal/clock", "internal/network",
	"internal/entropy", "internal/peers", "internal/seededbug",
}

// forbidden are names of a package that product code may not use, by calling them or otherwise.
type forbidden struct {
	pkg   string
	names []string
	all   bool // names are the only ones that are allowed
	why   string
}

var forbiddenNames = []forbidden{
	{pkg: "os", names: []string{
		"Chdir", "Chmod", "Chown", "Chtimes", "CopyFS", "Create", "CreateTemp", "DirFS", "Getwd", "Lchown", "Link", "Lstat",
		"Mkdir", "MkdirAll", "MkdirTemp", "NewFile", "Open", "OpenFile", "OpenInRoot", "OpenRoot", "ReadDir", "ReadFile",
		"Readlink", "Remove", "RemoveAll", "Rename", "Stat", "Symlink", "Truncate", "WriteFile",
	}, why: "files go through internal/vfs, so that tests can crash and fail the disk"},
	{pkg: "path/filepath", names: []string{"EvalSymlinks", "Glob", "Walk", "WalkDir"},
		why: "files go through internal/vfs, so that tests can crash and fail the disk"},
	{pkg: "io/ioutil", all: true,
		why: "files go through internal/vfs, so that tests can crash and fail the disk"},
	{pkg: "time", names: []string{"Now", "Since", "Until"},
		why: "wall time comes from internal/clock, so that tests decide what time it is"},
	{pkg: "time", names: []string{"Sleep"},
		why: "a sleep cannot be stopped: wait on a timer together with a context or a stop channel"},
	{pkg: "net", names: []string{
		"Dial", "DialIP", "DialTCP", "DialTimeout", "DialUDP", "DialUnix", "Dialer", "Listen", "ListenConfig", "ListenIP",
		"ListenMulticastUDP", "ListenPacket", "ListenTCP", "ListenUDP", "ListenUnix", "ListenUnixgram",
	}, why: "the network is reached through internal/network, so that tests can cut it"},
	{pkg: "crypto/tls", names: []string{"Dial", "DialWithDialer", "Dialer", "Listen"},
		why: "the network is reached through internal/network, so that tests can cut it"},
	{pkg: "net/http", names: []string{
		"DefaultClient", "DefaultServeMux", "Get", "Handle", "HandleFunc", "Head", "ListenAndServe", "ListenAndServeTLS", "Post", "PostForm",
	}, why: "the network is reached through internal/network, and handlers are not global"},
	{pkg: "math/rand", all: true, names: []string{"New", "NewSource", "NewZipf", "Rand", "Source", "Source64", "Zipf"},
		why: "global randomness cannot be repeated: use a *rand.Rand or internal/entropy"},
	{pkg: "math/rand/v2", all: true, names: []string{"ChaCha8", "New", "NewChaCha8", "NewPCG", "NewZipf", "PCG", "Rand", "Source", "Zipf"},
		why: "global randomness cannot be repeated: use a *rand.Rand or internal/entropy"},
	{pkg: "github.com/google/uuid", names: []string{"Must", "New", "NewDCEGroup", "NewDCEPerson", "NewRandom", "NewString", "NewUUID", "NewV6", "NewV7"},
		why: "random bits come from internal/entropy, so that tests can repeat a run"},
	{pkg: "crypto/rand", all: true,
		why: "random bits come from internal/entropy, so that tests can repeat a run"},
}

func (f *forbidden) forbids(name string) bool { return slices.Contains(f.names, name) != f.all }

// uses calls visit for each use of a name of an imported package in f.
func uses(f *goFile, visit func(pkg string, sel *ast.SelectorExpr)) {
	imported := map[string]string{} // local name to path
	for _, imp := range f.ast.Imports {
		p := strings.Trim(imp.Path.Value, `"`)
		name := strings.TrimSuffix(path.Base(p), "/v2")
		if path.Base(p) == "v2" {
			name = path.Base(path.Dir(p))
		}
		if imp.Name != nil {
			name = imp.Name.Name
		}
		imported[name] = p
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		// Obj is set when the name is declared in this file: a variable that hides the package.
		if id, ok := sel.X.(*ast.Ident); ok && id.Obj == nil && imported[id.Name] != "" {
			visit(imported[id.Name], sel)
		}
		return true
	})
}

func TestProductTouchesTheMachineThroughSeams(t *testing.T) {
	for _, f := range loadModule(t) {
		if !f.product() || within(f.dir, adapters...) {
			continue
		}
		for _, imp := range f.ast.Imports {
			if imp.Name != nil && imp.Name.Name == "." {
				t.Errorf("%s:%d: a dot import hides what is used", f.path, f.line(imp.Pos()))
			}
		}
		uses(f, func(pkg string, sel *ast.SelectorExpr) {
			for _, rule := range forbiddenNames {
				what := path.Base(pkg) + "." + sel.Sel.Name
				if pkg == rule.pkg && rule.forbids(sel.Sel.Name) && !excepted("call", f.path, what) {
					t.Errorf("%s:%d: %s: %s", f.path, f.line(sel.Pos()), what, rule.why)
				}
			}
		})
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range loadModule(t) {
		if !f.inTest() {
			continue
		}
		uses(f, func(pkg string, sel *ast.SelectorExpr) {
			if pkg == "time" && sel.Sel.Name == "Sleep" && !excepted("sleep", f.path, "time.Sleep") {
				t.Errorf("%s:%d: time.Sleep in a test is slow or flaky: use testing/synctest, a manual clock, or testkit.Eventually",
					f.path, f.line(sel.Pos()))
			}
		})
	}
}
