package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Options name the files of a Store. All are required, except Clock.
type Options struct {
	CertFile string // the node's certificate, then those between it and the authority (PEM)
	KeyFile  string // its private key (PEM)
	CAFile   string // the authorities, several while they are replaced (PEM)
	Cluster  string // the cluster's name, as in the URI of its nodes
	FS       vfs.Files
	Clock    clock.Clock // default: the machine's
}

// Store holds the material in force. Safe for concurrent use.
type Store struct {
	// Set by Open, never written again.
	opts Options

	// Written by Reload, loaded by anyone.
	current atomic.Pointer[material]

	// mu lets one Reload run at a time.
	mu sync.Mutex
}

// material is what one state of the files amounts to. It is never changed.
type material struct {
	content   [sha256.Size]byte
	cert      *tls.Certificate
	roots     *x509.CertPool
	notBefore time.Time
	notAfter  time.Time // of the certificate and of what it rests on, whichever ends first
}

// Open reads the files.
func Open(o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	s := &Store{opts: o}
	if _, err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload reads the files again and reports whether other material is in force now. After an error
// the old one stays (I1).
func (s *Store) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var files [3][]byte
	for i, name := range []string{s.opts.CertFile, s.opts.KeyFile, s.opts.CAFile} {
		if files[i], err = vfs.ReadFile(s.opts.FS, name); err != nil {
			return false, fmt.Errorf("read TLS files: %w", err)
		}
	}
	content := sha256.Sum256(bytes.Join(files[:], []byte{0}))
	if old := s.current.Load(); old != nil && old.content == content {
		return false, nil
	}
	m, err := s.check(files[0], files[1], files[2])
	if err != nil {
		return false, err
	}
	m.content = content
	s.current.Store(m)
	return true, nil
}

// check turns the bytes of the files into material that every node of the cluster accepts.
func (s *Store) check(certPEM, keyPEM, caPEM []byte) (*material, error) {
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate %s and key %s: %w", s.opts.CertFile, s.opts.KeyFile, err)
	}
	m := &material{cert: &cert}
	if m.roots, err = Pool(caPEM); err != nil {
		return nil, fmt.Errorf("authorities %s: %w", s.opts.CAFile, err)
	}
	if err := s.checkRole(cert.Leaf); err != nil {
		return nil, fmt.Errorf("certificate %s is not for a node of cluster %q: %w", s.opts.CertFile, s.opts.Cluster, err)
	}
	intermediates, err := parseAll(cert.Certificate[1:])
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", s.opts.CertFile, err)
	}
	var chains [][]*x509.Certificate
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if chains, err = s.verify(m.roots, cert.Leaf, intermediates, use); err != nil {
			return nil, fmt.Errorf("certificate %s does not pass with the authorities in %s: %w", s.opts.CertFile, s.opts.CAFile, err)
		}
	}
	m.notBefore, m.notAfter = cert.Leaf.NotBefore, lastsUntil(chains)
	return m, nil
}

// lastsUntil is when the longest-lived of the chains ends.
func lastsUntil(chains [][]*x509.Certificate) time.Time {
	var latest time.Time
	for _, chain := range chains {
		ends := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(ends) {
				ends = c.NotAfter
			}
		}
		if ends.After(latest) {
			latest = ends
		}
	}
	return latest
}

func (s *Store) verify(roots *x509.CertPool, leaf *x509.Certificate, intermediates []*x509.Certificate, use x509.ExtKeyUsage) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: s.opts.Clock.Now(), KeyUsages: []x509.ExtKeyUsage{use},
	}
	for _, c := range intermediates {
		o.Intermediates.AddCert(c)
	}
	return leaf.Verify(o)
}

// Pool reads authorities. Anything but certificates in the file is an error: it would be a mistake.
func Pool(caPEM []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	found := false
	for block, rest := pem.Decode(caPEM); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("it holds a %q, only certificates are expected", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		pool.AddCert(c)
		found = true
	}
	if !found {
		return nil, errNoCertificates
	}
	return pool, nil
}

func parseAll(list [][]byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for _, der := range list {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// NotAfter is when the material in force ends to be valid.
func (s *Store) NotAfter() time.Time { return s.current.Load().notAfter }

// Covers says why clients that check names would refuse this node under host, nil if they would not.
func (s *Store) Covers(host string) error { return s.current.Load().cert.Leaf.VerifyHostname(host) }
