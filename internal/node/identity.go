package node

import (
	"encoding/json"
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
)

// identity is what node.json holds. It is written once: a node that loses it is a new node.
type identity struct {
	Format int        `json:"format"`
	ID     api.NodeID `json:"node_id"`
}

// openDataDir makes the directory if needed, locks it for this process and reads the node's
// identity, making one in an empty directory. A directory that has other files but no identity
// is refused: it is not ours, or it has lost its identity and with it its votes.
func openDataDir(fsys vfs.FS, dir string, random entropy.Source) (api.NodeID, io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return "", nil, &DataDirError{dir, err}
	}
	lock, err := fsys.Lock(dir + "/" + lockFile)
	if err != nil {
		return "", nil, &DataDirError{dir, err}
	}
	id, err := loadIdentity(fsys, dir, random)
	if err != nil {
		lock.Close()
		return "", nil, &DataDirError{dir, err}
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
