package main

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
)

// The files that certs create makes.
const (
	caCertFile    = "ca.crt"
	caKeyFile     = "ca.key"
	nodeCertFile  = "node.crt"
	nodeKeyFile   = "node.key"
	gossipKeyFile = "gossip.key"
	passwordFile  = "password"
)

const (
	day = 24 * time.Hour
	// caLifetime outlasts a small installation; the node's certificate is what is renewed.
	caLifetime = 3650 * day
	// secretBytes is what a key of gossip has, and beyond guessing for a password.
	secretBytes = 32
	// maxHostName is what DNS allows.
	maxHostName = 253
)

// hostName is a DNS name, which may stand for all names of one label below it. Underscores are not
// for names of hosts, but Docker makes some with them.
var hostName = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

// certsOptions are the flags of the verbs below certs.
type certsOptions struct {
	dir, cluster string
	hosts        []string
	days         int
}

func (a *app) certsCommand() *cobra.Command {
	parent := &cobra.Command{
		Use:   "certs",
		Short: "Make certificates and secrets for tests and small installations",
		Long: "Make certificates and secrets for tests and small installations.\n\nThe authority's key lies in a file beside the rest: " +
			"whoever reads it can make nodes of\nthe cluster. Keep it away from the nodes; larger installations have an authority of their own.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q", args[0])
			}
			return usagef("no command given: create or renew")
		},
		Args: cobra.ArbitraryArgs,
	}
	var o certsOptions
	create := &cobra.Command{
		Use: "create --dir DIR --hosts HOST,HOST", Short: "Make an authority, a certificate for the nodes, a gossip key and a password",
		Args: arguments(0, 0, "none"), RunE: func(*cobra.Command, []string) error { return a.createCerts(o) },
	}
	renew := &cobra.Command{
		Use: "renew --dir DIR --hosts HOST,HOST", Short: "Make a new certificate for the nodes by the authority in DIR",
		Args: arguments(0, 0, "none"), RunE: func(*cobra.Command, []string) error { return a.renewCerts(o) },
	}
	for _, verb := range []*cobra.Command{create, renew} {
		verb.Flags().StringVar(&o.dir, "dir", "", "directory of the files (required)")
		verb.Flags().StringVar(&o.cluster, "cluster-name", "lightning", "--cluster-name of the nodes")
		verb.Flags().StringSliceVar(&o.hosts, "hosts", nil, "DNS names and IP addresses under which clients reach the nodes (required)")
		verb.Flags().IntVar(&o.days, "days", 365, "how long the nodes' certificate is valid")
	}
	parent.AddCommand(create, renew)
	return parent
}

func (o certsOptions) check() error {
	switch {
	case o.dir == "":
		return usagef("--dir is required")
	case len(o.hosts) == 0:
		return usagef("--hosts is required: clients compare the names in the certificate with the address they dial")
	case slices.ContainsFunc(o.hosts, func(host string) bool { return !isHost(host) }):
		return usagef("--hosts: want DNS names, which may begin with '*.', and IP addresses without ports, not %q", o.hosts)
	case o.days < 1 || o.days > 3650:
		return usagef("--days is %d, want 1 to 3650", o.days)
	}
	if err := certs.CheckClusterName(o.cluster); err != nil {
		return usagef("--cluster-name: %w", err)
	}
	return nil
}

// isHost reports whether clients can compare a name in a certificate with what they dial.
func isHost(name string) bool {
	if net.ParseIP(name) != nil {
		return true
	}
	return len(name) <= maxHostName && hostName.MatchString(name)
}

// issue makes a certificate that every node of the cluster can use.
func (o certsOptions) issue(ca *certs.Authority) (certs.Pair, error) {
	return ca.Issue(certs.Request{
		Cluster: o.cluster, Role: certs.Node, Hosts: o.hosts, Lifetime: time.Duration(o.days) * day,
	})
}

// seams are the machine's: certificates are made for real time and with real secrets.
func seams() certs.Seams { return certs.Seams{Entropy: entropy.System(), Clock: clock.Real{}} }

