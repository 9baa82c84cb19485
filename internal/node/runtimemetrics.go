package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/engine"
)

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
