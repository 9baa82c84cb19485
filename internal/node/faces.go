package node

import (
	"errors"
	"net"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/server/http"
	"github.com/lightning-db/lightning/server/resp"
	"github.com/lightning-db/lightning/server/rpc"
)

// faces are the servers on this node's ports.
type faces struct {
	listeners *listeners
	secured   func(net.Listener) net.Listener
	resp      *resp.Server
	// respCluster is nil without --resp-cluster-port.
	respCluster *resp.Server
	rpc         *rpc.Server
	http        *http.Server
	// ended collects why servers ended; one place for each.
	ended   chan error
	started bool
}

func (n *node) newFaces(metrics *http.Metrics) *faces {
	f := &faces{
		listeners: &n.listeners,
		secured:   n.security.listener,
		resp:      n.newRESP(metrics, false),
		rpc: rpc.New(rpc.Options{
			KV: n.server, View: n.follower, Status: n.server, Forward: n.server.ForwardService(), Backup: n.server,
			ClearCaches: n.clearCaches,
			Register: []func(grpc.ServiceRegistrar){
				n.host.RegisterServices, n.follower.RegisterServices, pledge.NewService(n.pledges).RegisterServices,
				n.replicas.RegisterServices, n.registerMembers, n.adminService().RegisterServices,
			},
			TLS: n.security.serverTLS(), CheckPeer: n.security.checkPeer,
			Access: n.security.passwords, Cluster: n.clusterID, MaxConnectionAge: n.config.MaxConnectionAge,
			MaxTransferBytes: n.config.share(transferShare, 96<<20),
			Observe:          metrics.Request,
			Tracer:           n.traces.Tracer(),
			Clock:            n.clock,
			Logger:           n.logger.With("part", "grpc"),
		}),
		http: http.New(http.Options{
			Access: n.security.passwords,
			Alive:  n.server.Alive, Ready: n.ready, Metrics: metrics, Store: n.server, Logger: n.logger.With("part", "http"),
			Tracer: n.traces.Tracer(),
		}),
		ended: make(chan error, 4),
	}
	if n.listeners.respCluster != nil {
		f.respCluster = n.newRESP(metrics, true)
	}
	return f
}

// serve starts the servers. The channel yields an error if one of them ends unasked.
func (f *faces) serve() <-chan error {
	f.started = true
	broken := make(chan error, 1)
	run := func(serve func() error) {
		err := serve()
		if err != nil {
			select {
			case broken <- err:
			default: // the first one is enough to stop the node
			}
		}
		f.ended <- err
	}
	go run(func() error { return f.resp.Serve(f.secured(f.listeners.resp)) })
	go run(f.serveRESPCluster)
	go run(func() error { return f.rpc.Serve(f.listeners.grpc) })
	go run(func() error { return f.http.Serve(f.secured(f.listeners.http)) })
	return broken
}

// Close stops every server and waits for them.
func (f *faces) Close() error {
	err := errors.Join(f.stopClients(), f.rpc.Close(), f.http.Close())
	if f.started {
		for range cap(f.ended) {
			<-f.ended
		}
		f.started = false
	}
	return err
}
