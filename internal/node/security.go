package node

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/internal/access"
	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/membership"
)

// SecurityConfig says who may talk to the node, and how.
type SecurityConfig struct {
	TLSCert          string
	TLSKey           string
	TLSCA            string
	PasswordFile     string
	GossipKeyFile    string
	Insecure         bool
	MaxConnectionAge time.Duration
}

func securitySettings(c *SecurityConfig, fs *pflag.FlagSet) {
	fs.StringVar(&c.TLSCert, "tls-cert", "", "certificate of the node (PEM); its names include lightning://<cluster-name>/node; read again when it changes")
	fs.StringVar(&c.TLSKey, "tls-key", "", "private key of --tls-cert (PEM); read again when it changes")
	fs.StringVar(&c.TLSCA, "tls-ca", "", "authorities that the certificates of nodes come from (PEM, several while they are replaced); read again when it changes")
	fs.StringVar(&c.PasswordFile, "password-file", "", "passwords of clients, one per line, any of which will do; read again when it changes")
	fs.StringVar(&c.GossipKeyFile, "gossip-key-file", "", "keys of 32 bytes in base64 that encrypt gossip, one per line: the first encrypts, all decrypt; read again when it changes")
	fs.BoolVar(&c.Insecure, "insecure", false, "listen beyond loopback without TLS, password or gossip key: anyone who reaches the ports owns the data")
	fs.DurationVar(&c.MaxConnectionAge, "max-connection-age", 30*time.Minute, "how long a gRPC connection is used, so that clients and nodes meet new certificates")
}

// tls reports whether the node speaks TLS.
func (c *SecurityConfig) tls() bool { return c.TLSCert != "" && c.TLSKey != "" && c.TLSCA != "" }

// missing lists what stands between the ports and anybody, with the flags that bring it.
func (c *SecurityConfig) missing() []string {
	var list []string
	for _, m := range []struct {
		there bool
		what  string
	}{
		{c.tls(), "TLS (--tls-cert, --tls-key and --tls-ca)"},
		{c.PasswordFile != "", "a password (--password-file)"},
		{c.GossipKeyFile != "", "a gossip key (--gossip-key-file)"},
	} {
		if !m.there {
			list = append(list, m.what)
		}
	}
	return list
}

func (c *Config) validateSecurity() []string {
	var problems []string
	if any := c.TLSCert != "" || c.TLSKey != "" || c.TLSCA != ""; any && !c.tls() {
		problems = append(problems, "--tls-cert, --tls-key and --tls-ca belong together: give all three or none")
	}
	// Without TLS, too: the name cannot be changed when certificates come later.
	if err := certs.CheckClusterName(c.ClusterName); err != nil {
		problems = append(problems, fmt.Sprintf("--cluster-name: %v", err))
	}
	if c.MaxConnectionAge < time.Second {
		problems = append(problems, "--max-connection-age must be at least 1s")
	}
	ip := net.ParseIP(c.Host)
	missing := c.missing()
	if ip != nil && !ip.IsLoopback() && len(missing) > 0 && !c.Insecure {
		problems = append(problems, fmt.Sprintf("--host %s is not loopback: anyone who reaches the ports could own the data; "+
			"add %s (`lightning-cli certs create` makes them), or --insecure to accept that", c.Host, strings.Join(missing, ", ")))
	}
	return problems
}

// security is what the ports of a node are guarded by.
type security struct {
	// Set by openSecurity, never written again.
	config    SecurityConfig
	fs        vfs.FS
	logger    *slog.Logger
	certs     *certs.Store // nil without TLS
	passwords *access.Passwords
	keys      [][]byte // of gossip, at the start

	// Owned by the watch loop.
	keysContent [sha256.Size]byte
	complaints  map[string]complaint
}

// complaint is the last error about a file and when it was logged.
type complaint struct {
	text string
	at   time.Time
}

// openSecurity reads every file that the settings name. What is wrong with one is a mistake in the
// configuration.
func (n *node) openSecurity() error {
	c := n.config.SecurityConfig
	s := &security{config: c, fs: n.fs, logger: n.logger.With("part", "security"), complaints: map[string]complaint{}}
	var err error
	if s.passwords, err = access.Open(access.Options{File: c.PasswordFile, FS: n.fs, Clock: n.clock}); err != nil {
		return &ConfigError{Problems: []string{"--password-file: " + err.Error()}}
	}
	if s.keys, s.keysContent, err = s.readGossipKeys(); err != nil {
		return &ConfigError{Problems: []string{"--gossip-key-file: " + err.Error()}}
	}
	if c.tls() {
		s.certs, err = certs.Open(certs.Options{
			CertFile: c.TLSCert, KeyFile: c.TLSKey, CAFile: c.TLSCA, Cluster: n.config.ClusterName, FS: n.fs, Clock: n.clock,
		})
		if err != nil {
			return &ConfigError{Problems: []string{"--tls-cert, --tls-key, --tls-ca: " + err.Error()}}
		}
		s.describe(n.config.AdvertiseHost)
	}
	if s.passwords.Required() && s.certs == nil {
		s.logger.Warn("a password without TLS: it travels in the clear, and the services between nodes on the gRPC port are open to whoever reaches it")
	}
	n.security = s
	return nil
}

