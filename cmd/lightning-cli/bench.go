package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/cmd/lightning-cli/bench"
)

// benchFlags are bench's own flags.
type benchFlags struct {
	bench.Options
	workload, distribution string
	redis                  string
	redisCluster           bool
}

func (a *app) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put load on a cluster, or on any Redis, and measure it",
		Long: "Put load on the cluster that --addr names, by the Go SDK, whose calls go many in a gRPC message, or\n" +
			"with --redis on any server that speaks the Redis protocol, this cluster's Redis ports included. It\n" +
			"ends by itself after --duration, or after --count operations if that is sooner; Ctrl-C ends it\n" +
			"early, with a report.\n\n" +
			"The workloads get and mixed write each of --keys once before; that is in neither --duration nor\n" +
			"the report, and takes long where writes do: give fewer keys, or another workload.\n\n" +
			"What it writes stays, under keys that begin with --prefix, unless --ttl is given. A latency is the\n" +
			"time of a whole round: with --pipeline 16, until 16 answers are there. Clients wait for their\n" +
			"answers, so while a store stalls less is asked of it.",
		Args: arguments(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.Workload, f.Distribution = bench.Workload(f.workload), bench.Distribution(f.distribution)
			f.Timeout = a.timeout
			if err := f.Validate(); err != nil {
				return usagef("%w", err)
			}
			if f.redis != "" {
				return a.benchRedis(cmd.Context(), f)
			}
			return a.benchCluster(cmd.Context(), f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.workload, "workload", string(bench.Mixed), "set, get, mixed (4 gets for 1 set) or incr")
	flags.IntVar(&f.Clients, "clients", 16, "how many work side by side")
	flags.IntVar(&f.Pipeline, "pipeline", 1, "operations that a client sends at once (only with --redis)")
	flags.IntVar(&f.ValueBytes, "value-bytes", 128, "size of a value")
	flags.IntVar(&f.KeyCount, "keys", 10000, "how many different keys")
	flags.StringVar(&f.distribution, "distribution", string(bench.Uniform), "uniform, or zipf: few keys get most requests")
	flags.DurationVar(&f.Duration, "duration", 10*time.Second, "how long to measure, at most "+bench.MaxDuration.String())
	flags.Uint64Var(&f.Count, "count", 0, "end after so many operations; 0 is only after --duration")
	flags.DurationVar(&f.WarmUp, "warm-up", time.Second, "time before anything is counted")
	flags.Uint64Var(&f.Seed, "seed", 1, "for the choice of keys")
	flags.DurationVar(&f.TTL, "ttl", 0, "what is written expires after this; 0 stays")
	flags.StringVar(&f.KeyPrefix, "prefix", "bench:", "what the keys begin with")
	flags.StringVar(&f.redis, "redis", "", "measure the Redis at this host:port and not the cluster at --addr")
	flags.BoolVar(&f.redisCluster, "redis-cluster", false, "with --redis: it is a Redis Cluster, or this cluster's port for such clients")
	completeWith(cmd, "workload", string(bench.Set), string(bench.Get), string(bench.Mixed), string(bench.Increment))
	completeWith(cmd, "distribution", string(bench.Uniform), string(bench.Zipf))
	return cmd
}

func (a *app) benchCluster(ctx context.Context, f benchFlags) error {
	switch {
	case f.redisCluster:
		return usagef("--redis-cluster needs --redis host:port")
	case f.Pipeline != 1:
		return usagef("--pipeline is for --redis: by gRPC the calls of all clients share a stream to each node, so use more --clients")
	}
	return a.withClient(func(c *client.Client) error { return a.bench(ctx, f, bench.Lightning(c, a.address), a.address) })
}

func (a *app) benchRedis(ctx context.Context, f benchFlags) error {
	password, err := a.password()
	if err != nil {
		return err
	}
	config, err := a.tlsConfig()
	if err != nil {
		return err
	}
	c, err := bench.DialRedis(bench.RedisOptions{
		Addresses: strings.Split(f.redis, ","), Cluster: f.redisCluster, Password: password, TLS: config, Clients: f.Clients, Timeout: a.timeout,
	})
	if err != nil {
		return usagef("--redis: %w", err)
	}
	err = a.bench(ctx, f, bench.Redis(c, f.redis), f.redis)
	if closeErr := c.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the client: %w", closeErr)
	}
	return err
}

func (a *app) bench(ctx context.Context, f benchFlags, target bench.Target, addresses string) error {
	if !loopbackOnly(addresses) {
		_, _ = fmt.Fprintf(a.stderr, "%s is not on this machine: %d clients load it and the network for up to %s\n",
			target.Name(), f.Clients, f.WarmUp+f.Duration)
	}
	p := a.startProgress("operations")
	o := f.Options
	o.Progress = func(operations int) { p.count(operations, 0) }
	r, err := bench.Run(ctx, o, target)
	p.end()
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(r)
	}
	return a.printf("%s", r.Text())
}

// tlsConfig is what --tls-ca and its like mean for a connection that is not gRPC's; nil is plaintext.
func (a *app) tlsConfig() (*tls.Config, error) {
	if a.ca == "" {
		return nil, nil
	}
	files, err := a.read()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(files.CA) {
		return nil, usagef("--tls-ca: %s holds no certificate", a.ca)
	}
	if len(files.Cert) > 0 {
		pair, err := tls.X509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, usagef("--tls-cert and --tls-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// loopbackOnly reports whether all addresses are this machine's.
func loopbackOnly(addresses string) bool {
	for address := range strings.SplitSeq(addresses, ",") {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return false
		}
		ip, err := netip.ParseAddr(host)
		if host != "localhost" && (err != nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}
