package compat

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/tests/cluster"
)

// TestExamplesPrintWhatTheyPromise runs the programs of examples/ that are not in Go as their own
// comments say; those in Go have tests beside them.
func TestExamplesPrintWhatTheyPromise(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: cluster.Patient})
	host, port := split(t, c.Nodes[1].RESP)
	node := nodeFolder(t, "examples/node")
	for _, example := range []struct {
		name    string
		program program
	}{
		{"python", program{args: []string{python3, "examples/python/quickstart.py", c.Nodes[0].RESP}}},
		{"node", program{dir: node, args: []string{"node", "quickstart.js", c.Nodes[2].RESP}}},
		{"c", program{args: []string{compileC(t, filepath.Join(cluster.Root(), "examples/c/quickstart.c")), host, port}}},
		{"shell", program{args: []string{"examples/shell/quickstart.sh", host, port}}},
	} {
		t.Run(example.name, func(t *testing.T) {
			out := strings.ToLower(run(t, example.program))
			for _, line := range []string{
				"get    planet:3 = earth", "ttl    session:42 is over 3500: true",
				"planet:1 = mercury\n", "planet:2 = venus\n", "planet:3 = earth\n", "multi  alice, bob = 70 30",
			} {
				if !strings.Contains(out, line) {
					t.Errorf("it does not print %q but\n%s", line, out)
				}
			}
		})
	}
}
