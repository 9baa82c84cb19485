package peers

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/trace"
)

// ClusterHeader is the metadata that carries the id of the sender's cluster, in calls between nodes
// and in their answers.
const ClusterHeader = "lightning-cluster"

// outgoing adds the id to a call.
func (p *Pool) outgoing(ctx context.Context) context.Context {
	if own := p.opts.Cluster(); own != "" {
		return metadata.AppendToOutgoingContext(ctx, ClusterHeader, own)
	}
	return ctx
}

// checkAnswer compares the id in an answer with ours, if both are known.
func (p *Pool) checkAnswer(target string, header metadata.MD) error {
	own, theirs := p.opts.Cluster(), header.Get(ClusterHeader)
	if own == "" || len(theirs) == 0 || theirs[0] == own {
		return nil
	}
	return api.ToStatus(api.Errorf(api.CodeDenied, "%s belongs to cluster %s, not to %s", target, theirs[0], own))
}

func (p *Pool) onUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var header metadata.MD
	for _, parent := range trace.FromContext(ctx).Parents() {
		ctx = metadata.AppendToOutgoingContext(ctx, trace.Header, parent)
	}
	if err := invoke(p.outgoing(ctx), method, req, reply, cc, append(opts, grpc.Header(&header))...); err != nil {
		return err
	}
	return p.checkAnswer(cc.Target(), header)
}

func (p *Pool) onStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := open(p.outgoing(ctx), desc, cc, method, opts...)
	if err != nil {
		return nil, err
	}
	return &checkedStream{ClientStream: stream, check: sync.OnceValue(func() error {
		header, err := stream.Header()
		if err != nil {
			return fmt.Errorf("read the header of a stream: %w", err)
		}
		return p.checkAnswer(cc.Target(), header)
	})}, nil
}

// checkedStream checks the header when the first message is there, which is when it has arrived.
type checkedStream struct {
	grpc.ClientStream
	check func() error
}

// RecvMsg implements grpc.ClientStream.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	return s.check()
}
