package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/api"
)

// load writes every file by RESP.
func load(ctx context.Context, c config, tree []*file, out io.Writer) error {
	db := redis.NewClient(&redis.Options{
		Addr: c.resp, PoolSize: c.workers, DialTimeout: c.timeout, ReadTimeout: c.timeout, WriteTimeout: c.timeout,
	})
	begin := time.Now()
	p := newProgress("load", len(tree), out)
	failed := forEach(ctx, c.workers, tree, p, func(f *file) (int, error) { return set(ctx, db, f) })
	if err := db.Close(); err != nil {
		return fmt.Errorf("close the Redis client: %w", err)
	}
	refused := 0
	for _, f := range tree {
		if f.refused != nil {
			refused++
			_, _ = fmt.Fprintf(out, "refused %s, %d bytes: %v\n", f.path, f.size, f.refused)
		}
	}
	_, _ = fmt.Fprintf(out, "loaded  %d files, %s by RESP through %s in %s; %d refused, %d failed\n",
		len(tree)-refused-failed.count, megabytes(p.bytes.Load()), c.resp, seconds(begin), refused, failed.count)
	return failed.error("load")
}

// set writes one file and returns its size. An error for a value over the limit is what should
// happen, so it is not a failure.
func set(ctx context.Context, db *redis.Client, f *file) (int, error) {
	content, err := f.read()
	if err != nil {
		return 0, err
	}
	err = db.Set(ctx, f.path, content, 0).Err()
	if err != nil && f.size > api.MaxValueBytes {
		f.refused = err
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("set %s, %d bytes: %w", f.path, f.size, err)
	}
	return f.size, nil
}
