package resp

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"time"
)

// infoSections are the sections of INFO in their order. keyspace is made only when it is named,
// because it counts every key of the store.
var infoSections = []struct {
	name  string
	write func(b *strings.Builder, s *Server)
}{
	{"server", infoServer},
	{"clients", infoClients},
	{"memory", infoMemory},
	{"persistence", infoPersistence},
	{"stats", infoStats},
	{"replication", infoReplication},
	{"cpu", func(*strings.Builder, *Server) {}},
	{"modules", func(*strings.Builder, *Server) {}},
	{"errorstats", func(*strings.Builder, *Server) {}},
	{"cluster", func(b *strings.Builder, _ *Server) { line(b, "cluster_enabled", 0) }},
}

func line(b *strings.Builder, name string, value any) { fmt.Fprintf(b, "%s:%v\r\n", name, value) }

func onInfo(ctx context.Context, c *conn, args [][]byte) error {
	wanted := make(map[string]bool)
	for _, arg := range args[1:] {
		wanted[strings.ToLower(string(arg[:min(len(arg), maxNameBytes)]))] = true
	}
	all := len(wanted) == 0 || wanted["all"] || wanted["default"] || wanted["everything"]
	var b strings.Builder
	for _, section := range infoSections {
		if all || wanted[section.name] {
			header(&b, section.name)
			section.write(&b, c.server)
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
	c.out.text(b.String())
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

func infoServer(b *strings.Builder, s *Server) {
	uptime := s.opts.Clock.Now().Sub(s.started)
	line(b, "redis_version", redisVersion)
	line(b, "redis_mode", "standalone")
	line(b, "os", runtime.GOOS+" "+runtime.GOARCH)
	line(b, "arch_bits", 32<<(^uint(0)>>63))
	line(b, "run_id", s.opts.Node)
	line(b, "uptime_in_seconds", int64(uptime/time.Second))
	line(b, "uptime_in_days", int64(uptime/(24*time.Hour)))
	line(b, "lightning_version", s.opts.Version)
	line(b, "lightning_node_id", s.opts.Node)
}

func infoClients(b *strings.Builder, s *Server) {
	line(b, "connected_clients", s.connCount())
	line(b, "maxclients", s.opts.MaxConns)
	line(b, "blocked_clients", 0)
}

func infoMemory(b *strings.Builder, _ *Server) {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	metrics.Read(samples)
	line(b, "used_memory", samples[0].Value.Uint64())
	line(b, "used_memory_rss", samples[1].Value.Uint64())
	line(b, "maxmemory", 0)
	line(b, "maxmemory_policy", "noeviction")
}

// infoPersistence says what is true: every acknowledged write is on disk, and nothing is loaded
// that is not served.
func infoPersistence(b *strings.Builder, _ *Server) {
	line(b, "loading", 0)
	line(b, "rdb_bgsave_in_progress", 0)
	line(b, "aof_enabled", 1)
	line(b, "aof_rewrite_in_progress", 0)
}

func infoStats(b *strings.Builder, s *Server) {
	line(b, "total_connections_received", s.accepted.Load())
	line(b, "total_commands_processed", s.commands.Load())
	line(b, "expired_keys", 0)
	line(b, "evicted_keys", 0)
}

// infoReplication: replicas are invisible to Redis clients; each node takes every command.
func infoReplication(b *strings.Builder, _ *Server) {
	line(b, "role", "master")
	line(b, "connected_slaves", 0)
	line(b, "master_repl_offset", 0)
}
