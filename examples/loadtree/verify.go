package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/client"
)

// verify reads everything back by gRPC.
func verify(ctx context.Context, c config, tree []*file, out io.Writer) error {
	db, err := client.New(client.Options{Addresses: []string{c.grpc}, DefaultTimeout: c.timeout, Dialer: c.dial})
	if err != nil {
		return err
	}
	var stored []*file
	for _, f := range tree {
		if f.refused == nil {
			stored = append(stored, f)
		}
	}
	err = errors.Join(
		comparePaths(ctx, db, stored, c.grpc, out),
		compareContents(ctx, db, c, stored, out),
		comparePrefix(ctx, db, stored, c.prefix, out),
	)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return err
}

// comparePaths scans all keys and compares them, as sets, with the paths.
func comparePaths(ctx context.Context, db *client.Client, stored []*file, from string, out io.Writer) error {
	begin := time.Now()
	keys, err := scan(ctx, db, api.Range{KeysOnly: true})
	if err != nil {
		return err
	}
	want := make(map[string]bool, len(stored))
	for _, f := range stored {
		want[f.path] = true
	}
	found, extra := 0, 0
	for _, key := range keys {
		if want[key] {
			delete(want, key)
			found++
		} else {
			extra++
		}
	}
	_, _ = fmt.Fprintf(out, "scanned %d keys by gRPC from %s in %s; %d of %d paths found, %d missing, %d extra\n",
		len(keys), from, seconds(begin), found, len(stored), len(want), extra)
	if len(want) > 0 || extra > 0 {
		return fmt.Errorf("compare paths: %d missing, %d extra", len(want), extra)
	}
	return nil
}

// compareContents reads every value and compares its SHA-256.
func compareContents(ctx context.Context, db *client.Client, c config, stored []*file, out io.Writer) error {
	begin := time.Now()
	p := newProgress("read", len(stored), out)
	failed := forEach(ctx, c.workers, stored, p, func(f *file) (int, error) {
		item, err := db.Get(ctx, 0, []byte(f.path))
		switch {
		case err != nil:
			return 0, fmt.Errorf("get %s: %w", f.path, err)
		case !item.Found:
			return 0, fmt.Errorf("get %s: not found", f.path)
		case sha256.Sum256(item.Value) != f.sum:
			return 0, fmt.Errorf("get %s: %d bytes with another SHA-256 than the %d bytes loaded", f.path, len(item.Value), f.size)
		}
		return len(item.Value), nil
	})
	_, _ = fmt.Fprintf(out, "read    %d of %d files with equal SHA-256, %s by gRPC in %s; %d differ\n",
		len(stored)-failed.count, len(stored), megabytes(p.bytes.Load()), seconds(begin), failed.count)
	return failed.error("read back")
}

// comparePrefix scans one directory and compares keys and order.
func comparePrefix(ctx context.Context, db *client.Client, stored []*file, prefix string, out io.Writer) error {
	r := api.PrefixRange([]byte(prefix))
	r.KeysOnly = true
	keys, err := scan(ctx, db, r)
	if err != nil {
		return err
	}
	var want []string
	for _, f := range stored {
		if strings.HasPrefix(f.path, prefix) {
			want = append(want, f.path)
		}
	}
	slices.Sort(want)
	if !slices.Equal(keys, want) {
		return fmt.Errorf("scan prefix %s: %d keys, which are not the %d paths in order", prefix, len(keys), len(want))
	}
	_, _ = fmt.Fprintf(out, "prefix  %s lists %d keys in order, all that are there\n", prefix, len(keys))
	if len(keys) > 0 {
		_, _ = fmt.Fprintf(out, "        from %s to %s\n", keys[0], keys[len(keys)-1])
	}
	return nil
}

func scan(ctx context.Context, db *client.Client, r api.Range) ([]string, error) {
	var keys []string
	for item, err := range db.Scan(ctx, r) {
		if err != nil {
			return nil, fmt.Errorf("scan after %d keys: %w", len(keys), err)
		}
		keys = append(keys, string(item.Key))
	}
	return keys, nil
}
