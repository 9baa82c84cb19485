package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/shard"
)

// engineCollector turns the figures of the engines of this node's replicas into metrics when it is asked.
type engineCollector struct {
	shards func() []*shard.Shard
}

// engineSeries is a metric of each engine.
type engineSeries struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*engine.Metrics) float64
}

var engineMetrics = []engineSeries{
	engineGauge("lightning_engine_memtable_bytes", "Bytes in memory that no table has yet.", func(m *engine.Metrics) float64 { return float64(m.MemtableBytes) }),
	engineGauge("lightning_engine_sealed_memtables", "Memtables that wait to be written.", func(m *engine.Metrics) float64 { return float64(m.SealedCount) }),
	engineGauge("lightning_engine_tables", "Tables of all levels.", func(m *engine.Metrics) float64 { return float64(m.Tables()) }),
	engineGauge("lightning_engine_level0_tables", "Tables of level 0, each of which a read may have to look into.", func(m *engine.Metrics) float64 { return float64(m.Levels[0].TableCount) }),
	engineGauge("lightning_engine_compaction_debt_bytes", "About how many bytes compactions have to write until every level is within its target.", func(m *engine.Metrics) float64 { return float64(m.CompactionDebt) }),
	engineGauge("lightning_engine_read_amplification", "Places that a read of a key may have to look into.", func(m *engine.Metrics) float64 { return float64(m.ReadAmplification) }),
	engineGauge("lightning_engine_snapshots", "Snapshots that are held.", func(m *engine.Metrics) float64 { return float64(m.SnapshotCount) }),
	engineCounter("lightning_engine_applied_bytes_total", "Bytes of the keys and values that were applied.", func(m *engine.Metrics) float64 { return float64(m.AppliedBytes) }),
	engineCounter("lightning_engine_flushed_bytes_total", "Bytes that flushes wrote.", func(m *engine.Metrics) float64 { return float64(m.FlushedBytes) }),
	engineCounter("lightning_engine_compacted_bytes_total", "Bytes that compactions wrote.", func(m *engine.Metrics) float64 { return float64(m.CompactedBytes) }),
	engineCounter("lightning_engine_flushes_total", "Memtables that were written.", func(m *engine.Metrics) float64 { return float64(m.Flushes) }),
	engineCounter("lightning_engine_compactions_total", "Compactions that ended.", func(m *engine.Metrics) float64 { return float64(m.Compactions) }),
	engineCounter("lightning_engine_stalls_total", "Times that a writer waited for a flush.", func(m *engine.Metrics) float64 { return float64(m.Stalls) }),
	engineCounter("lightning_engine_stall_seconds_total", "How long writers waited for flushes.", func(m *engine.Metrics) float64 { return m.StallTime.Seconds() }),
	engineCounter("lightning_engine_row_cache_hits_total", "Reads that the cache of rows answered.", func(m *engine.Metrics) float64 { return float64(m.RowCache.Hits) }),
	engineCounter("lightning_engine_row_cache_misses_total", "Reads that the cache of rows could not answer.", func(m *engine.Metrics) float64 { return float64(m.RowCache.Misses) }),
	engineCounter("lightning_engine_scrub_findings_total", "Damage that scrubs found.", func(m *engine.Metrics) float64 { return float64(m.ScrubFindings) }),
}

func engineGauge(name, help string, value func(*engine.Metrics) float64) engineSeries {
	return engineSeries{prometheus.NewDesc(name, help, []string{"shard"}, nil), prometheus.GaugeValue, value}
}

func engineCounter(name, help string, value func(*engine.Metrics) float64) engineSeries {
	return engineSeries{prometheus.NewDesc(name, help, []string{"shard"}, nil), prometheus.CounterValue, value}
}

// Describe implements prometheus.Collector.
func (c engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range engineMetrics {
		ch <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c engineCollector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.shards() {
		metrics, ok := s.EngineMetrics()
		if !ok {
			continue
		}
		label := strconv.FormatUint(uint64(s.ID()), 10)
		for _, series := range engineMetrics {
			ch <- prometheus.MustNewConstMetric(series.desc, series.kind, series.value(&metrics), label)
		}
	}
}
