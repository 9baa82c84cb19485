package cluster

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
)

// Secure is the material of a cluster with TLS, a password and a gossip key. Its directory changes
// as one that Kubernetes mounts a Secret into: all files at once, by the swap of a link.
type Secure struct {
	Cluster  string // --cluster-name
	Password string
	GossipA  []byte // the first gossip key

	t    testing.TB
	dir  string
	turn int
	cas  atomic.Pointer[[]byte] // what clients trust, in PEM
}

// The names of the files.
const (
	CertFile   = "node.crt"
	KeyFile    = "node.key"
	CAFile     = "ca.crt"
	Passwords  = "password"
	GossipKeys = "gossip.key"
)

// Seams of certificates: the real ones, since processes look at them.
var seams = certs.Seams{Entropy: entropy.System(), Clock: clock.Real{}}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority(seams, "tests", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Issue makes a certificate for loopback.
func Issue(t testing.TB, ca *certs.Authority, cluster string, role certs.Role) certs.Pair {
	t.Helper()
	p, err := ca.Issue(certs.Request{Cluster: cluster, Role: role, Hosts: []string{"127.0.0.1", "localhost"}, Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// NewSecure makes the material, with certificates by ca.
func NewSecure(t testing.TB, ca *certs.Authority) *Secure {
	t.Helper()
	s := &Secure{Cluster: "lightning", Password: Secret(t), t: t, dir: t.TempDir()}
	s.GossipA = GossipKey(t)
	pair := Issue(t, ca, s.Cluster, certs.Node)
	s.Swap(map[string][]byte{
		CertFile: pair.Cert, KeyFile: pair.Key, CAFile: ca.Cert(),
		Passwords: []byte(s.Password + "\n"), GossipKeys: s.GossipA,
	})
	s.Trust(ca)
	return s
}

// Secret makes a password.
func Secret(t testing.TB) string { return hex.EncodeToString(random(t)) }

// GossipKey makes a line of a gossip key file.
func GossipKey(t testing.TB) []byte {
	return []byte(base64.StdEncoding.EncodeToString(random(t)) + "\n")
}

func random(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 32)
	if _, err := seams.Entropy.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// Swap changes some of the files at once.
func (s *Secure) Swap(files map[string][]byte) {
	s.t.Helper()
	s.turn++
	data := "..turn-" + strconv.Itoa(s.turn)
	check := func(err error) {
		s.t.Helper()
		if err != nil {
			s.t.Fatal(err)
		}
	}
	check(os.Mkdir(filepath.Join(s.dir, data), 0o700))
	for _, name := range []string{CertFile, KeyFile, CAFile, Passwords, GossipKeys} {
		content, changed := files[name]
		if !changed {
			var err error
			content, err = os.ReadFile(s.File(name))
			check(err)
		}
		check(os.WriteFile(filepath.Join(s.dir, data, name), content, 0o600))
		if s.turn == 1 {
			check(os.Symlink(filepath.Join("..data", name), s.File(name)))
		}
	}
	check(os.Symlink(data, filepath.Join(s.dir, "..next")))
	check(os.Rename(filepath.Join(s.dir, "..next"), filepath.Join(s.dir, "..data")))
}

// File is the path of a file as nodes are told it.
func (s *Secure) File(name string) string { return filepath.Join(s.dir, name) }

// Trust says which authorities the clients of the tests trust from now on.
func (s *Secure) Trust(list ...*certs.Authority) { pem := Bundle(list...); s.cas.Store(&pem) }

// Bundle is a file of authorities.
func Bundle(list ...*certs.Authority) []byte {
	var pem []byte
	for _, a := range list {
		pem = append(pem, a.Cert()...)
	}
	return pem
}

// CA is what clients trust, in PEM.
func (s *Secure) CA() []byte { return *s.cas.Load() }

// TLS is a configuration for clients.
func (s *Secure) TLS() *tls.Config {
	s.t.Helper()
	pool, err := certs.Pool(s.CA())
	if err != nil {
		s.t.Fatal(err)
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
}

func (s *Secure) args() []string {
	return []string{
		"--cluster-name", s.Cluster, "--tls-cert", s.File(CertFile), "--tls-key", s.File(KeyFile), "--tls-ca", s.File(CAFile),
		"--password-file", s.File(Passwords), "--gossip-key-file", s.File(GossipKeys),
	}
}

// DialOptions are for gRPC; nil for a cluster without security.
func (s *Secure) DialOptions() []grpc.DialOption {
	if s == nil {
		return nil
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(s.TLS())), grpc.WithPerRPCCredentials(Bearer(s.Password)),
	}
}

// Bearer is a password as gRPC carries it.
type Bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b Bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (Bearer) RequireTransportSecurity() bool { return false }

// get asks a node's HTTP port.
func (n *Node) get(ctx context.Context, path string) (*http.Response, error) {
	client, scheme := httpClient, "http"
	if n.secure != nil {
		scheme = "https"
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: n.secure.TLS()}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+n.HTTP+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", n.Name, err)
	}
	return client.Do(req)
}
