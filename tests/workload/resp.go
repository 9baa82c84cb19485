package workload

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/tests/history"
)

// RESP is a Store on go-redis.
type RESP struct{ Client *redis.Client }

// DialRESP makes a client of the node at address; dial nil is TCP. Every request has the
// deadline of its context.
func DialRESP(address string, dial Dial) *RESP {
	if dial == nil {
		dial = TCP
	}
	silence.Do(func() { redis.SetLogger(silent{}) })
	return &RESP{redis.NewClient(&redis.Options{
		Addr: address, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ContextTimeoutEnabled: true,
		DialTimeout: time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		Dialer: func(ctx context.Context, _, address string) (net.Conn, error) {
			conn, err := dial(ctx, address)
			if err != nil {
				return nil, errors.Join(errNotSent, err)
			}
			return conn, nil
		},
	})}
}

// go-redis logs every dial that fails to standard error; here most of them are meant to.
var silence sync.Once

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// Close closes the connections.
func (r *RESP) Close() { _ = r.Client.Close() }

// Supports implements Store: Redis can compare only with absence.
func (r *RESP) Supports(in history.Input) bool {
	return in.Kind != history.CompareAndSet || !in.Expected.Found
}

// Perform implements Store.
func (r *RESP) Perform(ctx context.Context, in history.Input) (history.Output, error) {
	switch in.Kind {
	case history.Read:
		return r.read(ctx, in.Key)
	case history.Write:
		return history.Output{}, r.Client.Set(ctx, in.Key, in.Value, 0).Err()
	case history.CompareAndSet:
		if in.Expected.Found {
			return history.Output{}, unsupported(in)
		}
		err := r.Client.Do(ctx, "SET", in.Key, in.Value, "NX").Err()
		if errors.Is(err, redis.Nil) {
			return history.Output{}, nil
		}
		return history.Output{Applied: err == nil}, err
	case history.Delete:
		n, err := r.Client.Del(ctx, in.Key).Result()
		existed := n == 1
		return history.Output{Existed: &existed}, err
	default:
		n, err := r.Client.IncrBy(ctx, in.Key, in.Delta).Result()
		return history.Output{Number: n}, err
	}
}

func (r *RESP) read(ctx context.Context, key string) (history.Output, error) {
	value, err := r.Client.Get(ctx, key).Result()
	if errors.Is(err, redis.Nil) {
		return history.Output{}, nil
	}
	number, _ := strconv.ParseInt(value, 10, 64) // meaningful for counters only
	return history.Output{Seen: history.Seen{Found: err == nil, Value: value}, Number: number}, err
}
