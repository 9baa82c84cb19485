package policy

import (
	"go/ast"
	"testing"
)

// Past half of these ask which concept is missing; past them the test fails.
const (
	maxFileLines     = 700
	maxFunctionLines = 70
	maxPackageLines  = 5000
	maxPackageFiles  = 25
)

func TestFilesAreShort(t *testing.T) {
	for _, f := range loadModule(t) {
		if !f.generated && f.lineCount > maxFileLines && !excepted("length", f.path, "file") {
			t.Errorf("%s:%d: a file stops at %d lines, this has %d", f.path, maxFileLines, maxFileLines, f.lineCount)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	for _, f := range loadModule(t) {
		if f.generated {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			name := ""
			switch n := n.(type) {
			case *ast.FuncDecl:
				name = n.Name.Name
			case *ast.FuncLit:
				name = "function literal"
			default:
				return true
			}
			lines := span(f, n)
			if f.inTest() {
				lines -= tableLines(f, n)
			}
			if lines > maxFunctionLines && !excepted("length", f.path, name) {
				t.Errorf("%s:%d: a function stops at %d lines, %s has %d", f.path, f.line(n.Pos()), maxFunctionLines, name, lines)
			}
			return true
		})
	}
}

func span(f *goFile, n ast.Node) int { return f.line(n.End()) - f.line(n.Pos()) + 1 }

// tableLines counts the lines of the outermost slice and map literals in a test: cases are data.
func tableLines(f *goFile, fn ast.Node) int {
	lines := 0
	ast.Inspect(fn, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		switch literal.Type.(type) {
		case *ast.ArrayType, *ast.MapType:
			lines += span(f, literal) - 1
			return false
		}
		return true
	})
	return lines
}

func TestPackagesAreSmall(t *testing.T) {
	type size struct{ lines, files int }
	sizes := map[string]size{}
	for _, f := range loadModule(t) {
		if f.product() || within(f.dir, testOnly...) && !f.generated {
			s := sizes[f.dir]
			sizes[f.dir] = size{s.lines + f.lineCount, s.files + 1}
		}
	}
	for dir, s := range sizes {
		if (s.lines > maxPackageLines || s.files > maxPackageFiles) && !excepted("length", dir, "package") {
			t.Errorf("%s: a package stops at %d lines or %d files, this has %d lines in %d files",
				dir, maxPackageLines, maxPackageFiles, s.lines, s.files)
		}
	}
}
