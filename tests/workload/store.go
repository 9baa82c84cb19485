package workload

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/lightning-db/lightning/tests/history"
)

// Store is one client of one node through one protocol, for one worker.
type Store interface {
	// Supports reports whether the protocol can express in.
	Supports(in history.Input) bool
	Perform(ctx context.Context, in history.Input) (history.Output, error)
	Close()
}

// Dial opens connections; tests put faults between client and node with it.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// TCP is the plain Dial.
func TCP(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// errNotSent marks what certainly never reached the node.
var errNotSent = errors.New("request was not sent")

func unsupported(in history.Input) error {
	return fmt.Errorf("%w: %s is not supported", errNotSent, in.Kind)
}
