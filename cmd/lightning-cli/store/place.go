package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/engine/inspect"
)

const (
	nodeFile     = "node.json" // in the data directory of a node, above its replicas
	currentFile  = "CURRENT"   // in that of a replica, beside its engines
	enginePrefix = "engine-"
)

// writable refuses what is no store, or a node's (ST2).
func writable(dir string) error {
	if err := exists(dir); err != nil {
		return err
	}
	if err := embedded(dir); err != nil {
		return err
	}
	// A manifest that cannot be read is for Open to refuse.
	if s, err := inspect.Manifest(dir); err == nil && s != nil && s.Index != 0 {
		return fmt.Errorf("%s was written from a log of others, up to entry %d: %w", dir, s.Index, ErrReplica)
	}
	return nil
}

// exists refuses to make a store of a mistyped path.
func exists(dir string) error {
	s, err := inspect.Manifest(dir)
	if err == nil && s == nil {
		return fmt.Errorf("%s: %w", dir, engine.ErrNoStore)
	}
	return nil
}

// embedded refuses a directory that lies inside that of a node.
func embedded(dir string) error {
	at, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find %s: %w", dir, err)
	}
	if resolved, err := filepath.EvalSymlinks(at); err == nil {
		at = resolved
	}
	if strings.HasPrefix(filepath.Base(at), enginePrefix) && isFile(filepath.Join(filepath.Dir(at), currentFile)) {
		return fmt.Errorf("%s is named by %s beside it: %w", dir, currentFile, ErrReplica)
	}
	for {
		if isFile(filepath.Join(at, nodeFile)) {
			return fmt.Errorf("%s is in the data directory of the node in %s: %w", dir, at, ErrReplica)
		}
		above := filepath.Dir(at)
		if above == at {
			return nil
		}
		at = above
	}
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}