// describe tells about new certificates what a person may want to know.
func (s *security) describe(host string) {
	s.logger.Info("certificates in use", "until", s.certs.NotAfter())
	if err := s.certs.Covers(host); err != nil {
		s.logger.Warn("clients that check names will refuse this node", "advertised", host, "error", err)
	}
}

func (s *security) readGossipKeys() ([][]byte, [sha256.Size]byte, error) {
	if s.config.GossipKeyFile == "" {
		return nil, [sha256.Size]byte{}, nil
	}
	data, err := vfs.ReadFile(s.fs, s.config.GossipKeyFile)
	if err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	keys, err := membership.ParseKeys(data)
	return keys, sha256.Sum256(data), err
}

// serverTLS is the configuration of the ports, nil without TLS.
func (s *security) serverTLS() *tls.Config {
	if s.certs == nil {
		return nil
	}
	return s.certs.ServerConfig()
}

func (s *security) checkPeer(state *tls.ConnectionState) error { return s.certs.CheckPeer(state) }

// peerCredentials are for connections to other nodes.
func (s *security) peerCredentials() credentials.TransportCredentials {
	if s.certs == nil {
		return insecure.NewCredentials()
	}
	return credentials.NewTLS(s.certs.PeerConfig())
}

// listener makes a port speak TLS, if there is TLS.
func (s *security) listener(ln net.Listener) net.Listener {
	if s.certs == nil {
		return ln
	}
	return certs.NewListener(ln, s.certs.ServerConfig(), func(remote net.Addr, err error) {
		s.logger.Debug("TLS handshake failed", "port", ln.Addr(), "from", remote, "error", err)
	})
}

const (
	// reloadInterval is how often the files are read: they are small, and seconds matter to nobody.
	reloadInterval = 2 * time.Second
	// remindInterval is how often a standing problem is logged.
	remindInterval = time.Minute
)

// watchSecurity notices changed files and reminds of --insecure, until ctx ends.
func (n *node) watchSecurity(ctx context.Context) {
	s := n.security
	reload, remind := time.NewTicker(reloadInterval), time.NewTicker(remindInterval)
	defer reload.Stop()
	defer remind.Stop()
	s.remind()
	for {
		select {
		case <-ctx.Done():
			return
		case <-remind.C:
			s.remind()
		case <-reload.C:
			n.reloadSecurity()
		}
	}
}

func (s *security) remind() {
	if s.config.Insecure {
		s.logger.Warn("this node runs with --insecure", "missing", strings.Join(s.config.missing(), ", "))
	}
}

// reloadSecurity takes over what changed. What cannot be used is logged, and the old stays in use.
func (n *node) reloadSecurity() {
	s := n.security
	if s.certs != nil {
		changed, err := s.certs.Reload()
		s.complain("certificates", err, n.clock.Now())
		if changed {
			s.describe(n.config.AdvertiseHost)
		}
	}
	changed, err := s.passwords.Reload()
	s.complain("passwords", err, n.clock.Now())
	if changed {
		s.logger.Info("passwords read again")
	}
	keys, content, err := s.readGossipKeys()
	if err == nil && content != s.keysContent {
		if err = n.members.SetKeys(keys); err == nil {
			s.keysContent = content
			s.logger.Info("gossip keys read again", "count", len(keys))
		}
	}
	s.complain("gossip keys", err, n.clock.Now())
}

// complain logs an error when it is new, and again while it lasts.
func (s *security) complain(what string, err error, now time.Time) {
	if err == nil {
		delete(s.complaints, what)
		return
	}
	last, known := s.complaints[what]
	if age := now.Sub(last.at); known && last.text == err.Error() && age >= 0 && age < remindInterval {
		return
	}
	s.complaints[what] = complaint{text: err.Error(), at: now}
	s.logger.Error("changed files cannot be used; what was read before stays in use", "what", what, "error", err)
}

// collectors are the metrics of security.
func (s *security) collectors() []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	list := []prometheus.Collector{
		gauge("lightning_insecure_mode", "1 if the node runs with --insecure.", func() float64 {
			if s.config.Insecure {
				return 1
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "lightning_wrong_passwords_total", Help: "Attempts with a wrong user or password.",
		}, func() float64 { return float64(s.passwords.Failures()) }),
	}
	if s.certs != nil {
		list = append(list, gauge("lightning_certificate_expiry_timestamp_seconds",
			"When the certificate in use, or an authority that it rests on, ends to be valid (Unix time).",
			func() float64 { return float64(s.certs.NotAfter().Unix()) }))
	}
	return list
}
