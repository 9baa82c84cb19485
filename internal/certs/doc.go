// Package certs holds the certificate, key and authorities of a node, notices when their files
// change, and says who is a node of this cluster. It also makes certificates for tests and small
// installations.
//
// It is not a certificate authority: it keeps no list of what it issued and revokes nothing.
//
// # Identity
//
// A certificate of a node carries the URI
//
//	lightning://<cluster name>/node
//
// among its alternative names. A certificate of the same authority without it is a client's at best:
// it opens connections but speaks for no node. Addresses are not part of the identity, because they
// change; clients check them against the DNS names and IP addresses in the certificate, as usual.
//
// # The life of a change
//
//  1. The owner calls Reload every few seconds. It reads all files through whatever links lead to
//     them, so that the swap of links by which Kubernetes updates a Secret is a change like any other.
//  2. If the bytes differ, the new material is checked as a whole: key and certificate belong
//     together, the certificate is valid by now, comes from one of the authorities and has the URI.
//  3. If it passes, every handshake that begins from then on uses it. If not, the old material stays
//     and the error says why.
//
// # Goroutines
//
// A Listener starts one for its accept loop and one for each handshake; Close waits for them.
//
// # Locks
//
// Store.mu lets one Reload run at a time. Listener.mu is a leaf.
//
// # Invariants
//
//   - I1: material that does not pass all checks is never used, and never replaces one that did.
//   - I2: a connection is a node's only if its certificate was verified against an authority in force
//     when it was made, carries the URI of this cluster's nodes, and the connection uses TLS 1.3.
//   - I3: a private key leaves the package only in a tls.Config, or as the file that Create writes.
package certs
