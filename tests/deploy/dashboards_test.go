package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// panel is a graph of a dashboard. Its queries have $by in the place of the labels that choose nodes.
type panel struct {
	title, unit string
	queries     []query
}

type query struct{ expr, legend string }

// chosen is what $by stands for: every system of discovery has these labels.
const chosen = `job=~"$job", instance=~"$instance"`

// dashboards are the graphs of each file in deploy/grafana.
var dashboards = []struct {
	file, title string
	panels      []panel
}{
	{"overview.json", "Lightning DB: overview", []panel{
		{"Requests", "reqps", []query{{`sum by (protocol, op) (rate(lightning_requests_total{$by}[5m]))`, "{{protocol}} {{op}}"}}},
		{"Requests that failed", "reqps", []query{{`sum by (protocol, outcome) (rate(lightning_requests_total{$by, outcome!="ok"}[5m]))`, "{{protocol}} {{outcome}}"}}},
		{"Time of a request", "s", []query{
			{`histogram_quantile(0.5, sum by (le, op) (rate(lightning_request_seconds_bucket{$by}[5m])))`, "p50 {{op}}"},
			{`histogram_quantile(0.99, sum by (le, op) (rate(lightning_request_seconds_bucket{$by}[5m])))`, "p99 {{op}}"}}},
		{"Requests sent on to another node", "reqps", []query{{`sum by (instance) (rate(lightning_forwarded_total{$by}[5m]))`, "{{instance}}"}}},
		{"Shards that a node leads", "short", []query{{`lightning_shards_led{$by}`, "{{instance}}"}}},
		{"Replicas that a node holds", "short", []query{{`lightning_shards_held{$by}`, "{{instance}}"}}},
		{"Shards without a leader, or without writes", "short", []query{
			{`count(max by (shard) (lightning_raft_has_leader{$by}) == 0) or vector(0)`, "no leader"},
			{`count(max by (shard) (lightning_shard_writes_stopped{$by}) == 1) or vector(0)`, "writes stopped"},
			{`sum(lightning_replica_fenced{$by})`, "fenced replicas"}}},
		{"Bytes of tables", "bytes", []query{{`sum by (instance) (lightning_engine_disk_bytes{$by})`, "{{instance}}"}}},
		{"Memory", "bytes", []query{{`process_resident_memory_bytes{$by}`, "{{instance}}"}}},
		{"Days until a certificate expires", "d", []query{{`(lightning_certificate_expiry_timestamp_seconds{$by} - time()) / 86400`, "{{instance}}"}}},
	}},
	{"raft.json", "Lightning DB: Raft", []panel{
		{"Elections in ten minutes", "short", []query{{`max by (shard) (changes(lightning_raft_term{$by}[10m]))`, "shard {{shard}}"}}},
		{"Entries that are committed and not applied", "short", []query{{`lightning_raft_commit_index{$by} - lightning_raft_applied_index{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Entries behind the furthest replica", "short", []query{{`max by (shard) (lightning_raft_last_log_index{$by}) - min by (shard) (lightning_raft_last_log_index{$by})`, "shard {{shard}}"}}},
		{"Entries in the log", "short", []query{{`lightning_raft_last_log_index{$by} - lightning_raft_first_log_index{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Entries that only the log has", "short", []query{{`lightning_raft_applied_index{$by} - lightning_raft_durable_index{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Syncs of the log", "ops", []query{{`rate(lightning_raft_log_syncs_total{$by}[5m])`, "{{instance}}"}}},
		{"Bytes written to the log", "Bps", []query{
			{`rate(lightning_raft_log_record_bytes_total{$by}[5m])`, "{{instance}} records"},
			{`rate(lightning_raft_log_zero_bytes_total{$by}[5m])`, "{{instance}} zeros"},
			{`rate(lightning_raft_log_block_bytes_total{$by}[5m])`, "{{instance}} blocks"}}},
		{"Bytes of the log", "bytes", []query{
			{`lightning_raft_log_bytes{$by}`, "{{instance}} on disk"}, {`lightning_raft_log_live_bytes{$by}`, "{{instance}} needed"}}},
		{"Log over its limit", "bytes", []query{{`lightning_raft_log_excess_bytes{$by}`, "{{instance}}"}}},
		{"Snapshots installed", "short", []query{{`increase(lightning_raft_snapshots_installed_total{$by}[10m])`, "{{instance}} shard {{shard}}"}}},
		{"Rebuilds of fenced replicas", "short", []query{
			{`increase(lightning_replica_rebuilds_total{$by}[1h])`, "{{instance}} tries"},
			{`increase(lightning_replica_rebuild_failures_total{$by}[1h])`, "{{instance}} in vain"}}},
	}},
	{"engine.json", "Lightning DB: engine", []panel{
		{"Bytes written for a byte applied, without the log", "short", []query{{`sum by (instance) (rate(lightning_engine_flushed_bytes_total{$by}[10m]) + rate(lightning_engine_compacted_bytes_total{$by}[10m])) / sum by (instance) (rate(lightning_engine_applied_bytes_total{$by}[10m]))`, "{{instance}}"}}},
		{"Places that a read may have to look into", "short", []query{{`lightning_engine_read_amplification{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Part of the time that writers wait for the disk", "percentunit", []query{{`rate(lightning_engine_stall_seconds_total{$by}[5m])`, "{{instance}} shard {{shard}}"}}},
		{"Waits of writers", "ops", []query{{`rate(lightning_engine_stalls_total{$by}[5m])`, "{{instance}} shard {{shard}}"}}},
		{"Memtables", "bytes", []query{{`sum by (instance) (lightning_engine_memtable_bytes{$by})`, "{{instance}}"}}},
		{"Memtables that wait to be written", "short", []query{{`lightning_engine_sealed_memtables{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Compactions: bytes still to write", "bytes", []query{{`lightning_engine_compaction_debt_bytes{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Flushes and compactions", "ops", []query{
			{`sum by (instance) (rate(lightning_engine_flushes_total{$by}[5m]))`, "{{instance}} flushes"},
			{`sum by (instance) (rate(lightning_engine_compactions_total{$by}[5m]))`, "{{instance}} compactions"}}},
		{"Tables", "short", []query{
			{`sum by (instance) (lightning_engine_tables{$by})`, "{{instance}} all"}, {`sum by (instance) (lightning_engine_level0_tables{$by})`, "{{instance}} level 0"}}},
		{"Reads answered by the cache of rows", "percentunit", []query{{`sum by (instance) (rate(lightning_engine_row_cache_hits_total{$by}[5m])) / (sum by (instance) (rate(lightning_engine_row_cache_hits_total{$by}[5m])) + sum by (instance) (rate(lightning_engine_row_cache_misses_total{$by}[5m])))`, "{{instance}}"}}},
		{"Snapshots that are held", "short", []query{{`lightning_engine_snapshots{$by}`, "{{instance}} shard {{shard}}"}}},
		{"Damage found by scrubs", "short", []query{{`lightning_engine_scrub_findings_total{$by}`, "{{instance}} shard {{shard}}"}}},
	}},
	{"runtime.json", "Lightning DB: processes", []panel{
		{"Processor time", "percentunit", []query{{`rate(process_cpu_seconds_total{$by}[5m])`, "{{instance}}"}}},
		{"Memory", "bytes", []query{
			{`process_resident_memory_bytes{$by}`, "{{instance}} resident"}, {`go_memstats_heap_inuse_bytes{$by}`, "{{instance}} heap"}}},
		{"Goroutines", "short", []query{{`go_goroutines{$by}`, "{{instance}}"}}},
		{"Pauses of the collector", "s", []query{{`rate(go_gc_duration_seconds_sum{$by}[5m])`, "{{instance}}"}}},
		{"Open files", "short", []query{{`process_open_fds{$by}`, "{{instance}}"}, {`process_max_fds{$by}`, "{{instance}} limit"}}},
		{"Versions", "short", []query{{`count by (version) (lightning_build_info{$by})`, "{{version}}"}}},
		{"Wrong passwords", "ops", []query{{`sum by (instance) (rate(lightning_wrong_passwords_total{$by}[5m]))`, "{{instance}}"}}},
		{"Without TLS or password", "short", []query{{`lightning_insecure_mode{$by}`, "{{instance}}"}}},
	}},
}

func (q query) text() string { return strings.ReplaceAll(q.expr, "$by", chosen) }

// grafana is the dashboard in the form that Grafana imports.
func grafana(file, title string, panels []panel) map[string]any {
	source := map[string]any{"type": "prometheus", "uid": "${datasource}"}
	var list []any
	for i, p := range panels {
		var targets []any
		for j, q := range p.queries {
			targets = append(targets, map[string]any{"refId": string(rune('A' + j)), "datasource": source, "expr": q.text(), "legendFormat": q.legend})
		}
		list = append(list, map[string]any{
			"id": i + 1, "type": "timeseries", "title": p.title, "datasource": source, "targets": targets,
			"gridPos":     map[string]any{"x": 12 * (i % 2), "y": 8 * (i / 2), "w": 12, "h": 8},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": p.unit, "min": 0}, "overrides": []any{}},
		})
	}
	choice := func(name string) map[string]any {
		return map[string]any{
			"name": name, "type": "query", "datasource": source, "query": fmt.Sprintf("label_values(lightning_build_info, %s)", name),
			"refresh": 2, "multi": true, "includeAll": true, "allValue": ".*", "current": map[string]any{"text": "All", "value": "$__all"},
		}
	}
	return map[string]any{
		"uid": "lightning-" + strings.TrimSuffix(file, ".json"), "title": title, "tags": []string{"lightning-db"}, "schemaVersion": 39,
		"timezone": "browser", "refresh": "30s", "time": map[string]any{"from": "now-1h", "to": "now"}, "panels": list,
		"templating": map[string]any{"list": []any{
			map[string]any{"name": "datasource", "type": "datasource", "query": "prometheus"}, choice("job"), choice("instance"),
		}},
	}
}

func TestDashboardsAreWhatTheListSays(t *testing.T) {
	for _, d := range dashboards {
		text, err := json.MarshalIndent(grafana(d.file, d.title, d.panels), "", " ")
		if err != nil {
			t.Fatal(err)
		}
		compareFile(t, filepath.Join(root(), "deploy/grafana", d.file), string(text)+"\n")
	}
}

// TestQueriesOfDashboardsAreOfPrometheus gives them to promtool, as rules.
func TestQueriesOfDashboardsAreOfPrometheus(t *testing.T) {
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString("groups:\n- name: dashboards\n  rules:\n")
	for i, q := range allQueries() {
		expr, err := json.Marshal(strings.NewReplacer("$job", ".*", "$instance", ".*").Replace(q))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "  - {record: query_%d, expr: %s}\n", i, expr)
	}
	write(t, filepath.Join(dir, "rules.yaml"), []byte(text.String()), 0o644)
	promtool(t, dir, "check", "rules", "rules.yaml")
}

func allQueries() []string {
	var list []string
	for _, d := range dashboards {
		for _, p := range d.panels {
			for _, q := range p.queries {
				list = append(list, q.text())
			}
		}
	}
	return list
}

var metricName = regexp.MustCompile(`\b(?:lightning|go|process)_\w+`)

// checkMetricsAreServed compares what dashboards and alerts look at with what the pods answer together: some metrics
// are the master's, who has them after a round of its own.
func (s stage) checkMetricsAreServed(t *testing.T, pods []*pod) {
	t.Helper()
	looked := allQueries()
	for _, match := range regexp.MustCompile(`(?m)^\s+expr: (.*)$`).FindAllStringSubmatch(string(read(t, filepath.Join(root(), "deploy/prometheus/alerts.yaml"))), -1) {
		looked = append(looked, match[1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		missing := missingMetrics(looked, s.scrape(t, pods))
		if len(missing) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Errorf("no node has these, and somebody looks at them: %v", missing)
			return
		case <-time.After(time.Second):
		}
	}
}

// scrape is the names of all metrics that pods have.
func (s stage) scrape(t *testing.T, pods []*pod) map[string]bool {
	t.Helper()
	served := map[string]bool{}
	for _, p := range pods {
		text, err := p.get(t.Context(), s.m, "http", "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range splitLines(text) {
			if name := metricName.FindString(line); strings.HasPrefix(line, name) {
				served[name] = true
			}
		}
	}
	return served
}

func missingMetrics(looked []string, served map[string]bool) (missing []string) {
	for _, expr := range looked {
		for _, name := range metricName.FindAllString(expr, -1) {
			if !served[name] && !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		}
	}
	return missing
}
