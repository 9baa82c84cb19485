package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/tests/cluster"
)

const (
	// connectionAge makes long connections meet new material within the test.
	connectionAge = 3 * time.Second
	// reloadLimit is more than nodes take to notice a change.
	reloadLimit = time.Minute
	// stepTime is how long clients write under each state of the files: several connection ages.
	stepTime = 4 * time.Second
)

// load is clients that write all the time and may not see one error.
type load struct {
	t       *testing.T
	secure  *cluster.Secure
	stop    context.CancelFunc
	writers sync.WaitGroup

	sdk, redis, dialled, connections atomic.Int64
	failures                         atomic.Int64
}

// reloading is what a client does that follows its files: each connection uses those of its moment.
func reloading(s *cluster.Secure) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // the check below is the usual one, with the authorities of the moment
		VerifyConnection: func(state tls.ConnectionState) error {
			pool, err := certs.Pool(s.CA())
			if err != nil {
				return err
			}
			_, err = state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, DNSName: "127.0.0.1"})
			return err
		},
	}
}

func startLoad(t *testing.T, c *cluster.Cluster, s *cluster.Secure) *load {
	t.Helper()
	l := &load{t: t, secure: s}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	var addresses []string
	for _, n := range c.Nodes {
		addresses = append(addresses, n.GRPC)
	}
	sdk, err := client.New(client.Options{Addresses: addresses, Credentials: credentials.NewTLS(reloading(s)), Password: s.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sdk.Close() })
	l.run(ctx, "sdk", &l.sdk, func(ctx context.Context, key, value string) error {
		_, err := sdk.Put(ctx, 0, []byte(key), []byte(value), client.PutOptions{})
		return err
	})
	for i, n := range c.Nodes {
		kept := redis.NewClient(&redis.Options{
			ReadTimeout: limit,
			Addr:        n.RESP, Password: s.Password, MaxRetries: -1, TLSConfig: reloading(s), PoolSize: 1,
			OnConnect: func(context.Context, *redis.Conn) error { l.connections.Add(1); return nil },
		})
		t.Cleanup(func() { _ = kept.Close() })
		l.run(ctx, fmt.Sprintf("redis-%d", i), &l.redis, func(ctx context.Context, key, value string) error {
			return kept.Set(ctx, key, value, 0).Err()
		})
	}
	// One client makes a connection for every request, so that handshakes meet every moment.
	l.run(ctx, "dial", &l.dialled, func(ctx context.Context, key, value string) error {
		r := redis.NewClient(&redis.Options{Addr: c.Nodes[0].RESP, Password: s.Password, MaxRetries: -1, DialerRetries: 1, ReadTimeout: limit, TLSConfig: reloading(s)})
		return errors.Join(r.Set(ctx, key, value, 0).Err(), r.Close())
	})
	return l
}

// run writes until ctx ends; a request that has begun ends first.
func (l *load) run(ctx context.Context, name string, done *atomic.Int64, put func(ctx context.Context, key, value string) error) {
	l.writers.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			request, cancel := context.WithTimeout(context.Background(), limit)
			err := put(request, fmt.Sprintf("%s-%d", name, i%100), fmt.Sprint(i))
			cancel()
			if err != nil {
				if l.failures.Add(1) < 10 {
					l.t.Errorf("%s request %d at %s: %v", name, i, time.Now().Format(time.StampMilli), err)
				}
				continue
			}
			done.Add(1)
		}
	})
}

func (l *load) end() {
	l.stop()
	l.writers.Wait()
	l.t.Logf("requests without a failure: %d by the SDK, %d by kept Redis connections, %d by a connection each; %d failures",
		l.sdk.Load(), l.redis.Load(), l.dialled.Load(), l.failures.Load())
	for name, n := range map[string]int64{"SDK": l.sdk.Load(), "Redis": l.redis.Load(), "dialling": l.dialled.Load()} {
		if n < 100 {
			l.t.Errorf("only %d requests by the %s clients", n, name)
		}
	}
}

// served is the certificate that a port shows now.
func served(address string) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: limit}, "tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// awaitServed waits until every port of every node shows the certificate.
func awaitServed(t *testing.T, c *cluster.Cluster, pair certs.Pair) {
	t.Helper()
	want, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes {
		for _, address := range []string{n.RESP, n.RESPCluster, n.GRPC, n.HTTP} {
			cluster.Eventually(t, reloadLimit, address+" shows the new certificate", func() error {
				got, err := served(address)
				if err == nil && !got.Equal(want.Leaf) {
					err = errors.New("the old one is there")
				}
				return err
			})
		}
	}
}

// counts is how often each node has logged a text.
func counts(c *cluster.Cluster, text string) (out []int) {
	for _, n := range c.Nodes {
		out = append(out, strings.Count(n.LogTail(1<<24), text))
	}
	return out
}

// swap changes files, and waits until every node has logged each of texts once more.
func swap(t *testing.T, c *cluster.Cluster, s *cluster.Secure, files map[string][]byte, texts ...string) {
	t.Helper()
	before := map[string][]int{}
	for _, text := range texts {
		before[text] = counts(c, text)
	}
	s.Swap(files)
	for text, had := range before {
		cluster.Eventually(t, reloadLimit, "every node logs "+text, func() error {
			for i, got := range counts(c, text) {
				if got <= had[i] {
					return fmt.Errorf("%s: %d times", c.Nodes[i].Name, got)
				}
			}
			return nil
		})
	}
}

