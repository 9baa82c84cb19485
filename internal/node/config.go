package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/lightning-db/lightning/internal/trace/otlp"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

// Config is what a node is told from outside. Flags, the environment and a YAML file all fill
// it through one table, see settings; docs/config.md is generated from the same table.
// Nothing of it changes while the node runs.
type Config struct {
	ConfigFile      string
	DataDir         string
	Name            string
	Host            string
	AdvertiseHost   string
	RESPPort        uint16
	RESPClusterPort uint16
	GRPCPort        uint16
	HTTPPort        uint16
	GossipPort      uint16
	Join            []string
	BootstrapExpect int
	Shards          int
	Zone            string
	ClusterName     string
	StaleReadBound  time.Duration
	LogLevel        string
	SecurityConfig
	LogFormat   string
	PprofSocket string

	TraceEndpoint string
	TraceSample   float64

	MemoryLimit       byteSize
	MemtableBytes     int64
	CacheBytes        int64
	HeartbeatTimeout  time.Duration
	SnapshotThreshold uint64
	TrailingLogs      uint64
	TrailingBytes     byteSize
	SnapshotRate      byteSize
	SnapshotInterval  time.Duration
	DiskStallLimit    time.Duration
	ReplaceDeadAfter  time.Duration
	SplitBytes        byteSize
	SplitRequests     int64
}

// maxShards bounds the shards of a new cluster: every group costs goroutines, timers and an
// engine on each of its nodes, so hundreds are the most that a cluster is meant to hold.
const maxShards = 256

// minSplitBytes keeps shards from being split that are smaller than what a group costs its nodes in memory and log.
const minSplitBytes = 64 << 20

// minSplitRequests keeps shards from being split that any node serves with ease.
const minSplitRequests = 100

