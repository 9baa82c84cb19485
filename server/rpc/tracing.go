package rpc

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/trace"
)

// traced is the context of a call of KV, or of what another node passes on, in a trace if it is
// sampled. The calls of a stream of calls have traces of their own.
func (s *Server) traced(ctx context.Context, method string) (context.Context, *trace.Span) {
	if s.opts.Tracer == nil || method == pb.KV_Stream_FullMethodName || method == peerv1.Forward_Reads_FullMethodName {
		return ctx, nil
	}
	service, op, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	op = strings.ToLower(op)
	parents := metadata.ValueFromIncomingContext(ctx, trace.Header)
	switch service {
	case pb.KV_ServiceDesc.ServiceName:
		return s.opts.Tracer.Request(ctx, op, "grpc", parents)
	case peerv1.Forward_ServiceDesc.ServiceName:
		return s.opts.Tracer.Continue(ctx, "serve "+op, parents)
	}
	return ctx, nil
}

// tracedStream is a stream whose context is in a trace.
type tracedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s tracedStream) Context() context.Context { return s.ctx }

// tracedCalls is the context of calls of a stream, which run together, in the traces of those that are sampled.
func (s *Server) tracedCalls(ctx context.Context, calls ...*pb.Call) (context.Context, *trace.Span) {
	if s.opts.Tracer == nil {
		return ctx, nil
	}
	var parents []string
	for _, call := range calls {
		if call.Traceparent != "" {
			parents = append(parents, call.Traceparent)
		}
	}
	ctx, span := s.opts.Tracer.Request(ctx, verbOf(calls[0]), "grpc", parents)
	span.Number("lightning.commands", int64(len(calls)))
	return ctx, span
}

func verbOf(call *pb.Call) string {
	switch call.Request.(type) {
	case *pb.Call_Get:
		return "get"
	case *pb.Call_MultiGet:
		return "multiget"
	case *pb.Call_Batch:
		return "batch"
	}
	return "call"
}

// errorOf is the error in an answer, nil if there is none.
func errorOf(a *pb.Answer) error {
	if f := a.GetFailure(); f != nil {
		return api.FromDetail(f.Message, f.Detail)
	}
	return nil
}
