package policy

import (
	"bytes"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// prose are the files whose words are checked, besides Go.
var prose = map[string]bool{".go": true, ".md": true, ".proto": true, ".sh": true, ".yaml": true, ".yml": true, ".mk": true, "": true}

// banned are words that do not belong in what is committed.
var banned = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|X` + `XX)\b`),
		"unfinished work belongs in the tracker, with its reason"},
	{regexp.MustCompile(`(^|[^\w.~-])/(work|root|home|Users)/`),
		"a path of one machine means nothing on another"},
}

func TestTextNamesNoUnfinishedWorkAndNoMachine(t *testing.T) {
	err := walk(func(name, full string) error {
		if !prose[path.Ext(name)] || path.Base(name) == "LICENSE" {
			return nil
		}
		content, err := os.ReadFile(full)
		if err != nil {
			return err
		}
		if bytes.IndexByte(content, 0) >= 0 {
			return nil // a program
		}
		for i, line := range strings.Split(string(content), "\n") {
			for _, b := range banned {
				if found := strings.TrimSpace(b.pattern.FindString(line)); found != "" && !excepted("text", name, found) {
					t.Errorf("%s:%d: %q: %s", name, i+1, found, b.why)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestPackagesSayWhatTheyAre wants a package comment, in doc.go as soon as there are two files.
func TestPackagesSayWhatTheyAre(t *testing.T) {
	type pkg struct {
		files     []string
		commented []string
		name      string
	}
	packages := map[string]*pkg{}
	for _, f := range loadModule(t) {
		if f.generated || strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		p := packages[f.dir]
		if p == nil {
			p = &pkg{name: f.ast.Name.Name}
			packages[f.dir] = p
		}
		p.files = append(p.files, path.Base(f.path))
		if f.ast.Doc != nil {
			p.commented = append(p.commented, path.Base(f.path))
			start := "Package " + p.name + " "
			if text := f.ast.Doc.Text(); p.name != "main" && !strings.HasPrefix(text, start) {
				t.Errorf("%s:%d: the package comment does not start with %q", f.path, f.line(f.ast.Doc.Pos()), start)
			}
		}
	}
	for _, f := range loadModule(t) { // a package of tests only
		if strings.HasSuffix(f.path, "_test.go") && packages[f.dir] == nil {
			packages[f.dir] = &pkg{name: f.ast.Name.Name}
		}
	}
	for dir, p := range packages {
		home := "doc.go"
		if p.name == "main" {
			home = "main.go"
		}
		switch {
		case len(p.commented) == 0:
			t.Errorf("%s/%s:1: the package does not say what it is", dir, home)
		case len(p.commented) > 1:
			t.Errorf("%s/%s:1: the package comment is spread over %s", dir, home, strings.Join(p.commented, ", "))
		case len(p.files) > 1 && p.commented[0] != home && p.commented[0] != "doc.go":
			t.Errorf("%s/%s:1: a package of several files says what it is in %s", dir, p.commented[0], home)
		}
	}
}
