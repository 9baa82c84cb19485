package node

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// everything are the flags of a node that nothing is missing from.
var everything = []string{"--tls-cert", "c", "--tls-key", "k", "--tls-ca", "a", "--password-file", "p", "--gossip-key-file", "g"}

// TestANodeIsSafeUnlessToldOtherwise goes through what stands between a port and anybody.
func TestANodeIsSafeUnlessToldOtherwise(t *testing.T) {
	without := func(flag string) []string {
		var list []string
		for i := 0; i < len(everything); i += 2 {
			if everything[i] != flag {
				list = append(list, everything[i:i+2]...)
			}
		}
		return list
	}
	open := []string{"--host", "10.0.0.1"}
	for _, c := range []struct {
		name string
		args []string
		want []string // of the refusal; none: accepted
	}{
		{"loopback with nothing", nil, nil},
		{"loopback by name", []string{"--host", "localhost"}, nil},
		{"IPv6 loopback", []string{"--host", "::1"}, nil},
		{"beyond loopback with everything", append(open, everything...), nil},
		{"beyond loopback with nothing, told so", append(open, "--insecure"), nil},
		{"everywhere with nothing", []string{"--host", "0.0.0.0", "--advertise-host", "db"}, []string{"--tls-cert", "--password-file", "--gossip-key-file", "--insecure"}},
		{"beyond loopback with nothing", open, []string{"10.0.0.1", "--tls-cert", "--password-file", "--gossip-key-file", "--insecure"}},
		{"no password", append(open, without("--password-file")...), []string{"add a password (--password-file)"}},
		{"no gossip key", append(open, without("--gossip-key-file")...), []string{"add a gossip key (--gossip-key-file)"}},
		{"no authorities", append(open, without("--tls-ca")...), []string{"belong together", "TLS (--tls-cert"}},
		{"no key, on loopback", without("--tls-key"), []string{"--tls-cert, --tls-key and --tls-ca belong together"}},
		{"a name for no certificate", append([]string{"--cluster-name", "a b"}, everything...), []string{"--cluster-name"}},
		{"hasty connections", []string{"--max-connection-age", "1ms"}, []string{"--max-connection-age"}},
	} {
		_, err := LoadConfig(append([]string{"--data-dir", "/d", "--name", "n"}, c.args...), noEnv)
		if c.want == nil && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.want != nil && ExitCode(err) != ExitConfig {
			t.Errorf("%s is accepted", c.name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in %q", c.name, want, err)
			}
		}
	}
}

type secured struct {
	*node
	dir   string
	log   bytes.Buffer
	clock *clock.Manual
}

func (s *secured) write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes a certificate for the node by an authority that the node trusts.
func (s *secured) issue(t *testing.T, cluster string) {
	t.Helper()
	ca, err := certs.NewAuthority(certs.Seams{Entropy: entropy.System(), Clock: s.clock}, "ca", 48*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(certs.Request{Cluster: cluster, Role: certs.Node, Hosts: []string{"10.0.0.1"}, Lifetime: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "cert", pair.Cert)
	s.write(t, "key", pair.Key)
	s.write(t, "ca", ca.Cert())
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	s := &secured{dir: t.TempDir(), clock: clock.NewManual(time.Unix(1_700_000_000, 0))}
	at := func(name string) string { return filepath.Join(s.dir, name) }
	s.node = &node{
		fs: vfs.OS(), clock: s.clock, logger: slog.New(slog.NewTextHandler(&s.log, nil)),
		config: Config{ClusterName: "blue", AdvertiseHost: "10.0.0.1", SecurityConfig: SecurityConfig{
			TLSCert: at("cert"), TLSKey: at("key"), TLSCA: at("ca"), PasswordFile: at("password"), Insecure: true,
		}},
	}
	s.issue(t, "blue")
	s.write(t, "password", []byte("topsecret\n"))
	return s
}

// TestWhatCannotBeUsedIsLoggedNowAndThen watches the files of a node go bad and good again.
func TestWhatCannotBeUsedIsLoggedNowAndThen(t *testing.T) {
	s := newSecured(t)
	if err := s.openSecurity(); err != nil {
		t.Fatal(err)
	}
	ends := s.security.certs.NotAfter()
	s.clock.Advance(time.Hour)
	s.issue(t, "green")
	s.write(t, "password", nil)
	for range 65 {
		s.reloadSecurity()
		s.clock.Advance(time.Second)
	}
	if got := strings.Count(s.log.String(), "cannot be used"); got != 4 {
		t.Errorf("%d complaints about 2 files in 65 s:\n%s", got, s.log.String())
	}
	if !s.security.certs.NotAfter().Equal(ends) || !s.security.passwords.Matches([]byte("topsecret")) {
		t.Error("what cannot be used is used")
	}
	s.issue(t, "blue")
	s.write(t, "password", []byte("other\n"))
	s.reloadSecurity()
	if s.security.certs.NotAfter().Equal(ends) || s.security.passwords.Matches([]byte("topsecret")) {
		t.Error("what can be used is not used")
	}
	if strings.Contains(s.log.String(), "secret") {
		t.Error("the log shows a password")
	}
}

func TestBadFilesAreMistakesInTheConfiguration(t *testing.T) {
	for name, spoil := range map[string]func(*secured){
		"--password-file": func(s *secured) { s.write(t, "password", nil) },
		"--tls-cert":      func(s *secured) { s.issue(t, "green") },
		"--gossip-key-file": func(s *secured) {
			s.write(t, "gossip", []byte("short"))
			s.config.GossipKeyFile = filepath.Join(s.dir, "gossip")
		},
	} {
		s := newSecured(t)
		spoil(s)
		if err := s.openSecurity(); ExitCode(err) != ExitConfig || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInsecureModeAndTheEndOfCertificatesAreMetrics(t *testing.T) {
	s := newSecured(t)
	if err := s.openSecurity(); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.security.collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.Metric[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	want := map[string]float64{
		"lightning_insecure_mode": 1, "lightning_wrong_passwords_total": 0,
		"lightning_certificate_expiry_timestamp_seconds": float64(s.clock.Now().Add(24 * time.Hour).Unix()),
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	s.security.remind()
	if !strings.Contains(s.log.String(), "runs with --insecure") || !strings.Contains(s.log.String(), "--gossip-key-file") {
		t.Error(s.log.String())
	}
}
