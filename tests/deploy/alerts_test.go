package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rules is a file of alerts, as much of Prometheus' form as is used.
type rules struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// TestEachAlertHasMetricsAndARunbook: a metric that is renamed silences an alert, and nobody notices.
func TestEachAlertHasMetricsAndARunbook(t *testing.T) {
	var file rules
	if err := yaml.UnmarshalStrict(read(t, filepath.Join(root(), "deploy/prometheus/alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	runbooks := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^## (\S+)$`).FindAllStringSubmatch(string(read(t, filepath.Join(root(), "docs/operations.md"))), -1) {
		runbooks[heading[1]] = true
	}
	metrics := metricsOf(t)
	names := regexp.MustCompile(`lightning_\w+`)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if !runbooks[r.Alert] || r.Annotations["runbook"] != "docs/operations.md#"+strings.ToLower(r.Alert) {
				t.Errorf("%s has no runbook, or names another one: %q", r.Alert, r.Annotations["runbook"])
			}
			delete(runbooks, r.Alert)
			if r.Annotations["summary"] == "" || r.Labels["severity"] != "critical" && r.Labels["severity"] != "warning" {
				t.Errorf("%s has the labels %v and the annotations %v", r.Alert, r.Labels, r.Annotations)
			}
			used := names.FindAllString(r.Expr, -1)
			if len(used) == 0 {
				t.Errorf("%s looks at nothing: %s", r.Alert, r.Expr)
			}
			for _, name := range used {
				if !metrics[name] {
					t.Errorf("%s looks at %s, which no node has", r.Alert, name)
				}
			}
		}
	}
	for name := range runbooks {
		t.Errorf("docs/operations.md has a runbook for %s, which is no alert", name)
	}
}

// metricsOf are the names of metrics in the source of the node.
func metricsOf(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	literal := regexp.MustCompile(`"(lightning_\w+)"`)
	for _, dir := range []string{"internal/node", "server/http"} {
		err := filepath.WalkDir(filepath.Join(root(), dir), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, name := range literal.FindAllSubmatch(source, -1) {
				found[string(name[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
