package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Role is what a certificate lets its owner be.
type Role string

// The roles.
const (
	Node   Role = "node"   // speaks to nodes as one of them
	Client Role = "client" // says who it is, and may no more than anybody else
)

const uriScheme = "lightning"

// clusterNames are what fits into the host of a URI as crypto/x509 reads it.
var clusterNames = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*$`)

// CheckClusterName says why name cannot be part of a certificate, nil if it can.
func CheckClusterName(name string) error {
	if len(name) > 200 || !clusterNames.MatchString(name) {
		return fmt.Errorf("cluster name %q cannot be part of a certificate: use letters, digits, and between them '-', '_' and '.'", name)
	}
	return nil
}

// URI is the alternative name of a role in a cluster.
func URI(cluster string, role Role) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: cluster, Path: "/" + string(role)}
}

// hasRole reports whether c carries the URI of role in cluster, compared byte by byte.
func hasRole(c *x509.Certificate, cluster string, role Role) bool {
	want := URI(cluster, role).String()
	for _, u := range c.URIs {
		if u.String() == want {
			return true
		}
	}
	return false
}

// roles lists what a certificate says it is, for errors.
func roles(c *x509.Certificate) string {
	var found []string
	for _, u := range c.URIs {
		if u.Scheme == uriScheme {
			found = append(found, u.String())
		}
	}
	if found == nil {
		return "no " + uriScheme + ":// name"
	}
	return strings.Join(found, ", ")
}

// Errors of CheckPeer that need no detail.
var (
	errNotTLS13       = errors.New("the connection is older than TLS 1.3")
	errNoCertificate  = errors.New("it shows no certificate")
	errNotVerified    = errors.New("its certificate was not verified")
	errNoCertificates = errors.New("the file has no certificate")
)

// CheckPeer fails unless the other end of a server's connection is a node of this cluster (I2).
func (s *Store) CheckPeer(state *tls.ConnectionState) error {
	switch {
	case len(state.PeerCertificates) == 0:
		return errNoCertificate
	case len(state.VerifiedChains) == 0:
		return errNotVerified
	case state.Version < tls.VersionTLS13:
		return errNotTLS13
	}
	return s.checkRole(state.PeerCertificates[0])
}

func (s *Store) checkRole(leaf *x509.Certificate) error {
	if !hasRole(leaf, s.opts.Cluster, Node) {
		return fmt.Errorf("its certificate has %s, not %s", roles(leaf), URI(s.opts.Cluster, Node))
	}
	return nil
}
