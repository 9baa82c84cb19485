package policy

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/lightning-db/lightning"

// goFile is one parsed file. Paths are relative to the module's root and have slashes.
type goFile struct {
	path      string
	dir       string // its package's folder
	ast       *ast.File
	fset      *token.FileSet
	lineCount int
	generated bool
}

// inTest reports whether the file is test code: a test file, or part of what only tests use.
func (f *goFile) inTest() bool {
	return strings.HasSuffix(f.path, "_test.go") || within(f.dir, testOnly...)
}

// product reports whether the file is hand-written code that ships.
func (f *goFile) product() bool { return !f.inTest() && !f.generated }

func (f *goFile) line(p token.Pos) int { return f.fset.Position(p).Line }

// testOnly are the folders of product-looking code that only tests use.
var testOnly = []string{"tests", "bench", "lightningtest", "internal/testkit", "internal/fakecluster", "internal/policy"}

// within reports whether dir is one of folders or below one.
func within(dir string, folders ...string) bool {
	for _, f := range folders {
		if dir == f || strings.HasPrefix(dir, f+"/") {
			return true
		}
	}
	return false
}

var moduleRoot = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, serr := os.Stat(filepath.Join(dir, "go.mod")); serr == nil {
			return dir, nil
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		err = fmt.Errorf("no go.mod above the working directory")
	}
	return "", err
})

// skipped are folders that hold nothing of ours or nothing that is committed.
var skipped = map[string]bool{".git": true, "bin": true, "data": true, "testdata": true, "node_modules": true}

// walk calls visit for every regular file of the repository.
func walk(visit func(name, full string) error) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed since its folder was read
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			if full != root && skipped[d.Name()] {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		rel, err := filepath.Rel(root, full)
		if err != nil {
			return err
		}
		return visit(filepath.ToSlash(rel), full)
	})
}

var loaded = sync.OnceValues(func() ([]*goFile, error) {
	var files []*goFile
	fset := token.NewFileSet()
	err := walk(func(name, full string) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, full, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, &goFile{
			path:      name,
			dir:       path.Dir(name),
			ast:       parsed,
			fset:      fset,
			lineCount: fset.File(parsed.FileStart).LineCount(),
			generated: ast.IsGenerated(parsed),
		})
		return nil
	})
	return files, err
})

func loadModule(t *testing.T) []*goFile {
	t.Helper()
	files, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// exception lets one breach pass. Where is a file, or a folder with all below it.
type exception struct {
	rule, where, what, why string
}

// exceptions is meant to be short and to shrink.
var exceptions = []exception{
	{"length", "shard", "package", "reading entries, its clocks and its digests are pieces of a shard that could each be a package"},
	{"length", "server", "package", "forwarding of reads and of writes, cursors and the gate are pieces of a server that could each be a package"},
	{"length", "raft", "package", "snapshots, the members of a group and reading could each be a package once what they need of a group is small"},
	{"length", "engine", "package", "transactions, column families and the pace of the background could each be a package once what they need of a store is small"},
}

var exceptionsUsed = struct {
	sync.Mutex
	indexes map[int]bool
}{indexes: map[int]bool{}}

// excepted reports whether a breach of rule is on the list.
func excepted(rule, file, what string) bool {
	for i, e := range exceptions {
		if e.rule == rule && e.what == what && within(file, e.where) {
			exceptionsUsed.Lock()
			exceptionsUsed.indexes[i] = true
			exceptionsUsed.Unlock()
			return true
		}
	}
	return false
}

// TestMain checks the list of exceptions after all rules have run.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !selective() {
		for i, e := range exceptions {
			if !exceptionsUsed.indexes[i] || e.why == "" {
				fmt.Printf("the exception for %s in %s from %s is not needed any more, or has no reason\n", e.what, e.where, e.rule)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// selective reports whether only some tests ran.
func selective() bool {
	for _, arg := range os.Args[1:] {
		name := strings.TrimLeft(strings.SplitN(arg, "=", 2)[0], "-")
		if name == "test.run" || name == "test.skip" || name == "test.list" {
			return true
		}
	}
	return false
}
