package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/network"
)

// Options says how to reach a cluster. Only Addresses is required. Nothing may change after New.
type Options struct {
	// Addresses are the gRPC addresses, host:port, of one or more nodes. Any node will do: the
	// others are learned from it. Several are wanted only so that one that is down does not
	// matter. All must belong to one cluster.
	Addresses []string

	// Credentials secure the connections; see TLS. Nil is plaintext.
	Credentials credentials.TransportCredentials

	// Password is shown with every call; empty for clusters without one. Without Credentials it
	// travels in the clear.
	Password string

	// DefaultTimeout bounds a call whose context has no deadline, and the wait for each page of
	// a scan. Default 10 s: several failovers of a leader fit into it.
	DefaultTimeout time.Duration

	// AttemptTimeout bounds one attempt of a call, after which the call tries again, elsewhere
	// if it can, under the same request id. It doubles after every attempt that it ends, so that
	// a large value on a slow network gets through. Default 2 s: a leader that is stopped but
	// not dead has a successor by then.
	AttemptTimeout time.Duration

	// Dialer opens connections; nil dials TCP. Tests cut and delay connections here.
	Dialer func(ctx context.Context, address string) (net.Conn, error)

	// Observe is told of every call when it has ended, for metrics. It runs on the calling
	// goroutine, from many at once, before the call returns: it must be quick and must not wait.
	// Nil costs nothing.
	Observe func(Event)

	// Clock gives sessions their creation time and measures durations; nil is the machine's.
	// Deadlines come from contexts and do not use it.
	Clock clock.Clock

	// Entropy is where sessions get their random numbers from; nil is the system's generator.
	// A reader must be safe for concurrent use and must not fail.
	Entropy io.Reader

	// Logger gets what a person should know of: nodes that cannot be reached, maps that cannot
	// be used. Never keys or values. Nil discards it.
	Logger *slog.Logger
}

// withDefaults fills in what is zero. The only place with defaults.
func (o Options) withDefaults() Options {
	if o.Credentials == nil {
		o.Credentials = insecure.NewCredentials()
	}
	if o.DefaultTimeout == 0 {
		o.DefaultTimeout = 10 * time.Second
	}
	if o.AttemptTimeout == 0 {
		o.AttemptTimeout = 2 * time.Second
	}
	if o.Dialer == nil {
		o.Dialer = network.TCP{}.Dial
	}
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Validate reports every problem at once.
func (o Options) Validate() error {
	var problems []error
	if len(o.Addresses) == 0 {
		problems = append(problems, errors.New("no addresses"))
	}
	for _, a := range o.Addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			problems = append(problems, fmt.Errorf("address %q: %w", a, err))
		}
	}
	if o.DefaultTimeout < 0 {
		problems = append(problems, fmt.Errorf("default timeout %s is negative", o.DefaultTimeout))
	}
	if o.AttemptTimeout < 0 {
		problems = append(problems, fmt.Errorf("attempt timeout %s is negative", o.AttemptTimeout))
	}
	return errors.Join(problems...)
}

// dialOptions are for every connection.
func (o Options) dialOptions() []grpc.DialOption {
	list := []grpc.DialOption{grpc.WithTransportCredentials(o.Credentials)}
	if o.Password != "" {
		list = append(list, grpc.WithPerRPCCredentials(bearer{o.Password}))
	}
	return list
}

func (o Options) entropySource() entropy.Source {
	if o.Entropy == nil {
		return entropy.System()
	}
	return entropy.From(o.Entropy)
}

// Event is one call that has ended, as Options.Observe sees it. It names no key and no value.
type Event struct {
	// Operation is "get", "multiget", "apply", "scan" or "status". MultiGet makes one event for
	// each request that it is divided into, Scan one for each page. Put, Delete and Increment are
	// "apply". A call that the client refuses itself, because it can never succeed, makes none.
	Operation string
	// Stale is true for a read that allowed an answer of a bounded age.
	Stale bool
	// Attempts is how many requests were made of nodes, 0 when the context had ended before.
	Attempts int
	// Redirects is how many of the attempts after the first were made at once, because the one
	// before named a better place. The others waited: they are Attempts - 1 - Redirects.
	Redirects int
	// Duration is from the call to its end, with all attempts and the waits between them.
	Duration time.Duration
	// Code is empty when the call succeeded. The code UNKNOWN_OUTCOME is the one to alert on.
	Code api.Code
}

func (op *operation) event(err error, took time.Duration) Event {
	return Event{
		Operation: op.name, Stale: op.stale, Attempts: op.attempts, Redirects: op.redirects,
		Duration: took, Code: api.CodeOf(err),
	}
}
