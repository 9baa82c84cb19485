package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// rewrite makes tests write what they would compare.
var rewrite = os.Getenv("LIGHTNING_REWRITE") != ""

const ruleHead = `# Made of deploy/prometheus/alerts.yaml by a test: cd tests/deploy && LIGHTNING_REWRITE=1 go test -run PrometheusRule
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: lightning
  labels:
    app.kubernetes.io/name: lightning
    app.kubernetes.io/part-of: lightning-db
spec:
`

func TestThePrometheusRuleHasTheAlerts(t *testing.T) {
	path := filepath.Join(root(), "deploy/k8s/monitoring/prometheusrule.yaml")
	var alerts struct {
		Groups []any `json:"groups"`
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(root(), "deploy/prometheus/alerts.yaml")), &alerts); err != nil {
		t.Fatal(err)
	}
	body, err := yaml.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	want := ruleHead
	for _, line := range splitLines(string(body)) {
		want += "  " + line + "\n"
	}
	compareFile(t, path, want)
}

// compareFile compares a file that is made with what it should be, or writes it.
func compareFile(t *testing.T, path, want string) {
	t.Helper()
	if rewrite {
		write(t, path, []byte(want), 0o644)
	}
	if got := string(read(t, path)); got != want {
		t.Errorf("%s is not what it is made of; LIGHTNING_REWRITE=1 makes it again", path)
	}
}

// promtool runs Prometheus' own tool, which Debian has in the package prometheus.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("LIGHTNING_REQUIRE_PROMTOOL") != "" {
			t.Fatal(err)
		}
		t.Skip("promtool is not installed: apt-get install prometheus")
	}
	command := exec.Command("promtool", args...)
	command.Dir = dir
	if text, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, text)
	}
}

func TestAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	promtool(t, filepath.Join(root(), "deploy/prometheus"), "test", "rules", "alerts_test.yaml")
}

// TestEveryAlertHasAFiringAndAQuietCase looks at what the test above tests.
func TestEveryAlertHasAFiringAndAQuietCase(t *testing.T) {
	var file rules
	if err := yaml.UnmarshalStrict(read(t, filepath.Join(root(), "deploy/prometheus/alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var cases struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string `json:"alertname"`
				ExpAlerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(root(), "deploy/prometheus/alerts_test.yaml")), &cases); err != nil {
		t.Fatal(err)
	}
	firing, quiet, alerts := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, group := range cases.Tests {
		for _, c := range group.AlertRuleTest {
			if len(c.ExpAlerts) > 0 {
				firing[c.Alertname] = true
			} else {
				quiet[c.Alertname] = true
			}
		}
	}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			alerts[rule.Alert] = true
		}
	}
	if !reflect.DeepEqual(firing, alerts) || !reflect.DeepEqual(quiet, alerts) {
		t.Errorf("alerts %v\nwith a firing case %v\nwith a quiet case %v", alerts, firing, quiet)
	}
}

func splitLines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }
