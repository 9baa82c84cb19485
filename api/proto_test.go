package api

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a client reads is the .proto, so everything in it is explained there.
func TestEveryNameOfThePublicProtocolIsExplained(t *testing.T) {
	files, err := filepath.Glob("lightningv1/*.proto")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	declaration := regexp.MustCompile(`^\s*(message|enum|service|rpc)\s+\w+|^\s+(\w+\s+)*\w+\s*=\s*\d+;`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		names, before := 0, ""
		for i, line := range strings.Split(string(text), "\n") {
			if declaration.MatchString(line) {
				names++
				if !strings.HasPrefix(strings.TrimSpace(before), "//") {
					t.Errorf("%s:%d: no comment above %q", name, i+1, strings.TrimSpace(line))
				}
			}
			before = line
		}
		if names < 20 {
			t.Errorf("%s: only %d names were found", name, names)
		}
	}
}
