package scenarios

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// example is a command of a document and the lines that it says come out.
type example struct {
	command, output string
}

// examplesOf finds the blocks of a document that are marked as console.
func examplesOf(text string) []example {
	var list []example
	inside := false
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = strings.HasPrefix(line, "```console")
		case inside && isCommand:
			list = append(list, example{command: command})
		case inside:
			list[len(list)-1].output += line
		}
	}
	return list
}

// matches reports whether got is what an example says, with anything in the place of each ….
func (e example) matches(got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(e.output)), "…", ".*")
	return regexp.MustCompile(`^` + pattern + `$`).MatchString(strings.TrimSpace(got))
}

// TestTheExamplesOfTheHTTPDocumentAreTrue runs every command of docs/http.md, one after another, and
// compares what comes out. Each goes to another node.
func TestTheExamplesOfTheHTTPDocumentAreTrue(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(cluster.Root(), "docs", "http.md"))
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	list := examplesOf(string(text))
	for i, e := range list {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		command := strings.ReplaceAll(e.command, "127.0.0.1:9379", c.Nodes[i%len(c.Nodes)].HTTP)
		got, err := exec.CommandContext(ctx, "bash", "-c", command).CombinedOutput()
		cancel()
		if err != nil || !e.matches(string(got)) {
			t.Errorf("$ %s%v\ngot:  %s\nwant: %s", e.command, err, got, e.output)
		}
	}
	if len(list) < 15 {
		t.Errorf("only %d examples were found", len(list))
	}
	say(t, "%d examples of docs/http.md", len(list))
}
