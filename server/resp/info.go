package resp

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/lightning-db/lightning/server/resp/slots"
	"github.com/lightning-db/lightning/server/resp/wire"
)

// infoSections are the sections of INFO in their order. Those that are not by default are made
// when they are named or when all is. keyspace is made only when it is named, because it counts
// every key of the store.
var infoSections = []struct {
	name      string
	byDefault bool
	write     func(b *strings.Builder, c *conn)
}{
	{"server", true, infoServer},
	{"clients", true, infoClients},
	{"memory", true, ofServer(infoMemory)},
	{"persistence", true, ofServer(infoPersistence)},
	{"stats", true, ofServer(infoStats)},
	{"replication", true, ofServer(infoReplication)},
	{"cpu", true, ofServer(infoCPU)},
	{"modules", true, func(*strings.Builder, *conn) {}},
	{"commandstats", false, ofServer(infoCommandStats)},
	{"errorstats", true, ofServer(infoErrorStats)},
	{"cluster", true, infoCluster},
}

func ofServer(write func(*strings.Builder, *Server)) func(*strings.Builder, *conn) {
	return func(b *strings.Builder, c *conn) { write(b, c.server) }
}

func line(b *strings.Builder, name string, value any) { fmt.Fprintf(b, "%s:%v\r\n", name, value) }

func onInfo(ctx context.Context, c *conn, args [][]byte) error {
	wanted := make(map[string]bool)
	for _, arg := range args[1:] {
		wanted[wire.Option(arg)] = true
	}
	all := wanted["all"] || wanted["everything"]
	usual := all || len(wanted) == 0 || wanted["default"]
	var b strings.Builder
	for _, section := range infoSections {
		if all || usual && section.byDefault || wanted[section.name] {
			header(&b, section.name)
			section.write(&b, c)
		}
	}
	if wanted["keyspace"] {
		count, err := c.server.opts.Store.Count(ctx, 0)
		if err != nil {
			return err
		}
		header(&b, "keyspace")
		if count > 0 {
			line(&b, "db0", fmt.Sprintf("keys=%d,expires=0,avg_ttl=0", count))
		}
	}
	c.out.Text(b.String())
	return nil
}

func header(b *strings.Builder, name string) {
	if b.Len() > 0 {
		b.WriteString("\r\n")
	}
	title := strings.ToUpper(name[:1]) + name[1:]
	if name == "cpu" {
		title = "CPU"
	}
	fmt.Fprintf(b, "# %s\r\n", title)
}

func infoServer(b *strings.Builder, c *conn) {
	s := c.server
	now := s.opts.Clock.Now()
	uptime := now.Sub(s.started)
	_, port, _ := net.SplitHostPort(c.net.LocalAddr().String()) // empty if the transport has no ports
	line(b, "redis_version", redisVersion)
	line(b, "redis_mode", s.mode())
	line(b, "os", runtime.GOOS+" "+runtime.GOARCH)
	line(b, "arch_bits", 32<<(^uint(0)>>63))
	line(b, "run_id", slots.RedisID(string(s.opts.Node)))
	line(b, "tcp_port", port)
	line(b, "server_time_usec", now.UnixMicro())
	line(b, "uptime_in_seconds", int64(uptime/time.Second))
	line(b, "uptime_in_days", int64(uptime/(24*time.Hour)))
	line(b, "lightning_version", s.opts.Version)
	line(b, "lightning_node_id", s.opts.Node)
}

func infoClients(b *strings.Builder, c *conn) {
	line(b, "connected_clients", c.server.connCount())
	line(b, "cluster_connections", 0)
	line(b, "maxclients", c.server.settings.maxClients.Load())
	line(b, "blocked_clients", 0)
	line(b, "tracking_clients", 0)
}

func infoMemory(b *strings.Builder, _ *Server) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	used, total := samples[0].Value.Uint64(), samples[1].Value.Uint64()
	line(b, "used_memory", used)
	line(b, "used_memory_human", human(used))
	line(b, "used_memory_rss", total)
	line(b, "used_memory_rss_human", human(total))
	line(b, "maxmemory", 0)
	line(b, "maxmemory_human", "0B")
	line(b, "maxmemory_policy", "noeviction")
	line(b, "mem_allocator", "go")
}

// human writes bytes with a unit, as Redis does.
func human(bytes uint64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%dB", bytes)
	}
	value, unit := float64(bytes)/(1<<10), 0
	for value >= 1<<10 && unit < 3 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.2f%c", value, "KMGT"[unit])
}

// infoPersistence says what is true: every acknowledged write is on disk, and nothing is loaded
// that is not served.
func infoPersistence(b *strings.Builder, _ *Server) {
	line(b, "loading", 0)
	line(b, "async_loading", 0)
	line(b, "rdb_changes_since_last_save", 0)
	line(b, "rdb_bgsave_in_progress", 0)
	line(b, "rdb_last_bgsave_status", "ok")
	line(b, "aof_enabled", 1)
	line(b, "aof_rewrite_in_progress", 0)
	line(b, "aof_last_bgrewrite_status", "ok")
	line(b, "aof_last_write_status", "ok")
}

func infoStats(b *strings.Builder, s *Server) {
	line(b, "total_connections_received", s.stats.accepted.Load())
	line(b, "total_commands_processed", s.stats.processed.Load())
	line(b, "total_net_input_bytes", s.stats.received.Load())
	line(b, "total_net_output_bytes", s.stats.sent.Load())
	line(b, "rejected_connections", s.stats.turnedAway.Load())
	line(b, "client_output_buffer_limit_disconnections", s.stats.unread.Load())
	line(b, "expired_keys", 0)
	line(b, "evicted_keys", 0)
	line(b, "pubsub_channels", 0)
	line(b, "pubsub_patterns", 0)
	line(b, "total_error_replies", s.stats.errors.Load())
}

// infoReplication: replicas are invisible to Redis clients; each node takes every command.
func infoReplication(b *strings.Builder, s *Server) {
	line(b, "role", "master")
	line(b, "connected_slaves", 0)
	line(b, "master_failover_state", "no-failover")
	line(b, "master_replid", slots.RedisID(string(s.opts.Node)))
	line(b, "master_repl_offset", 0)
}

func infoCPU(b *strings.Builder, _ *Server) {
	samples := []metrics.Sample{{Name: "/cpu/classes/user:cpu-seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(samples)
	line(b, "used_cpu_sys", "0.000000") // the runtime does not tell the two apart
	line(b, "used_cpu_user", fmt.Sprintf("%.6f", samples[0].Value.Float64()+samples[1].Value.Float64()))
}

func infoCluster(b *strings.Builder, c *conn) {
	enabled := 0
	if c.server.opts.Cluster {
		enabled = 1
	}
	line(b, "cluster_enabled", enabled)
}
