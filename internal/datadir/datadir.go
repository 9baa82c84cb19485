// Package datadir is what every data directory of a node has: a lock, the node's identity, and a mark while it is being recovered.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

const (
	identityFile   = "node.json"
	lockFile       = "LOCK"
	identityFormat = 1

	// RecoveryFile is there while a recovery changes the directory: no node starts on it then.
	RecoveryFile = "recovery.json"
)

// ErrRecovering is the error of Open for a directory that a recovery was changing when it was cut short.
var ErrRecovering = errors.New("lightning-cli recover apply was cut short here: run it again with the same plan, the node starts after that")

// identity is what node.json holds. It is written once: a node that loses it is a new node.
type identity struct {
	Format int        `json:"format"`
	ID     api.NodeID `json:"node_id"`
}

// Open makes the directory if needed, locks it for this process and reads the node's
// identity, making one in an empty directory. A directory that has other files but no identity
// is refused: it is not ours, or it has lost its identity and with it its votes.
func Open(fsys vfs.FS, dir string, random entropy.Source) (api.NodeID, io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return "", nil, err
	}
	return open(fsys, dir, func() (api.NodeID, error) {
		f, err := fsys.Open(dir + "/" + RecoveryFile)
		switch {
		case err == nil:
			return "", errors.Join(ErrRecovering, f.Close())
		case !vfs.IsNotExist(err):
			return "", err
		}
		return loadIdentity(fsys, dir, random)
	})
}

// OpenStopped locks a directory whose node is stopped, and makes nothing.
func OpenStopped(fsys vfs.FS, dir string) (api.NodeID, io.Closer, error) {
	if f, err := fsys.Open(dir + "/" + identityFile); err != nil {
		return "", nil, fmt.Errorf("%s is no data directory of a node: %w", dir, err)
	} else if err := f.Close(); err != nil {
		return "", nil, err
	}
	return open(fsys, dir, func() (api.NodeID, error) { return loadIdentity(fsys, dir, entropy.System()) })
}

func open(fsys vfs.FS, dir string, identify func() (api.NodeID, error)) (api.NodeID, io.Closer, error) {
	lock, err := fsys.Lock(dir + "/" + lockFile)
	if err != nil {
		return "", nil, err
	}
	id, err := identify()
	if err != nil {
		return "", nil, errors.Join(err, lock.Close())
	}
	return id, lock, nil
}

func loadIdentity(fsys vfs.FS, dir string, random entropy.Source) (api.NodeID, error) {
	data, err := vfs.ReadFile(fsys, dir+"/"+identityFile)
	if vfs.IsNotExist(err) {
		return createIdentity(fsys, dir, random)
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", identityFile, err)
	}
	var id identity
	if err := json.Unmarshal(data, &id); err != nil {
		return "", fmt.Errorf("read %s: %w", identityFile, err)
	}
	if id.Format != identityFormat || id.ID == "" {
		return "", fmt.Errorf("%s has format %d, this version reads format %d", identityFile, id.Format, identityFormat)
	}
	return id.ID, nil
}

func createIdentity(fsys vfs.FS, dir string, random entropy.Source) (api.NodeID, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		// lost+found is the mark of a fresh file system; the tmp file is of an earlier start that
		// died while it made the identity.
		if name != lockFile && name != "lost+found" && name != identityFile+".tmp" {
			return "", fmt.Errorf("it holds %q but no %s: not a data directory of Lightning DB", name, identityFile)
		}
	}
	text, err := random.UUID()
	if err != nil {
		return "", fmt.Errorf("make a node id: %w", err)
	}
	id := identity{Format: identityFormat, ID: api.NodeID(text)}
	data, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return "", err
	}
	if err := vfs.WriteFileAtomic(fsys, dir, identityFile, append(data, '\n')); err != nil {
		return "", fmt.Errorf("write %s: %w", identityFile, err)
	}
	return id.ID, nil
}
