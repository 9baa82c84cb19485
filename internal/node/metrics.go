package node

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/trace/otlp"
	"github.com/lightning-db/lightning/raft"
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

// traceCollectors are what becomes of the spans of this node; without a collector of traces there is nothing.
func traceCollectors(e *otlp.Exporter) []prometheus.Collector {
	if e == nil {
		return nil
	}
	counter := func(name, help string, value func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		counter("lightning_trace_spans_sent_total", "Spans that the collector of traces has taken.", e.Sent),
		counter("lightning_trace_spans_dropped_total", "Spans that were dropped: the queue was full, or the collector did not take them.", e.Dropped),
	}
}

// logCollectors are what the log that all shards share takes on disk, and what it writes there.
func logCollectors(s *raft.NodeStorage) []prometheus.Collector {
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	counter := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("lightning_raft_log_live_bytes", "Bytes of the shared log that somebody needs.", func() int64 { return s.Usage().LiveBytes }),
		gauge("lightning_raft_log_bytes", "Bytes of the shared log on disk: needed, pinned between what is needed, or waiting for reuse.", func() int64 { return s.Usage().Bytes }),
		gauge("lightning_raft_log_excess_bytes", "By how many bytes the segments in use exceed the limit of the shared log; negative below it.", s.Excess),
		counter("lightning_raft_log_syncs_total", "Syncs of the shared log.", func() int64 { return s.Usage().Written.Syncs }),
		counter("lightning_raft_log_record_bytes_total", "Bytes of records written to the shared log.", func() int64 { return s.Usage().Written.Records }),
		counter("lightning_raft_log_zero_bytes_total", "Bytes of zeros that new files of the shared log were filled with.", func() int64 { return s.Usage().Written.Zeros }),
		counter("lightning_raft_log_block_bytes_total", "Bytes of whole blocks that the syncs of the shared log wrote: records, zeros, and parts of a block again.", func() int64 { return s.Usage().Written.Blocks }),
	}
}

// runtimeCollector turns the figures of what all engines of this node share into metrics when it is asked.
type runtimeCollector struct{ runtime *engine.Runtime }

// runtimeSeries is a metric of the node.
type runtimeSeries struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*engine.RuntimeMetrics) float64
}

var runtimeMetrics = []runtimeSeries{
	runtimeGauge("lightning_engine_cache_limit_bytes", "Bytes that the caches of all shards may hold together.", func(m *engine.RuntimeMetrics) float64 { return float64(m.CacheBytes) }),
	runtimeGauge("lightning_engine_row_cache_limit_bytes", "Bytes of that which rows may have now.", func(m *engine.RuntimeMetrics) float64 { return float64(m.RowCacheBytes) }),
	runtimeGauge("lightning_engine_row_cache_bytes", "Bytes of the caches of rows.", func(m *engine.RuntimeMetrics) float64 { return float64(m.RowBytes) }),
	runtimeGauge("lightning_engine_block_cache_bytes", "Bytes of the cache of blocks.", func(m *engine.RuntimeMetrics) float64 { return float64(m.BlockBytes) }),
	runtimeCounter("lightning_engine_block_cache_hits_total", "Blocks that were in the cache.", func(m *engine.RuntimeMetrics) float64 { return float64(m.BlockHits) }),
	runtimeCounter("lightning_engine_block_cache_misses_total", "Blocks that were read from a file.", func(m *engine.RuntimeMetrics) float64 { return float64(m.BlockMisses) }),
	runtimeGauge("lightning_engine_memtable_limit_bytes", "Bytes that the memtables of all shards may hold together, 0 for no limit.", func(m *engine.RuntimeMetrics) float64 { return float64(m.MemtableBytes) }),
	runtimeGauge("lightning_engine_memtables_filling_bytes", "Bytes of the memtables of all shards that fill.", func(m *engine.RuntimeMetrics) float64 { return float64(m.FillingBytes) }),
	runtimeGauge("lightning_engine_memtables_sealed_bytes", "Bytes of the memtables of all shards that wait to be written.", func(m *engine.RuntimeMetrics) float64 { return float64(m.SealedBytes) }),
	runtimeCounter("lightning_engine_memory_waits_total", "Times that a writer waited because the memtables of all shards held too much.", func(m *engine.RuntimeMetrics) float64 { return float64(m.MemoryWaits) }),
	runtimeCounter("lightning_engine_memory_flushes_total", "Memtables that were written before they were full, for the sake of the other shards.", func(m *engine.RuntimeMetrics) float64 { return float64(m.MemorySeals) }),
}

func runtimeGauge(name, help string, value func(*engine.RuntimeMetrics) float64) runtimeSeries {
	return runtimeSeries{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, value}
}

func runtimeCounter(name, help string, value func(*engine.RuntimeMetrics) float64) runtimeSeries {
	return runtimeSeries{prometheus.NewDesc(name, help, nil, nil), prometheus.CounterValue, value}
}

// Describe implements prometheus.Collector.
func (c runtimeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, s := range runtimeMetrics {
		ch <- s.desc
	}
}

// Collect implements prometheus.Collector.
func (c runtimeCollector) Collect(ch chan<- prometheus.Metric) {
	m := c.runtime.Metrics()
	for _, s := range runtimeMetrics {
		ch <- prometheus.MustNewConstMetric(s.desc, s.kind, s.value(&m))
	}
}
