package http

import (
	"maps"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Metrics are what this node measures, in a registry of its own. Safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec
	seconds   *prometheus.HistogramVec
	forwarded *prometheus.CounterVec
	// series has the counters of what was counted before: to look them up by their labels costs
	// more than to count. It grows to the combinations of fixed lists (O1) and is replaced to grow.
	series atomic.Pointer[map[seriesKey]series]
}

type seriesKey struct {
	protocol, op string
	code         api.Code
}

type series struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

// NewMetrics makes the metrics of a node. replicas describes its replicas when it is scraped.
func NewMetrics(version string, node api.NodeID, replicas func() []*pb.ReplicaStatus) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lightning_requests_total", Help: "Requests by protocol, operation and outcome (ok, or the code of the error).",
		}, []string{"protocol", "op", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "lightning_request_seconds", Help: "Time of requests by protocol and operation.",
			// 100 µs to 6.5 s: from a read in memory to beyond the longest request.
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 17),
		}, []string{"protocol", "op"}),
		forwarded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lightning_forwarded_total", Help: "Requests sent on to the node that leads the shard, by operation and outcome.",
		}, []string{"op", "outcome"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "lightning_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "node_id": string(node)},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.forwarded, info, replicaCollector{replicas},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Add adds metrics of other parts of the node. It is called before the first scrape.
func (m *Metrics) Add(list ...prometheus.Collector) { m.registry.MustRegister(list...) }

func outcome(code api.Code) string {
	if code == "" {
		return "ok"
	}
	return string(api.Row(code).Code) // only the codes of the table (O1)
}

// Request counts a request. protocol and op must come from fixed lists (O1).
func (m *Metrics) Request(protocol, op string, code api.Code, took time.Duration) {
	key := seriesKey{protocol, op, code}
	found, ok := series{}, false
	if known := m.series.Load(); known != nil {
		found, ok = (*known)[key]
	}
	if !ok {
		found = m.addSeries(key)
	}
	found.requests.Inc()
	found.seconds.Observe(took.Seconds())
}

// addSeries may forget what another call adds at the same time; that is found again later.
func (m *Metrics) addSeries(key seriesKey) series {
	added := series{
		requests: m.requests.WithLabelValues(key.protocol, key.op, outcome(key.code)),
		seconds:  m.seconds.WithLabelValues(key.protocol, key.op),
	}
	if api.Row(key.code).Code != key.code && key.code != "" {
		return added // a code that is in no list is not kept
	}
	grown := map[seriesKey]series{key: added}
	if known := m.series.Load(); known != nil {
		maps.Copy(grown, *known)
	}
	m.series.Store(&grown)
	return added
}

// Forwarded counts a request that was sent to another node.
func (m *Metrics) Forwarded(op string, code api.Code) {
	m.forwarded.WithLabelValues(op, outcome(code)).Inc()
}

// replicaCollector turns the status of the local replicas into metrics when it is asked.
type replicaCollector struct {
	replicas func() []*pb.ReplicaStatus
}

var (
	shardLabel = []string{"shard"}

	ledDesc       = prometheus.NewDesc("lightning_shards_led", "Shards that this node leads.", nil, nil)
	heldDesc      = prometheus.NewDesc("lightning_shards_held", "Shards that this node holds a replica of.", nil, nil)
	leaderDesc    = prometheus.NewDesc("lightning_raft_leader", "1 if this node leads the shard.", shardLabel, nil)
	hasLeaderDesc = prometheus.NewDesc("lightning_raft_has_leader", "1 if this node knows a leader of the shard.", shardLabel, nil)

	replicaDescs = []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value func(*pb.ReplicaStatus) uint64
	}{
		{prometheus.NewDesc("lightning_raft_term", "Raft term.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetTerm},
		{prometheus.NewDesc("lightning_raft_commit_index", "Last committed index known here.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetCommitIndex},
		{prometheus.NewDesc("lightning_raft_applied_index", "Last applied index.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetAppliedIndex},
		{prometheus.NewDesc("lightning_raft_durable_index", "Last index that the engine holds on disk.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetDurableIndex},
		{prometheus.NewDesc("lightning_raft_first_log_index", "First index in the log.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetFirstLogIndex},
		{prometheus.NewDesc("lightning_raft_last_log_index", "Last index in the log.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetLastLogIndex},
		{prometheus.NewDesc("lightning_raft_snapshots_installed_total", "Snapshots received and installed since the start.", shardLabel, nil), prometheus.CounterValue, (*pb.ReplicaStatus).GetSnapshotsInstalled},
		{prometheus.NewDesc("lightning_replica_fenced", "1 if the replica is out of use because its state differs from the majority's.", shardLabel, nil), prometheus.GaugeValue, fenced},
		{prometheus.NewDesc("lightning_shard_writes_stopped", "1 if this node leads the shard and takes no writes, because its replicas differ and none has a majority.", shardLabel, nil), prometheus.GaugeValue, writesStopped},
		{prometheus.NewDesc("lightning_engine_disk_bytes", "Bytes of the engine's files.", shardLabel, nil), prometheus.GaugeValue, (*pb.ReplicaStatus).GetDiskBytes},
	}
)

func fenced(r *pb.ReplicaStatus) uint64 { return flag(r.Role == "fenced") }

func writesStopped(r *pb.ReplicaStatus) uint64 { return flag(r.WritesStopped) }

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

// Describe implements prometheus.Collector.
func (c replicaCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{ledDesc, heldDesc, leaderDesc, hasLeaderDesc} {
		ch <- d
	}
	for _, d := range replicaDescs {
		ch <- d.desc
	}
}

// Collect implements prometheus.Collector.
func (c replicaCollector) Collect(ch chan<- prometheus.Metric) {
	led := 0
	list := c.replicas()
	for _, r := range list {
		shard := strconv.FormatUint(r.ShardId, 10)
		leads := strings.EqualFold(r.Role, "leader")
		if leads {
			led++
		}
		ch <- prometheus.MustNewConstMetric(leaderDesc, prometheus.GaugeValue, boolean(leads), shard)
		ch <- prometheus.MustNewConstMetric(hasLeaderDesc, prometheus.GaugeValue, boolean(r.LeaderId != ""), shard)
		for _, d := range replicaDescs {
			ch <- prometheus.MustNewConstMetric(d.desc, d.kind, float64(d.value(r)), shard)
		}
	}
	ch <- prometheus.MustNewConstMetric(ledDesc, prometheus.GaugeValue, float64(led))
	ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(len(list)))
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
