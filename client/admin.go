package client

import (
	"context"

	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Admin gives an order of an operator to a node, which passes it on to the master. It may be given more than
// once before it is answered.
func (c *Client) Admin(ctx context.Context, order func(context.Context, pb.AdminClient, ...grpc.CallOption) error) error {
	op := &operation{name: "admin", seedsFirst: true}
	return c.do(ctx, op, func(ctx context.Context, to *connection, o callOptions) error {
		return order(ctx, to.admin, o...)
	})
}
