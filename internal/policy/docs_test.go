package policy

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readDoc(t *testing.T, name string) []string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(content), "\n")
}

// step is a row of a table that has a "File" and a "Function" column.
type step struct {
	table          string // the heading above the table
	line           int
	file, function string
}

// parseSteps finds those tables in Markdown. A cell may name several functions.
func parseSteps(lines []string) []step {
	var steps []step
	heading := ""
	fileColumn, functionColumn := -1, -1
	for i, line := range lines {
		if strings.HasPrefix(line, "#") {
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
		if !strings.HasPrefix(line, "|") {
			fileColumn, functionColumn = -1, -1
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if fileColumn < 0 || functionColumn < 0 {
			for c, cell := range cells {
				switch strings.ToLower(strings.TrimSpace(cell)) {
				case "file":
					fileColumn = c
				case "function":
					functionColumn = c
				}
			}
			continue
		}
		if strings.Trim(line, "|-: ") == "" || max(fileColumn, functionColumn) >= len(cells) {
			continue
		}
		for _, function := range strings.Split(cells[functionColumn], ",") {
			steps = append(steps, step{heading, i + 1, strings.Trim(cells[fileColumn], " `"), strings.Trim(function, " `")})
		}
	}
	return steps
}

// functionName is "Name" or "Type.Name".
func functionName(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return d.Name.Name
	}
	receiver := d.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.Ident:
			return r.Name + "." + d.Name.Name
		default:
			return d.Name.Name
		}
	}
}

func TestArchitectureNamesFunctionsThatExist(t *testing.T) {
	const doc = "docs/architecture.md"
	functions := map[string]map[string]bool{}
	for _, f := range loadModule(t) {
		functions[f.path] = map[string]bool{}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				functions[f.path][functionName(fn)] = true
			}
		}
	}
	tables := map[string]int{}
	for _, s := range parseSteps(readDoc(t, doc)) {
		tables[s.table]++
		switch {
		case functions[s.file] == nil:
			t.Errorf("%s:%d: there is no file %s", doc, s.line, s.file)
		case !functions[s.file][s.function]:
			t.Errorf("%s:%d: there is no function %s in %s", doc, s.line, s.function, s.file)
		}
	}
	for _, table := range []string{"A put", "A get"} {
		if tables[table] < 5 {
			t.Errorf("%s: the table under %q has %d steps: it must go from the socket to the disk", doc, table, tables[table])
		}
	}
}

func TestStepTablesAreParsed(t *testing.T) {
	got := parseSteps([]string{"## A put", "", "| Step | File | Function |", "|--|:-:|--|", "| x | `a/b.go` | `T.F`, `g` |", "text", "| file |", "|-|", "| none |"})
	want := []step{{"A put", 5, "a/b.go", "T.F"}, {"A put", 5, "a/b.go", "g"}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("parsed %v, want %v", got, want)
	}
}

var invariantClaim = regexp.MustCompile(`(?m)^\s*(?:-\s+)?([A-Z]{1,2})(\d+)[:.]?\s`)

// TestInvariantLettersAreUniqueAndIndexed wants one letter per package, and each in the index.
func TestInvariantLettersAreUniqueAndIndexed(t *testing.T) {
	const doc = "docs/invariants.md"
	index := strings.Join(readDoc(t, doc), "\n")
	owner := map[string]string{}
	for _, f := range loadModule(t) {
		if f.ast.Doc == nil || f.generated {
			continue
		}
		_, claims, found := strings.Cut(f.ast.Doc.Text(), "# Invariants")
		if !found {
			continue
		}
		claims, _, _ = strings.Cut(claims, "\n# ")
		letters := map[string]bool{}
		for _, m := range invariantClaim.FindAllStringSubmatch(claims, -1) {
			letters[m[1]] = true
		}
		for letter := range letters {
			if owner[letter] != "" {
				t.Errorf("%s:1: the letter %s is taken by %s", f.path, letter, owner[letter])
			}
			owner[letter] = f.dir
			if row := "| " + letter + " | `" + f.dir + "` |"; !strings.Contains(index, row) {
				t.Errorf("%s: no row that starts with %q", doc, row)
			}
		}
		if len(letters) != 1 {
			t.Errorf("%s:1: the invariants use %d letters; a package has one, as in \"  - X1: claim\"", f.path, len(letters))
		}
	}
}
