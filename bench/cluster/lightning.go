package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	sdk "github.com/lightning-db/lightning/client"
)

// lightningSystems are three nodes with the default number of shards, and with others, of the checkout's
// program and of each further build.
func lightningSystems(s settings, bin string) ([]*system, error) {
	programs := []string{"=" + filepath.Join(bin, "lightning-node")}
	if s.builds != "" {
		programs = append(programs, strings.Split(s.builds, ",")...)
	}
	var all []*system
	for _, p := range programs {
		name, path, ok := strings.Cut(p, "=")
		if !ok {
			return nil, fmt.Errorf("-builds: %q is not name=path", p)
		}
		if name != "" {
			name = "@" + name
		}
		all = append(all, lightningSystem(path, "lightning"+name, 0,
			"put-256", "put-64", "put-1", "put-64x16", "get-256", "get-64x16", "stale-get-256", "mixed-64",
			"grpc-put-256", "grpc-get-256", "unary-put-256", "unary-get-256", "disk"))
		for _, shards := range []int{1, 8, 32} {
			all = append(all, lightningSystem(path, fmt.Sprintf("lightning-%d-shards%s", shards, name), shards, "put-256"))
		}
	}
	return all, nil
}

func lightningSystem(program, name string, shards int, does ...string) *system {
	sys := &system{name: name, does: does,
		promise:  "3 copies, fsync on a majority, linearizable",
		settings: "defaults; plaintext on loopback; cluster listener",
	}
	var args []string
	if shards > 0 {
		args = []string{"--shards", strconv.Itoa(shards)}
		sys.settings += fmt.Sprintf("; %d shards", shards)
	}
	sys.start = func(ctx context.Context, dir string) (running, error) {
		l := &lightning{slots: &atomic.Pointer[slotMap]{}, led: 3}
		if shards > 0 {
			l.led = min(shards, 3)
		}
		if err := l.start(ctx, dir, program, args); err != nil {
			l.stop()
			return nil, err
		}
		return l, nil
	}
	return sys
}

// lightning is three nodes.
type lightning struct {
	processes
	cluster, grpc, http []string
	slots               *atomic.Pointer[slotMap]
	led                 int // how many nodes are to lead something

	mu    sync.Mutex
	sdks  []*sdk.Client
	conns []*grpc.ClientConn
}

// spread is how long the nodes may take until each leads its share of the shards.
const spread = 60 * time.Second

func (l *lightning) start(ctx context.Context, dir, binary string, extra []string) error {
	ports, err := freePorts(15)
	if err != nil {
		return err
	}
	var join []string
	for i := range 3 {
		join = append(join, local(ports[5*i+4]))
	}
	for i := range 3 {
		p := ports[5*i : 5*i+5]
		name := fmt.Sprintf("node-%d", i)
		args := append([]string{"start", "--name", name, "--data-dir", filepath.Join(dir, name), "--host", "127.0.0.1",
			"--resp-port", strconv.Itoa(p[0]), "--resp-cluster-port", strconv.Itoa(p[1]), "--grpc-port", strconv.Itoa(p[2]),
			"--http-port", strconv.Itoa(p[3]), "--gossip-port", strconv.Itoa(p[4]),
			"--join", strings.Join(join, ","), "--bootstrap-expect", "3"}, extra...)
		if err := l.processes.start(filepath.Join(dir, name+".log"), binary, args...); err != nil {
			return err
		}
		l.cluster, l.grpc, l.http = append(l.cluster, local(p[1])), append(l.grpc, local(p[2])), append(l.http, local(p[3]))
	}
	for _, address := range l.http {
		if err := until(ctx, 30*time.Second, func(ctx context.Context) error { return ready(ctx, address) }); err != nil {
			return err
		}
	}
	return until(ctx, spread, l.evenlyLed)
}

func ready(ctx context.Context, address string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = a.Body.Close() }()
	if a.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", a.Status)
	}
	return nil
}

// evenlyLed waits until every node leads something, as in a cluster that has been up for a while.
func (l *lightning) evenlyLed(ctx context.Context) error {
	m, err := fetchSlots(ctx, l.cluster[0])
	if err != nil {
		return err
	}
	if len(m.addresses) < l.led {
		return fmt.Errorf("%d of %d nodes lead", len(m.addresses), l.led)
	}
	l.slots.Store(m)
	return nil
}

func (l *lightning) client(ctx context.Context, index int, w workload) (client, error) {
	switch w.how {
	case stream:
		return l.sdkClient(index)
	case unary:
		return l.unaryClient(index)
	}
	return &respClient{seed: l.cluster[index%3], slots: l.slots, conns: map[string]*respConn{}, stale: w.how == stale}, nil
}

// grpcClients is how many clients share connections, as etcd's and NATS' do.
const grpcClients = 8

func (l *lightning) sdkClient(index int) (client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.sdks) < grpcClients {
		c, err := sdk.New(sdk.Options{Addresses: l.grpc})
		if err != nil {
			return nil, err
		}
		l.sdks = append(l.sdks, c)
	}
	return sdkClient{l.sdks[index%grpcClients]}, nil
}

// sdkClient uses a client that several share.
type sdkClient struct{ sdk *sdk.Client }

func (c sdkClient) do(ctx context.Context, ops []op) error {
	for _, o := range ops {
		var err error
		if o.value == nil {
			_, err = c.sdk.Get(ctx, 0, o.key)
		} else {
			_, err = c.sdk.Put(ctx, 0, o.key, o.value, sdk.PutOptions{Blind: true})
		}
		if err != nil && api.CodeOf(err) != api.CodeNotFound {
			return err
		}
	}
	return nil
}

func (c sdkClient) close() {}

func (l *lightning) unaryClient(index int) (client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.conns) < grpcClients {
		conn, err := grpc.NewClient("passthrough:///"+l.grpc[len(l.conns)%3], grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		l.conns = append(l.conns, conn)
	}
	return unaryClient{pb.NewKVClient(l.conns[index%grpcClients])}, nil
}

// unaryClient makes one call for each operation, to any node, as any gRPC client can.
type unaryClient struct{ kv pb.KVClient }

func (c unaryClient) do(ctx context.Context, ops []op) error {
	for _, o := range ops {
		if err := c.one(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (c unaryClient) one(ctx context.Context, o op) error {
	if o.value == nil {
		_, err := c.kv.Get(ctx, &pb.GetRequest{Key: o.key})
		return err
	}
	_, err := c.kv.Put(ctx, &pb.PutRequest{Key: o.key, Value: o.value})
	return err
}

func (c unaryClient) close() {}

// flush ends the nodes as an operator does.
func (l *lightning) flush() {
	for _, c := range l.commands {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	for _, c := range l.commands {
		_ = c.Wait()
	}
	l.processes.flush()
}

func (l *lightning) stop() {
	for _, c := range l.sdks {
		_ = c.Close()
	}
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.processes.stop()
}
