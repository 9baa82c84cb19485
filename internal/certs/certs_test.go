package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

var (
	start = time.UnixMilli(1_700_000_000_000)
	times = clock.NewManual(start)
	seams = Seams{Entropy: entropy.System(), Clock: times}
)

func authority(t *testing.T) *Authority {
	t.Helper()
	a, err := NewAuthority(seams, "test", 100*day)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *Authority, cluster string, role Role) Pair {
	t.Helper()
	p, err := a.Issue(Request{Cluster: cluster, Role: role, Hosts: []string{"db.example", "127.0.0.1"}, Lifetime: 10 * day})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// files writes the three files of a store.
func files(t *testing.T, fs *vfs.Mem, p Pair, ca ...*Authority) {
	t.Helper()
	if err := fs.MkdirAll("tls"); err != nil {
		t.Fatal(err)
	}
	var bundle []byte
	for _, a := range ca {
		bundle = append(bundle, a.Cert()...)
	}
	for name, data := range map[string][]byte{"cert": p.Cert, "key": p.Key, "ca": bundle} {
		if err := vfs.WriteFileAtomic(fs, "tls", name, data); err != nil {
			t.Fatal(err)
		}
	}
}

func store(t *testing.T, p Pair, ca ...*Authority) (*Store, *vfs.Mem) {
	t.Helper()
	fs := vfs.NewMem()
	files(t, fs, p, ca...)
	s, err := Open(options(fs))
	if err != nil {
		t.Fatal(err)
	}
	return s, fs
}

func options(fs vfs.Files) Options {
	return Options{CertFile: "tls/cert", KeyFile: "tls/key", CAFile: "tls/ca", Cluster: "blue", FS: fs, Clock: times}
}

// shake connects two configurations; the server's view of the connection comes back.
func shake(t *testing.T, server, client *tls.Config) (state tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a pipe would deadlock: both ends write at once
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() {
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			done <- err
			return
		}
		defer raw.Close()
		c := tls.Client(raw, client)
		if err = c.Handshake(); err == nil {
			_, err = c.Read(make([]byte, 1)) // TLS 1.3 tells a client about its certificate here
		}
		done <- err
	}()
	raw, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := tls.Server(raw, server)
	if serverErr = s.Handshake(); serverErr == nil {
		_, serverErr = s.Write([]byte{1})
	}
	state = s.ConnectionState()
	raw.Close()
	return state, serverErr, <-done
}

func TestNodesOfOneClusterAcceptEachOther(t *testing.T) {
	ca := authority(t)
	a, _ := store(t, issue(t, ca, "blue", Node), ca)
	b, _ := store(t, issue(t, ca, "blue", Node), ca)
	state, serverErr, clientErr := shake(t, a.ServerConfig(), b.PeerConfig())
	if serverErr != nil || clientErr != nil {
		t.Fatal(serverErr, clientErr)
	}
	if err := a.CheckPeer(&state); err != nil {
		t.Fatal(err)
	}
	if state.Version != tls.VersionTLS13 {
		t.Fatal("nodes speak", tls.VersionName(state.Version))
	}
}