// settings is the table of everything that can be set. Each row adds one flag; the environment
// variable and the YAML key are derived from the flag's name.
func settings(c *Config, fs *pflag.FlagSet) {
	fs.StringVar(&c.ConfigFile, "config", "", "YAML file with settings; flags and environment win over it")
	fs.StringVar(&c.DataDir, "data-dir", "", "directory for everything the node keeps (required)")
	fs.StringVar(&c.Name, "name", "", "name of the node, unique in the cluster (default: the host's name)")
	fs.StringVar(&c.Host, "host", "127.0.0.1", "address to listen on; anything but loopback needs TLS, a password and a gossip key, or --insecure")
	fs.StringVar(&c.AdvertiseHost, "advertise-host", "", "host or address under which other nodes and clients reach this node (default: --host)")
	fs.Uint16Var(&c.RESPPort, "resp-port", 6379, "port of the Redis protocol")
	fs.Uint16Var(&c.RESPClusterPort, "resp-cluster-port", 7379, "port of the Redis protocol for cluster-aware clients, which it sends to the leader of each slot; 0 for none")
	fs.DurationVar(&c.StaleReadBound, "stale-read-bound", time.Second, "how old an answer may be that a Redis client gets from a replica after READONLY")
	fs.Uint16Var(&c.GRPCPort, "grpc-port", 8379, "port of gRPC, for clients and between nodes")
	fs.Uint16Var(&c.HTTPPort, "http-port", 9379, "port of HTTP: /livez, /readyz, /metrics, and the keys as JSON under /v1/")
	fs.Uint16Var(&c.GossipPort, "gossip-port", 5379, "port of gossip, TCP and UDP")
	fs.StringSliceVar(&c.Join, "join", nil, "gossip addresses (host:port) or DNS names of other nodes, comma-separated; asked again for ever")
	fs.IntVar(&c.BootstrapExpect, "bootstrap-expect", 0, "form a new cluster with exactly this many nodes, once; without it and without --join the node is a cluster of its own")
	fs.IntVar(&c.Shards, "shards", 0, fmt.Sprintf("shards of a new cluster, at most %d (default: one per founding node)", maxShards))
	fs.StringVar(&c.Zone, "zone", "", "failure zone of the node, shown in the map")
	fs.StringVar(&c.ClusterName, "cluster-name", "lightning", "name of the cluster in gossip and in certificates; nodes with different names do not talk")
	securitySettings(&c.SecurityConfig, fs)
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", logFormatText, "text or json, one line each, on standard error; never with keys, values or passwords")
	fs.StringVar(&c.PprofSocket, "pprof-socket", "", "path of a Unix socket, of mode 0600, that serves the runtime's profiles under /debug/pprof/; they may show keys and values (default: none)")
	fs.StringVar(&c.TraceEndpoint, "trace-endpoint", "", "collector of OpenTelemetry that takes traces by OTLP over gRPC: http://host:port, or https://host:port (default: nothing is traced)")
	fs.Float64Var(&c.TraceSample, "trace-sample", 0.01, "share of the requests to trace, from 0 to 1, of those whose sender has not decided it by the header traceparent")
	fs.Var(&c.MemoryLimit, "memory-limit", "memory that the process is to stay below, such as 1GiB: for the collector, and divided among memtables, caches and requests; a value of 64 MiB by RESP needs 280MiB (default: GOMEMLIMIT, and no division)")
	fs.Int64Var(&c.MemtableBytes, "memtable-bytes", 0, "bytes that one shard holds in memory before it writes a table (default: the engine's; with --memory-limit all shards share a fifth of it, and the largest is written first)")
	fs.Int64Var(&c.CacheBytes, "cache-bytes", 0, "bytes of the caches of blocks and rows for each shard that the node is expected to hold; all its shards share the sum (default: the engine's, at most a fifth of --memory-limit)")
	fs.DurationVar(&c.HeartbeatTimeout, "heartbeat-timeout", 500*time.Millisecond, "silence after which a follower stands for election; 300ms on quiet networks, 1s on noisy ones")
	fs.Uint64Var(&c.SnapshotThreshold, "raft-snapshot-threshold", 8192, "entries after which a group may flush and cut its log")
	fs.Uint64Var(&c.TrailingLogs, "raft-trailing-logs", 65536, "entries kept at most behind the cut for followers that lag; those that lack more get a snapshot")
	c.TrailingBytes = 64 << 20
	fs.Var(&c.TrailingBytes, "raft-trailing-bytes", "bytes of log kept at most behind the cut of each group, and 256MiB of all groups of the node together")
	c.SnapshotRate = 64 << 20
	fs.Var(&c.SnapshotRate, "snapshot-rate", "bytes of snapshots that the node sends in a second to followers that are far behind, and that it receives; less leaves more of disk and network to clients")
	fs.DurationVar(&c.SnapshotInterval, "raft-snapshot-interval", 5*time.Second, "how often a group looks whether to flush and cut its log; bounds what is replayed after a crash")
	fs.DurationVar(&c.ReplaceDeadAfter, "replace-dead-after", 5*time.Minute, "how long a node must be silent before its replicas are made again on other nodes; the same on all nodes, longer than a restart takes")
	fs.Var(&c.SplitBytes, "split-bytes", "size of a shard's tables on one node beyond which it is split in two, one at a time, until there are 256 shards; the same on all nodes; 0 never (default: 0)")
	fs.Int64Var(&c.SplitRequests, "split-requests", 0, "requests per second to a shard, averaged over minutes, beyond which it is split in two as for --split-bytes, if it has 128 slots or more; the same on all nodes; 0 never")
	fs.DurationVar(&c.DiskStallLimit, "disk-stall-limit", 20*time.Second, "how long one write of a log may take before the node ends itself with exit code 7; it stops leading after --heartbeat-timeout of it")
}

// ConfigError lists everything that is wrong with the settings.
type ConfigError struct{ Problems []string }

