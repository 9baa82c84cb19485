package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// ServerConfig is for ports that clients and perhaps nodes connect to. A certificate that a client
// shows must come from one of the authorities; none is asked of those who show none. Tickets are
// off: a session must not outlive the authorities that its certificate was checked against.
func (s *Store) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m := s.current.Load()
			return &tls.Config{
				MinVersion:             tls.VersionTLS12,
				Certificates:           []tls.Certificate{*m.cert},
				ClientAuth:             tls.VerifyClientCertIfGiven,
				ClientCAs:              m.roots,
				Time:                   s.opts.Clock.Now,
				SessionTicketsDisabled: true,
			}, nil
		},
	}
}

// PeerConfig is for connections to other nodes. Who answers must be a node of this cluster; under
// which name it was dialled does not matter, because nodes move.
func (s *Store) PeerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		Time:                   s.opts.Clock.Now,
		// The usual check is of a name. VerifyConnection checks the chain and the role instead.
		InsecureSkipVerify: true,
		VerifyConnection:   s.verifyPeer,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.current.Load().cert, nil
		},
	}
}

// verifyPeer checks the certificate of a node that was dialled (I2).
func (s *Store) verifyPeer(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errNoCertificate
	}
	leaf := state.PeerCertificates[0]
	_, err := s.verify(s.current.Load().roots, leaf, state.PeerCertificates[1:], x509.ExtKeyUsageServerAuth)
	if err != nil {
		return fmt.Errorf("the other node's certificate: %w", err)
	}
	if err := s.checkRole(leaf); err != nil {
		return fmt.Errorf("not a node of this cluster: %w", err)
	}
	return nil
}