// TestEveryoneElseIsNoNode is invariant I2 from the server's side.
func TestEveryoneElseIsNoNode(t *testing.T) {
	ca, other := authority(t), authority(t)
	server, _ := store(t, issue(t, ca, "blue", Node), ca)
	pair := func(p Pair) []tls.Certificate {
		c, err := tls.X509KeyPair(p.Cert, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{c}
	}
	for name, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"no certificate":       {&tls.Config{}, "no certificate"},
		"a client":             {&tls.Config{Certificates: pair(issue(t, ca, "blue", Client))}, "lightning://blue/client"},
		"another cluster":      {&tls.Config{Certificates: pair(issue(t, ca, "green", Node))}, "lightning://green/node"},
		"another authority":    {&tls.Config{Certificates: pair(issue(t, other, "blue", Node))}, ""},
		"a node, but TLS 1.2":  {&tls.Config{Certificates: pair(issue(t, ca, "blue", Node)), MaxVersion: tls.VersionTLS12}, "TLS 1.3"},
		"a cluster by its end": {&tls.Config{Certificates: pair(issue(t, ca, "not.blue", Node))}, "not.blue"},
	} {
		c.config.InsecureSkipVerify = true
		state, serverErr, _ := shake(t, server.ServerConfig(), c.config)
		if c.want == "" {
			if serverErr == nil {
				t.Errorf("%s: the handshake succeeds", name)
			}
			continue
		}
		if serverErr != nil {
			t.Errorf("%s: a client is refused: %v", name, serverErr)
		}
		if err := server.CheckPeer(&state); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestANodeTalksToNodesOnly is invariant I2 from the dialling side.
func TestANodeTalksToNodesOnly(t *testing.T) {
	ca, other := authority(t), authority(t)
	client, _ := store(t, issue(t, ca, "blue", Node), ca)
	for name, c := range map[string]struct {
		pair Pair
		want string
	}{
		"a client":          {issue(t, ca, "blue", Client), "certificate"},
		"another cluster":   {issue(t, ca, "green", Node), "not a node of this cluster"},
		"another authority": {issue(t, other, "blue", Node), "unknown authority"},
	} {
		cert, err := tls.X509KeyPair(c.pair.Cert, c.pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = shake(t, &tls.Config{Certificates: []tls.Certificate{cert}}, client.PeerConfig())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestExpiredMaterialIsRefused(t *testing.T) {
	ca := authority(t)
	s, fs := store(t, issue(t, ca, "blue", Node), ca)
	if want := start.Add(10 * day); s.NotAfter().Sub(want).Abs() > time.Second {
		t.Fatal(s.NotAfter(), want)
	}
	o := options(fs)
	o.Clock = clock.NewManual(start.Add(11 * day))
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Fatal(err)
	}
}

func TestTheEarliestEndOfTheChainCounts(t *testing.T) {
	ca, err := NewAuthority(seams, "short", 3*day)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	if want := start.Add(3 * day); s.NotAfter().Sub(want).Abs() > time.Second {
		t.Fatal(s.NotAfter(), want)
	}
}

// TestBadMaterialChangesNothing is invariant I1.
func TestBadMaterialChangesNothing(t *testing.T) {
	ca, other := authority(t), authority(t)
	good := issue(t, ca, "blue", Node)
	s, fs := store(t, good, ca)
	before := s.current.Load()
	mixed := Pair{Cert: good.Cert, Key: issue(t, ca, "blue", Node).Key}
	for name, c := range map[string]struct {
		pair Pair
		ca   *Authority
		want string
	}{
		"the key of another":      {mixed, ca, "private key does not match"},
		"another authority":       {issue(t, other, "blue", Node), ca, "does not pass with the authorities"},
		"another cluster":         {issue(t, ca, "green", Node), ca, `not for a node of cluster "blue"`},
		"a client":                {issue(t, ca, "blue", Client), ca, "not for a node"},
		"no certificate":          {Pair{Cert: []byte("x"), Key: good.Key}, ca, "tls/cert"},
		"authorities of somebody": {good, other, "tls/ca"},
	} {
		files(t, fs, c.pair, c.ca)
		changed, err := s.Reload()
		if changed || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v %v, want %q", name, changed, err, c.want)
		}
		if s.current.Load() != before {
			t.Fatalf("%s is used", name)
		}
	}
	files(t, fs, good)
	if _, err := s.Reload(); !errors.Is(err, errNoCertificates) || s.current.Load() != before {
		t.Fatal("no authorities:", err)
	}
	files(t, fs, issue(t, ca, "blue", Node), ca)
	if changed, err := s.Reload(); !changed || err != nil || s.current.Load() == before {
		t.Fatal("good material after bad is not taken:", changed, err)
	}
	if changed, err := s.Reload(); changed || err != nil {
		t.Fatal("the same bytes are a change", changed, err)
	}
}

// TestAuthoritiesAreReplacedStepByStep is how docs/security.md says to do it: at every step nodes
// that are one step apart accept each other.
func TestAuthoritiesAreReplacedStepByStep(t *testing.T) {
	old, next := authority(t), authority(t)
	oldPair, newPair := issue(t, old, "blue", Node), issue(t, next, "blue", Node)
	steps := []struct {
		pair Pair
		ca   []*Authority
	}{
		{oldPair, []*Authority{old}},
		{oldPair, []*Authority{old, next}},
		{newPair, []*Authority{old, next}},
		{newPair, []*Authority{next}},
	}
	a, afs := store(t, oldPair, old)
	b, bfs := store(t, oldPair, old)
	for i, step := range steps {
		files(t, afs, step.pair, step.ca...)
		if _, err := a.Reload(); err != nil {
			t.Fatal(i, err)
		}
		for _, pair := range [][2]*Store{{a, b}, {b, a}} {
			state, serverErr, clientErr := shake(t, pair[0].ServerConfig(), pair[1].PeerConfig())
			if err := errors.Join(serverErr, clientErr); err != nil {
				t.Fatalf("between step %d and the one before: %v", i, err)
			}
			if err := pair[0].CheckPeer(&state); err != nil {
				t.Fatal(i, err)
			}
		}
		files(t, bfs, step.pair, step.ca...)
		if _, err := b.Reload(); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, serverErr, clientErr := shake(t, a.ServerConfig(), &tls.Config{RootCAs: pool(t, old), ServerName: "db.example"}); errors.Join(serverErr, clientErr) == nil {
		t.Fatal("the old authority still vouches for the node")
	}
}

func pool(t *testing.T, a *Authority) *x509.CertPool {
	t.Helper()
	p, err := Pool(a.Cert())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestClientsCheckTheName(t *testing.T) {
	ca := authority(t)
	s, _ := store(t, issue(t, ca, "blue", Node), ca)
	for host, want := range map[string]bool{"db.example": true, "127.0.0.1": true, "other.example": false} {
		_, serverErr, clientErr := shake(t, s.ServerConfig(), &tls.Config{RootCAs: pool(t, ca), ServerName: host, Time: times.Now})
		if ok := errors.Join(serverErr, clientErr) == nil; ok != want {
			t.Errorf("%s: %v %v", host, serverErr, clientErr)
		}
		if (s.Covers(host) == nil) != want {
			t.Errorf("Covers(%s): %v", host, s.Covers(host))
		}
	}
}

func TestClusterNamesFitIntoCertificates(t *testing.T) {
	for name, want := range map[string]bool{
		"lightning": true, "a": true, "prod-1.eu_west": true, "": false, "a b": false, "a..b": false, "-a": false, "a.": false,
		"a/node": false, "a?x": false, "a#": false, "ä": false, strings.Repeat("a", 201): false,
	} {
		if err := CheckClusterName(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
		if !want {
			continue
		}
		ca := authority(t)
		p := issue(t, ca, name, Node)
		cert, err := tls.X509KeyPair(p.Cert, p.Key)
		if err != nil || !hasRole(cert.Leaf, name, Node) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAuthoritiesSurviveTheirFile(t *testing.T) {
	ca := authority(t)
	p, err := ca.Pair()
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadAuthority(seams, p)
	if err != nil {
		t.Fatal(err)
	}
	store(t, issue(t, again, "blue", Node), ca)
	if _, err := LoadAuthority(seams, issue(t, ca, "blue", Node)); err == nil {
		t.Fatal("a node is taken for an authority")
	}
}
