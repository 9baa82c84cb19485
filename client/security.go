package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
)

// TLSOptions is what TLS needs, in PEM.
type TLSOptions struct {
	// CA are the authorities that the nodes' certificates come from; several while they are
	// replaced. Empty: those that the machine trusts.
	CA []byte
	// Cert and Key are this client's own certificate, for networks that ask for one. A client needs
	// none: it shows its password.
	Cert, Key []byte
	// ServerName is expected in the nodes' certificates in place of the host of each address. It is
	// for nodes that are reached through a tunnel.
	ServerName string
}

// TLS makes Options.Credentials. Each node must show a certificate for the host that it is dialled by.
func TLS(o TLSOptions) (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("the authorities hold no certificate")
		}
	}
	if len(o.Cert) > 0 || len(o.Key) > 0 {
		pair, err := tls.X509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("the client's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return namedTLS{credentials.NewTLS(config), o.ServerName}, nil
}

// namedTLS keeps one name for all connections: gRPC would put that of each address in its place.
type namedTLS struct {
	credentials.TransportCredentials
	name string
}

// ClientHandshake implements credentials.TransportCredentials.
func (c namedTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if c.name != "" {
		authority = c.name
	}
	return c.TransportCredentials.ClientHandshake(ctx, authority, raw)
}

// Clone implements credentials.TransportCredentials.
func (c namedTLS) Clone() credentials.TransportCredentials {
	return namedTLS{c.TransportCredentials.Clone(), c.name}
}

// bearer shows the password with every call.
type bearer struct{ password string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.password}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. Nodes on loopback may have a
// password and no TLS; the documentation of Options.Password warns.
func (bearer) RequireTransportSecurity() bool { return false }