func (a *app) createCerts(o certsOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	ca, err := certs.NewAuthority(seams(), o.cluster+" authority", caLifetime)
	if err != nil {
		return err
	}
	caPair, err := ca.Pair()
	if err != nil {
		return err
	}
	node, err := o.issue(ca)
	if err != nil {
		return err
	}
	gossip, password := make([]byte, secretBytes), make([]byte, secretBytes)
	for _, secret := range [][]byte{gossip, password} {
		if _, err := seams().Entropy.Read(secret); err != nil {
			return fmt.Errorf("make a secret: %w", err)
		}
	}
	err = writeNew(o.dir, []newFile{
		{caCertFile, caPair.Cert}, {caKeyFile, caPair.Key},
		{nodeCertFile, node.Cert}, {nodeKeyFile, node.Key},
		{gossipKeyFile, []byte(base64.StdEncoding.EncodeToString(gossip) + "\n")},
		{passwordFile, []byte(hex.EncodeToString(password) + "\n")},
	})
	if err != nil {
		return err
	}
	return a.printCerts(o)
}

func (a *app) renewCerts(o certsOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	var pair certs.Pair
	var err error
	if pair.Cert, err = os.ReadFile(filepath.Join(o.dir, caCertFile)); err != nil {
		return usagef("--dir: %w", err)
	}
	if pair.Key, err = os.ReadFile(filepath.Join(o.dir, caKeyFile)); err != nil {
		return usagef("--dir: %w", err)
	}
	ca, err := certs.LoadAuthority(seams(), pair)
	if err != nil {
		return err
	}
	node, err := o.issue(ca)
	if err != nil {
		return err
	}
	// A node that reads between the two renames finds a pair that does not match, keeps what it
	// has, and reads again.
	for _, f := range []newFile{{nodeKeyFile, node.Key}, {nodeCertFile, node.Cert}} {
		if err := replace(filepath.Join(o.dir, f.name), f.content); err != nil {
			return err
		}
	}
	return a.printCerts(o)
}

type newFile struct {
	name    string
	content []byte
}

// writeNew writes all files, or none if one is there already.
func writeNew(dir string, files []newFile) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return usagef("--dir: %w", err)
	}
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil {
			return usagef("%s is there already; choose another --dir, or `certs renew`", filepath.Join(dir, f.name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return usagef("--dir: %w", err)
		}
	}
	for _, f := range files {
		if err := writePrivate(filepath.Join(dir, f.name), f.content); err != nil {
			return err
		}
	}
	return nil
}

// writePrivate makes a file that only its owner may read, and never writes over one.
func writePrivate(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// replace swaps in new content in one step.
func replace(name string, content []byte) error {
	next := name + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writePrivate(next, content); err != nil {
		return err
	}
	return os.Rename(next, name)
}

// certsJSON is what certs prints as JSON.
type certsJSON struct {
	Dir       string   `json:"dir"`
	Cluster   string   `json:"cluster_name"`
	Hosts     []string `json:"hosts"`
	NodeFlags []string `json:"node_flags"`
	CLIFlags  []string `json:"cli_flags"`
}

// printCerts says what to pass to whom.
func (a *app) printCerts(o certsOptions) error {
	at := func(name string) string { return filepath.Join(o.dir, name) }
	out := certsJSON{
		Dir: o.dir, Cluster: o.cluster, Hosts: o.hosts,
		NodeFlags: []string{
			"--cluster-name=" + o.cluster, "--tls-cert=" + at(nodeCertFile), "--tls-key=" + at(nodeKeyFile), "--tls-ca=" + at(caCertFile),
			"--password-file=" + at(passwordFile), "--gossip-key-file=" + at(gossipKeyFile),
		},
		CLIFlags: []string{"--tls-ca=" + at(caCertFile), "--password-file=" + at(passwordFile)},
	}
	if a.json() {
		return a.printJSON(out)
	}
	return a.printf("Files are in %s. Every node gets all of them but %s, which stays where only you can read it:\n\n"+
		"  lightning-node start … \\\n    %s\n\nClients:\n\n  lightning-cli %s\n  redis-cli --tls --cacert %s --askpass\n",
		o.dir, caKeyFile, strings.Join(out.NodeFlags, " \\\n    "), strings.Join(out.CLIFlags, " "), at(caCertFile))
}