// Error implements error.
func (e *ConfigError) Error() string {
	return "configuration: " + strings.Join(e.Problems, "; ")
}

// LoadConfig fills a Config from the command line, the environment (looked up by lookupEnv) and
// the file named by --config, in this order of precedence, and validates it. The error is
// pflag.ErrHelp when help was asked for, else a *ConfigError.
func LoadConfig(args []string, lookupEnv func(string) (string, bool)) (Config, error) {
	var c Config
	fs := pflag.NewFlagSet("lightning-node start", pflag.ContinueOnError)
	fs.Usage = func() {}
	settings(&c, fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return c, err
		}
		return c, &ConfigError{Problems: []string{err.Error()}}
	}
	problems := unexpectedArguments(fs)
	problems = append(problems, fillFromEnvironment(fs, lookupEnv)...)
	problems = append(problems, fillFromFile(fs, c.ConfigFile)...)
	c.withDefaults()
	problems = append(problems, c.validate()...)
	if len(problems) > 0 {
		return c, &ConfigError{Problems: problems}
	}
	return c, nil
}

func unexpectedArguments(fs *pflag.FlagSet) []string {
	if fs.NArg() == 0 {
		return nil
	}
	return []string{fmt.Sprintf("unexpected argument %q: settings are given as --name=value", fs.Arg(0))}
}

func envName(flag string) string {
	return "LIGHTNING_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func yamlKey(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

func fillFromEnvironment(fs *pflag.FlagSet, lookupEnv func(string) (string, bool)) []string {
	var problems []string
	fs.VisitAll(func(f *pflag.Flag) {
		value, ok := lookupEnv(envName(f.Name))
		if !ok || f.Changed {
			return
		}
		if err := fs.Set(f.Name, value); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", envName(f.Name), err))
		}
	})
	return problems
}

func fillFromFile(fs *pflag.FlagSet, name string) []string {
	if name == "" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return []string{err.Error()}
	}
	var values map[string]any
	if err := yaml.Unmarshal(data, &values); err != nil {
		return []string{fmt.Sprintf("%s: %v", name, err)}
	}
	var problems []string
	fs.VisitAll(func(f *pflag.Flag) {
		value, ok := values[yamlKey(f.Name)]
		delete(values, yamlKey(f.Name))
		if !ok || f.Changed {
			return
		}
		if err := fs.Set(f.Name, yamlText(value)); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %s: %v", name, yamlKey(f.Name), err))
		}
	})
	for key := range values {
		problems = append(problems, fmt.Sprintf("%s: unknown setting %q", name, key))
	}
	return problems
}

// yamlText writes a YAML value as a flag would be written.
func yamlText(value any) string {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	items := make([]string, len(list))
	for i, v := range list {
		items[i] = fmt.Sprint(v)
	}
	return strings.Join(items, ",")
}

func (c *Config) withDefaults() {
	if c.Name == "" {
		// A node without a name is refused by validate, so an unknown host name is not lost.
		c.Name, _ = os.Hostname()
	}
	if c.AdvertiseHost == "" {
		c.AdvertiseHost = c.Host
	}
}

// maxNameBytes keeps a name and a zone within the 512 bytes that gossip carries per node.
const maxNameBytes = 64