// TestCertificatesAreReplacedUnderLoadWithoutAFailure replaces the leaf, then authority and leaf, in
// the steps of docs/security.md, while clients write. Files that do not match are in place for a
// while too. Then the old authority is refused (BA2).
func TestCertificatesAreReplacedUnderLoadWithoutAFailure(t *testing.T) {
	c, s, oldCA := startSecure(t, "--max-connection-age", connectionAge.String())
	l := startLoad(t, c, s)
	step := func(what string) {
		cluster.Wait(context.Background(), stepTime)
		t.Logf("%s: %d + %d + %d requests, %d failures", what, l.sdk.Load(), l.redis.Load(), l.dialled.Load(), l.failures.Load())
	}
	step("before")

	leaf := cluster.Issue(t, oldCA, s.Cluster, certs.Node)
	swap(t, c, s, map[string][]byte{cluster.KeyFile: leaf.Key}, "changed files cannot be used") // half of a change
	step("a key that does not match")
	s.Swap(map[string][]byte{cluster.CertFile: leaf.Cert})
	awaitServed(t, c, leaf)
	step("a new certificate")

	newCA := cluster.NewAuthority(t)
	swap(t, c, s, map[string][]byte{cluster.CAFile: cluster.Bundle(oldCA, newCA)}, "certificates in use")
	s.Trust(oldCA, newCA)
	step("both authorities")
	newLeaf := cluster.Issue(t, newCA, s.Cluster, certs.Node)
	s.Swap(map[string][]byte{cluster.CertFile: newLeaf.Cert, cluster.KeyFile: newLeaf.Key})
	awaitServed(t, c, newLeaf)
	step("a certificate by the new authority")
	swap(t, c, s, map[string][]byte{cluster.CAFile: newCA.Cert()}, "certificates in use")
	s.Trust(newCA)
	step("the new authority alone")
	l.end()

	for _, n := range c.Nodes {
		formerNode := dial(t, n.GRPC, withPair(t, s.TLS(), leaf))
		if err := raftCall(formerNode); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: a node of the old authority: %v", n.Name, err)
		}
	}
	leaders := strings.Count(c.Nodes[0].LogTail(1<<24)+c.Nodes[1].LogTail(1<<24)+c.Nodes[2].LogTail(1<<24), "leads raft group")
	t.Logf("%d times a node became leader of a group, of 4 groups", leaders)
}

var deadLine = regexp.MustCompile(`event=dead member=\S+ name=(\S+)`)

// deaths is how often a node saw others dead, by name.
func deaths(n *cluster.Node) map[string]int {
	seen := map[string]int{}
	for _, found := range deadLine.FindAllStringSubmatch(n.LogTail(1<<24), -1) {
		seen[found[1]]++
	}
	return seen
}

// TestPasswordsAndGossipKeysAreReplacedUnderLoad goes the steps of docs/security.md. No node is seen dead meanwhile.
func TestPasswordsAndGossipKeysAreReplacedUnderLoad(t *testing.T) {
	c, s, _ := startSecure(t)
	var before []map[string]int
	for _, n := range c.Nodes {
		before = append(before, deaths(n))
	}
	l := startLoad(t, c, s)
	next := cluster.Secret(t)
	keyA, keyB := s.GossipA, cluster.GossipKey(t)
	swap(t, c, s, map[string][]byte{cluster.Passwords: []byte(s.Password + "\n" + next + "\n"), cluster.GossipKeys: append(keyA[:len(keyA):len(keyA)], keyB...)},
		"passwords read again", "gossip keys read again")
	for _, password := range []string{s.Password, next} {
		if err := ping(c.Nodes[1].RESP, s, password); err != nil {
			t.Errorf("while both are in force: %v", err)
		}
	}
	cluster.Eventually(t, time.Minute, "enough requests", func() error {
		if n := l.dialled.Load(); n < 150 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	l.end()
	swap(t, c, s, map[string][]byte{cluster.Passwords: []byte(next + "\n"), cluster.GossipKeys: append(keyB[:len(keyB):len(keyB)], keyA...)},
		"passwords read again", "gossip keys read again")
	swap(t, c, s, map[string][]byte{cluster.GossipKeys: keyB}, "gossip keys read again")
	if err := ping(c.Nodes[1].RESP, s, s.Password); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("the old password: %v", err)
	}
	if err := ping(c.Nodes[1].RESP, s, next); err != nil {
		t.Errorf("the new password: %v", err)
	}
	s.Password = next
	c.Nodes[2].Kill()
	killed := c.Nodes[2].Name
	cluster.Eventually(t, limit, "the others see that a killed node is dead", func() error {
		for i, n := range c.Nodes[:2] {
			if deaths(n)[killed] == before[i][killed] {
				return errors.New("not " + n.Name)
			}
		}
		return nil
	})
	for i, n := range c.Nodes { // who was cut off by a change of the keys would have been seen dead before the killed one
		for name, count := range deaths(n) {
			if i < 2 && name == killed {
				count--
			}
			if count > before[i][name] {
				t.Errorf("%s saw %s dead while keys were replaced", n.Name, name)
			}
		}
	}
	c.Nodes[2].Restart() // finds the others by the new key only
	if st := c.Nodes[2].MustStatus(); !st.GetReady() {
		t.Fatal(st)
	}
}

func ping(address string, s *cluster.Secure, password string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r := redis.NewClient(&redis.Options{Addr: address, Password: password, TLSConfig: s.TLS(), MaxRetries: -1, ReadTimeout: limit})
	return errors.Join(r.Ping(ctx).Err(), r.Close())
}
