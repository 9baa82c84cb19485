package node

import (
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/server/http"
	"github.com/lightning-db/lightning/server/resp"
)

// newRESP makes the server of the listener for any Redis client or, with cluster, of the one for
// clients that know where the slots are.
func (n *node) newRESP(metrics *http.Metrics, cluster bool) *resp.Server {
	part := "resp"
	if cluster {
		part = "resp-cluster"
	}
	return resp.New(resp.Options{
		Store: n.server, Topology: n.server, Cluster: cluster, Access: n.security.passwords,
		Node: n.id, Version: build.Version(),
		StaleReadBound: n.config.StaleReadBound,
		MaxLargeBytes:  n.config.share(commandShare, 256<<20),
		MaxReplyBytes:  n.config.share(replyShare, 256<<20),
		MaxQueuedBytes: int64(n.config.share(replyShare, 256<<20)),
		Observe:        func(command string, code api.Code, took time.Duration) { metrics.Request(part, command, code, took) },
		Clock:          n.clock,
		Tracer:         n.traces.Tracer(),
		Logger:         n.logger.With("part", part),
	})
}

// serveRESPCluster returns at once without --resp-cluster-port.
func (f *faces) serveRESPCluster() error {
	if f.respCluster == nil {
		return nil
	}
	return f.respCluster.Serve(f.secured(f.listeners.respCluster))
}

// stopClients stops the faces whose clients cannot be told to go elsewhere; gRPC goes on, because
// peers and the hand-over of leadership need it, and so do probes.
func (f *faces) stopClients() error {
	if f.respCluster == nil {
		return f.resp.Close()
	}
	// At the same time, because each gives its clients some.
	var other errgroup.Group
	other.Go(f.respCluster.Close)
	return errors.Join(f.resp.Close(), other.Wait())
}
