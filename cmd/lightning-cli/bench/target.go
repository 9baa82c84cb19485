package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

// Operation is one request.
type Operation struct {
	Kind  Kind
	Key   string
	Value []byte // of a write; shared by rounds, so nobody may change it
	TTL   time.Duration
}

// Kind is what an operation does.
type Kind uint8

// The kinds.
const (
	Read Kind = iota
	Write
	Add // adds 1 to an integer
	kindCount
)

// Target is a store under load. Safe for concurrent use.
type Target interface {
	// Do runs a round and stores how each operation ended. An absent key is no error.
	Do(ctx context.Context, round []Operation, outcomes []error)
	// Code names an error in a word or two.
	Code(err error) string
	// Pipelines says whether a round of several operations is sent at once.
	Pipelines() bool
	// Name is what a report calls it.
	Name() string
}

// Lightning is a cluster, by gRPC.
func Lightning(c *client.Client, address string) Target { return lightning{c, address} }

type lightning struct {
	client  *client.Client
	address string
}

// Name implements Target.
func (l lightning) Name() string { return "lightning by gRPC at " + l.address }

// Pipelines implements Target.
func (l lightning) Pipelines() bool { return false }

// Do implements Target.
func (l lightning) Do(ctx context.Context, round []Operation, outcomes []error) {
	for i, op := range round {
		switch op.Kind {
		case Read:
			_, outcomes[i] = l.client.Get(ctx, 0, []byte(op.Key))
		case Write:
			var o client.PutOptions
			if op.TTL > 0 {
				o.Expiry = client.ExpireAfter(op.TTL)
			}
			_, outcomes[i] = l.client.Put(ctx, 0, []byte(op.Key), op.Value, o)
		default:
			_, outcomes[i] = l.client.Increment(ctx, 0, []byte(op.Key), 1)
		}
	}
}

// Code implements Target.
func (l lightning) Code(err error) string { return string(api.CodeOf(err)) }

// Redis is any server, or cluster, that speaks RESP.
func Redis(c redis.UniversalClient, address string) Target { return redisTarget{c, address} }

type redisTarget struct {
	client  redis.UniversalClient
	address string
}

// Name implements Target.
func (r redisTarget) Name() string {
	if _, cluster := r.client.(*redis.ClusterClient); cluster {
		return "redis cluster by RESP at " + r.address
	}
	return "redis by RESP at " + r.address
}

// Pipelines implements Target.
func (r redisTarget) Pipelines() bool { return true }

// Do implements Target.
func (r redisTarget) Do(ctx context.Context, round []Operation, outcomes []error) {
	if len(round) == 1 {
		outcomes[0] = withoutNil(send(ctx, r.client, round[0]).Err())
		return
	}
	pipe := r.client.Pipeline()
	commands := make([]redis.Cmder, len(round))
	for i, op := range round {
		commands[i] = send(ctx, pipe, op)
	}
	_, _ = pipe.Exec(ctx) // its error is the first of the commands'
	for i, command := range commands {
		outcomes[i] = withoutNil(command.Err())
	}
}

func send(ctx context.Context, to redis.Cmdable, op Operation) redis.Cmder {
	switch op.Kind {
	case Read:
		return to.Get(ctx, op.Key)
	case Write:
		return to.Set(ctx, op.Key, op.Value, op.TTL)
	default:
		return to.Incr(ctx, op.Key)
	}
}

// withoutNil takes out the error that is an absent key.
func withoutNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// isAnswer reports whether err is what a server said, an absent key included.
func isAnswer(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer)
}

// Code implements Target.
func (r redisTarget) Code(err error) string {
	var timeout net.Error
	switch {
	case isAnswer(err):
		word, _, _ := strings.Cut(err.Error(), " ")
		return word
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "TIMEOUT"
	default:
		return "CONNECTION"
	}
}

// RedisOptions say how to reach a Redis.
type RedisOptions struct {
	Addresses []string
	Cluster   bool
	Password  string
	TLS       *tls.Config // nil is plaintext
	Clients   int
	Timeout   time.Duration
}

// DialRedis makes a client that repeats nothing by itself, so that errors are seen. It connects
// when it is first used.
func DialRedis(o RedisOptions) (redis.UniversalClient, error) {
	for _, address := range o.Addresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("address %q: %w", address, err)
		}
	}
	if o.Cluster {
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: o.Addresses, Password: o.Password, TLSConfig: o.TLS, PoolSize: o.Clients, MaxRetries: -1,
			ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true, DisableIdentity: true,
		}), nil
	}
	if len(o.Addresses) != 1 {
		return nil, errors.New("several addresses are for a Redis cluster")
	}
	return redis.NewClient(&redis.Options{
		Addr: o.Addresses[0], Password: o.Password, TLSConfig: o.TLS, PoolSize: o.Clients, MaxRetries: -1,
		ReadTimeout: o.Timeout, WriteTimeout: o.Timeout, ContextTimeoutEnabled: true, DisableIdentity: true,
	}), nil
}