func (c *Config) validate() []string {
	var problems []string
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	refuse(c.DataDir == "", "--data-dir is required")
	refuse(c.Name == "", "--name is required: the host has no name")
	refuse(len(c.Name) > maxNameBytes || !utf8.ValidString(c.Name), "--name must be UTF-8 of at most %d bytes", maxNameBytes)
	refuse(len(c.Zone) > maxNameBytes || !utf8.ValidString(c.Zone), "--zone must be UTF-8 of at most %d bytes", maxNameBytes)
	refuse(c.BootstrapExpect < 0 || c.BootstrapExpect > pledge.MaxFounders, "--bootstrap-expect must be from 1 to %d", pledge.MaxFounders)
	refuse(c.BootstrapExpect > 1 && len(c.Join) == 0, "--bootstrap-expect %d needs --join with the addresses of the others", c.BootstrapExpect)
	refuse(c.Shards < 0 || c.Shards > maxShards, "--shards must be from 1 to %d", maxShards)
	refuse(c.HeartbeatTimeout < 100*time.Millisecond || c.HeartbeatTimeout > 30*time.Second, "--heartbeat-timeout must be from 100ms to 30s")
	refuse(c.DiskStallLimit < 2*c.HeartbeatTimeout || c.DiskStallLimit > time.Hour, "--disk-stall-limit must be from twice --heartbeat-timeout to 1h")
	refuse(c.ReplaceDeadAfter < 5*time.Second, "--replace-dead-after must be at least 5s")
	refuse(c.SplitBytes != 0 && c.SplitBytes < minSplitBytes, "--split-bytes must be 0 or at least %dMiB", minSplitBytes>>20)
	refuse(c.SplitRequests != 0 && c.SplitRequests < minSplitRequests, "--split-requests must be 0 or at least %d", minSplitRequests)
	refuse(c.StaleReadBound < time.Millisecond || c.StaleReadBound > time.Hour, "--stale-read-bound must be from 1ms to 1h")
	refuse(c.SnapshotInterval < 100*time.Millisecond, "--raft-snapshot-interval must be at least 100ms")
	refuse(c.SnapshotThreshold == 0, "--raft-snapshot-threshold must be at least 1")
	refuse(c.TrailingBytes < 1, "--raft-trailing-bytes must be at least 1")
	refuse(c.SnapshotRate < raft.MinSnapshotRate, "--snapshot-rate must be at least %dMiB", raft.MinSnapshotRate>>20)
	refuse(c.MemoryLimit != 0 && c.MemoryLimit < minMemoryLimit, "--memory-limit must be at least %dMiB", minMemoryLimit>>20)
	refuse(c.MemtableBytes < 0, "--memtable-bytes must not be negative")
	refuse(c.CacheBytes < 0, "--cache-bytes must not be negative")
	if err := otlp.Validate(c.TraceEndpoint, c.TraceSample); c.TraceEndpoint != "" && err != nil {
		problems = append(problems, "--trace-endpoint, --trace-sample: "+err.Error())
	}
	if _, err := newLogger(*c, io.Discard); err != nil {
		problems = append(problems, err.Error())
	}
	problems = append(problems, c.validateHosts()...)
	problems = append(problems, c.validateSecurity()...)
	return append(problems, c.validatePorts()...)
}

func (c *Config) validateHosts() []string {
	ip := net.ParseIP(c.Host)
	switch {
	case ip == nil && c.Host != "localhost":
		return []string{fmt.Sprintf("--host %q is not an IP address", c.Host)}
	}
	if advertised := net.ParseIP(c.AdvertiseHost); advertised != nil && advertised.IsUnspecified() {
		return []string{fmt.Sprintf("--advertise-host %s cannot be dialled: name the address that the other nodes use", c.AdvertiseHost)}
	}
	return nil
}

func (c *Config) validatePorts() []string {
	var problems []string
	used := map[uint16]string{}
	for _, p := range []struct {
		flag string
		port uint16
	}{{"--resp-port", c.RESPPort}, {"--resp-cluster-port", c.RESPClusterPort}, {"--grpc-port", c.GRPCPort}, {"--http-port", c.HTTPPort}, {"--gossip-port", c.GossipPort}} {
		if p.port == 0 && p.flag == "--resp-cluster-port" {
			continue
		}
		if p.port == 0 {
			problems = append(problems, p.flag+" must not be 0")
			continue
		}
		if other, taken := used[p.port]; taken {
			problems = append(problems, fmt.Sprintf("%s and %s are both %d", other, p.flag, p.port))
		}
		used[p.port] = p.flag
	}
	return problems
}
