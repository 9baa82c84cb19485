package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/vfs"
)

// User is the only user. Clients may leave the name away.
const User = "default"

const (
	// maxPasswords bounds the work of a check: a rotation needs two.
	maxPasswords = 16
	// hashPrefix begins a line that has the SHA-256 of a password instead of the password.
	hashPrefix = "sha256:"
)

type hash = [sha256.Size]byte

// Options are the settings of Passwords.
type Options struct {
	// File holds one password per line, or "sha256:" and 64 hexadecimal digits. Empty: no password
	// is required.
	File  string
	FS    vfs.Files   // required with File
	Clock clock.Clock // default: the machine's
}

// Passwords are the passwords in force. Safe for concurrent use.
type Passwords struct {
	// Set by Open, never written again.
	opts     Options
	throttle throttle

	// Written by Reload, loaded by anyone.
	accepted atomic.Pointer[[]hash]
	failures atomic.Uint64

	// mu lets one Reload run at a time.
	mu      sync.Mutex
	content hash // of the file as it was last accepted
}

// Open reads the file.
func Open(o Options) (*Passwords, error) {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	p := &Passwords{opts: o}
	p.throttle.init(o.Clock)
	p.accepted.Store(new([]hash))
	_, err := p.Reload()
	return p, err
}

// Reload reads the file again and reports whether the passwords are others now. After an error
// those read before stay in force (A2).
func (p *Passwords) Reload() (changed bool, err error) {
	if !p.Required() {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	data, err := vfs.ReadFile(p.opts.FS, p.opts.File)
	if err != nil {
		return false, fmt.Errorf("read the passwords: %w", err)
	}
	content := sha256.Sum256(data)
	if content == p.content {
		return false, nil
	}
	list, err := parse(string(data))
	if err != nil {
		return false, fmt.Errorf("password file %s: %w", p.opts.File, err)
	}
	p.accepted.Store(&list)
	p.content = content
	return true, nil
}

// parse says nothing about the lines but their numbers (A1).
func parse(text string) ([]hash, error) {
	var list []hash
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		digits, hashed := strings.CutPrefix(line, hashPrefix)
		if !hashed {
			list = append(list, sha256.Sum256([]byte(line)))
			continue
		}
		b, err := hex.DecodeString(digits)
		if err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("line %d: %q is not followed by 64 hexadecimal digits", i+1, hashPrefix)
		}
		list = append(list, hash(b))
	}
	switch {
	case len(list) == 0:
		return nil, errors.New("it has no password; write one per line")
	case len(list) > maxPasswords:
		return nil, fmt.Errorf("it has %d passwords, at most %d are allowed", len(list), maxPasswords)
	}
	return list, nil
}

// Required reports whether clients have to give a password.
func (p *Passwords) Required() bool { return p.opts.File != "" }

// Failures counts the wrong passwords since the start.
func (p *Passwords) Failures() uint64 { return p.failures.Load() }

// Matches reports whether password is in force. It neither counts nor delays: it is for a
// connection that has given the right one before.
func (p *Passwords) Matches(password []byte) bool {
	given := sha256.Sum256(password)
	found := 0
	for _, want := range *p.accepted.Load() {
		found |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return found == 1
}

// Check fails with api.CodeUnauthorized if user or password are wrong, and with api.CodeOverloaded
// if source failed too often of late, unless the right password came from there within the hour.
func (p *Passwords) Check(_ context.Context, user string, password []byte, source net.Addr) error {
	if !p.Required() {
		return nil
	}
	from := network.Source(source)
	right := p.Matches(password) && (user == "" || user == User)
	if wait := p.throttle.wait(from); wait > 0 && !(right && p.throttle.trusts(from)) {
		return api.Errorf(api.CodeOverloaded, "too many wrong passwords from this address; try again in %d s", (wait+time.Second-1)/time.Second)
	}
	if right {
		p.throttle.succeeded(from)
		return nil
	}
	p.failures.Add(1)
	p.throttle.failed(from)
	return api.Errorf(api.CodeUnauthorized, "wrong user or password")
}
