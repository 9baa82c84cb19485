package main

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func redisSystems() []*system {
	return []*system{
		{
			name: "redis-wait", promise: "3 copies, fsync on the master, one replica has received it",
			settings: "one master, two replicas; appendfsync always; save off; automatic rewrite off; io-threads 1; WAIT 1 0 behind each write or pipeline",
			does:     []string{"put-256", "put-64", "put-64x16"},
			start:    func(ctx context.Context, dir string) (running, error) { return startRedis(ctx, dir, "always", 2) },
		},
		{
			name: "redis-single", promise: "1 copy, fsync each second",
			settings: "one node; appendfsync everysec; save off; automatic rewrite off; io-threads 1",
			does:     []string{"put-64x16", "get-256", "get-64x16"},
			start:    func(ctx context.Context, dir string) (running, error) { return startRedis(ctx, dir, "everysec", 0) },
		},
	}
}

// redis is a master with its replicas.
type redis struct {
	processes
	master string
	wait   bool
}

func startRedis(ctx context.Context, dir, fsync string, replicas int) (running, error) {
	r := &redis{wait: replicas > 0}
	if err := r.start(ctx, dir, fsync, replicas); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *redis) start(ctx context.Context, dir, fsync string, replicas int) error {
	ports, err := freePorts(1 + replicas)
	if err != nil {
		return err
	}
	r.master = local(ports[0])
	for i, port := range ports {
		args := []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes",
			"--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0", "--appenddirname", "aof-" + strconv.Itoa(i), "--dbfilename", strconv.Itoa(i) + ".rdb"}
		if i > 0 {
			args = append(args, "--replicaof", "127.0.0.1", strconv.Itoa(ports[0]))
		}
		if err := r.processes.start(filepath.Join(dir, strconv.Itoa(i)+".log"), "redis-server", args...); err != nil {
			return err
		}
	}
	return until(ctx, 30*time.Second, func(ctx context.Context) error { return r.ready(ctx, replicas) })
}

// ready waits until the replicas are online.
func (r *redis) ready(ctx context.Context, replicas int) error {
	c, err := dialRESP(ctx, r.master)
	if err != nil {
		return err
	}
	defer func() { _ = c.net.Close() }()
	c.append([]byte("INFO"), []byte("replication"))
	if err := c.flush(); err != nil {
		return err
	}
	v, err := c.value()
	if err != nil {
		return err
	}
	if text, _ := v.(string); strings.Count(text, "state=online") < replicas {
		return errReply
	}
	return nil
}

func (r *redis) client(context.Context, int, workload) (client, error) {
	return &respClient{seed: r.master, conns: map[string]*respConn{}, wait: r.wait}, nil
}
