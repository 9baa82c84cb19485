package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// file is one regular file of the tree.
type file struct {
	path string // relative, with slashes: the key
	name string // on disk

	// Set by load.
	size    int
	sum     [sha256.Size]byte
	refused error // by the cluster, because the value is too large
}

// list finds every regular file below dir, in the order of WalkDir.
func list(dir string) ([]*file, error) {
	var files []*file
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		path, err := filepath.Rel(dir, name)
		files = append(files, &file{path: filepath.ToSlash(path), name: name})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("list %s: no regular files", dir)
	}
	return files, nil
}

// read takes the content and remembers what it was.
func (f *file) read() ([]byte, error) {
	content, err := os.ReadFile(f.name)
	if err != nil {
		return nil, fmt.Errorf("read a file: %w", err)
	}
	f.size, f.sum = len(content), sha256.Sum256(content)
	return content, nil
}
