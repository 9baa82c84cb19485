package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

func etcdSystem(bin string) *system {
	return &system{
		name: "etcd", promise: "3 copies, fsync on a majority, linearizable",
		settings: "defaults; quota 16 GiB; 8 clients, each balancing over the three nodes; no compaction during the run",
		does:     []string{"put-256", "put-64", "put-1", "get-256", "mixed-64"},
		start: func(ctx context.Context, dir string) (running, error) {
			e := &etcd{}
			if err := e.start(ctx, dir, filepath.Join(bin, "etcd")); err != nil {
				e.stop()
				return nil, err
			}
			return e, nil
		},
	}
}

// etcd is three members.
type etcd struct {
	processes
	endpoints []string

	mu      sync.Mutex
	clients []*clientv3.Client
}

func (e *etcd) start(ctx context.Context, dir, binary string) error {
	ports, err := freePorts(6)
	if err != nil {
		return err
	}
	var members []string
	for i := range 3 {
		e.endpoints = append(e.endpoints, "http://"+local(ports[2*i]))
		members = append(members, fmt.Sprintf("m%d=http://%s", i, local(ports[2*i+1])))
	}
	for i := range 3 {
		name, peer := fmt.Sprintf("m%d", i), "http://"+local(ports[2*i+1])
		err := e.processes.start(filepath.Join(dir, name+".log"), binary,
			"--name", name, "--data-dir", filepath.Join(dir, name),
			"--listen-client-urls", e.endpoints[i], "--advertise-client-urls", e.endpoints[i],
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
			"--quota-backend-bytes", fmt.Sprint(16<<30), "--log-level", "error")
		if err != nil {
			return err
		}
	}
	for range grpcClients {
		c, err := clientv3.New(clientv3.Config{Endpoints: e.endpoints, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		e.clients = append(e.clients, c)
	}
	return until(ctx, 30*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := e.clients[0].Put(ctx, "ready", "yes")
		return err
	})
}

func (e *etcd) client(_ context.Context, index int, _ workload) (client, error) {
	return etcdClient{e.clients[index%grpcClients]}, nil
}

func (e *etcd) stop() {
	for _, c := range e.clients {
		_ = c.Close()
	}
	e.processes.stop()
}

type etcdClient struct{ etcd *clientv3.Client }

func (c etcdClient) do(ctx context.Context, ops []op) error {
	for _, o := range ops {
		var err error
		if o.value == nil {
			_, err = c.etcd.Get(ctx, string(o.key))
		} else {
			_, err = c.etcd.Put(ctx, string(o.key), string(o.value))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c etcdClient) close() {}
