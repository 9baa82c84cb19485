package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/raft"
)

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
