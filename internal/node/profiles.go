package node

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"sync"
	"time"
)

// profiles serves the runtime's profiles on a Unix socket. They show keys and values that happen to
// be in memory, so only the user that runs the node may connect, and no port offers them.
type profiles struct {
	server http.Server
	serve  sync.WaitGroup
}

// profilesHeaderLimit is what a client on the same machine needs to say what it wants.
const profilesHeaderLimit = 5 * time.Second

// openProfiles begins to serve; a socket that an earlier process left at path is replaced.
func openProfiles(path string) (*profiles, error) {
	if err := removeSocket(path); err != nil {
		return nil, &AddressError{Flag: "--pprof-socket", Address: path, Cause: err}
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, &AddressError{Flag: "--pprof-socket", Address: path, Cause: err}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, &AddressError{Flag: "--pprof-socket", Address: path, Cause: errors.Join(err, listener.Close())}
	}
	handlers := http.NewServeMux()
	handlers.HandleFunc("/debug/pprof/", pprof.Index)
	handlers.HandleFunc("/debug/pprof/profile", pprof.Profile)
	handlers.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	handlers.HandleFunc("/debug/pprof/trace", pprof.Trace)
	p := &profiles{server: http.Server{Handler: handlers, ReadHeaderTimeout: profilesHeaderLimit}}
	p.serve.Go(func() { _ = p.server.Serve(listener) }) // says that it was closed
	return p, nil
}

// removeSocket removes a socket and refuses to remove anything else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket", path)
	}
	return os.Remove(path)
}

// Close ends what is being served and removes the socket.
func (p *profiles) Close() error {
	err := p.server.Close()
	p.serve.Wait()
	return err
}
