package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func natsSystem(bin string) *system {
	return &system{
		name: "nats", promise: "3 copies, fsync on each, quorum; reads ask the leader without a quorum",
		settings: "JetStream KV, one bucket, R3, file storage, history 1, sync_interval: always; 8 connections over the three servers",
		does:     []string{"put-256", "get-256"},
		start: func(ctx context.Context, dir string) (running, error) {
			n := &natsCluster{}
			if err := n.start(ctx, dir, filepath.Join(bin, "nats-server")); err != nil {
				n.stop()
				return nil, err
			}
			return n, nil
		},
	}
}

// natsCluster is three servers.
type natsCluster struct {
	processes
	conns   []*nats.Conn
	buckets []jetstream.KeyValue
}

func (n *natsCluster) start(ctx context.Context, dir, binary string) error {
	ports, err := freePorts(6)
	if err != nil {
		return err
	}
	var routes []string
	for i := range 3 {
		routes = append(routes, "nats://"+local(ports[2*i+1]))
	}
	for i := range 3 {
		name := fmt.Sprintf("n%d", i)
		config := fmt.Sprintf("server_name: %s\nlisten: %q\njetstream { store_dir: %q, sync_interval: always }\ncluster { name: bench, listen: %q, routes: [%s] }\n",
			name, local(ports[2*i]), filepath.Join(dir, name), local(ports[2*i+1]), strings.Join(routes, ", "))
		file := filepath.Join(dir, name+".conf")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
			return err
		}
		if err := n.processes.start(filepath.Join(dir, name+".log"), binary, "-c", file); err != nil {
			return err
		}
	}
	for i := range grpcClients {
		var conn *nats.Conn
		err := until(ctx, 20*time.Second, func(context.Context) (err error) {
			conn, err = nats.Connect("nats://" + local(ports[2*(i%3)]))
			return err
		})
		if err != nil {
			return err
		}
		n.conns = append(n.conns, conn)
		js, err := jetstream.New(conn)
		if err != nil {
			return err
		}
		var bucket jetstream.KeyValue
		err = until(ctx, 60*time.Second, func(ctx context.Context) (err error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			bucket, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "bench", Replicas: 3, History: 1, Storage: jetstream.FileStorage})
			return err
		})
		if err != nil {
			return err
		}
		n.buckets = append(n.buckets, bucket)
	}
	return nil
}

func (n *natsCluster) client(_ context.Context, index int, _ workload) (client, error) {
	return natsClient{n.buckets[index%len(n.buckets)]}, nil
}

func (n *natsCluster) stop() {
	for _, c := range n.conns {
		c.Close()
	}
	n.processes.stop()
}

type natsClient struct{ bucket jetstream.KeyValue }

// name is a key as NATS takes it: it refuses colons.
func name(key []byte) string { return strings.ReplaceAll(string(key), ":", ".") }

func (c natsClient) do(ctx context.Context, ops []op) error {
	for _, o := range ops {
		var err error
		if o.value == nil {
			if _, err = c.bucket.Get(ctx, name(o.key)); errors.Is(err, jetstream.ErrKeyNotFound) {
				err = nil
			}
		} else {
			_, err = c.bucket.Put(ctx, name(o.key), o.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c natsClient) close() {}
