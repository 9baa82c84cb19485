package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/internal/access"
	"github.com/lightning-db/lightning/internal/certs"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/membership"
)

// TestNodesTakeWhatCertsCreateMakes loads every file as a node does.
func TestNodesTakeWhatCertsCreateMakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := &shell{variables: map[string]string{}}
	out := s.do("certs", "create", "--dir", dir, "--cluster-name", "blue", "--hosts", "db.example,10.0.0.1")
	if !strings.Contains(out, "--tls-cert="+filepath.Join(dir, "node.crt")) || strings.Contains(out, "exit") {
		t.Fatal(out)
	}
	store := open(t, dir)
	for _, host := range []string{"db.example", "10.0.0.1"} {
		if err := store.Covers(host); err != nil {
			t.Error(err)
		}
	}
	keys, err := membership.ParseKeys(read(t, dir, "gossip.key"))
	if err != nil || len(keys) != 1 {
		t.Error(keys, err)
	}
	passwords, err := access.Open(access.Options{File: filepath.Join(dir, "password"), FS: vfs.OS()})
	if err != nil || !passwords.Matches([]byte(strings.TrimSpace(string(read(t, dir, "password"))))) {
		t.Error("the password file:", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Error(e.Name(), info.Mode(), err)
		}
	}
}

func open(t *testing.T, dir string) *certs.Store {
	t.Helper()
	store, err := certs.Open(certs.Options{
		CertFile: filepath.Join(dir, "node.crt"), KeyFile: filepath.Join(dir, "node.key"), CAFile: filepath.Join(dir, "ca.crt"),
		Cluster: "blue", FS: vfs.OS(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCertsRenewReplacesTheNodesCertificateOnly(t *testing.T) {
	dir := t.TempDir()
	s := &shell{variables: map[string]string{}}
	s.do("certs", "create", "--dir", dir, "--cluster-name", "blue", "--hosts", "a.example")
	store := open(t, dir)
	before := map[string]string{}
	for _, name := range []string{"ca.crt", "ca.key", "gossip.key", "password"} {
		before[name] = string(read(t, dir, name))
	}
	if out := s.do("certs", "renew", "--dir", dir, "--cluster-name", "blue", "--hosts", "b.example"); strings.Contains(out, "exit") {
		t.Fatal(out)
	}
	if changed, err := store.Reload(); !changed || err != nil || store.Covers("b.example") != nil {
		t.Error(changed, err)
	}
	for name, content := range before {
		if string(read(t, dir, name)) != content {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestCertsRefuseToOverwriteAndToGuess(t *testing.T) {
	dir := t.TempDir()
	s := &shell{dir: dir, variables: map[string]string{}}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"is there already":       {"create", "--dir", dir, "--hosts", "a"},
		"--dir is required":      {"create", "--hosts", "a"},
		"--hosts is required":    {"create", "--dir", dir},
		"10.0.0.1:8379":          {"create", "--dir", dir, "--hosts", "a,10.0.0.1:8379"},
		"a host":                 {"renew", "--dir", dir, "--hosts", "a host"},
		"--days is 0":            {"create", "--dir", dir, "--hosts", "a", "--days", "0"},
		"--cluster-name":         {"create", "--dir", dir, "--hosts", "a", "--cluster-name", "a b"},
		"ca.crt":                 {"renew", "--dir", dir, "--hosts", "a"},
		`unknown command "make"`: {"make"},
	} {
		if out := s.do(append([]string{"certs"}, args...)...); !strings.Contains(out, want) || !strings.Contains(out, "exit 2") {
			t.Errorf("%v: %s", args, out)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Fatal("a refused command left files:", entries, err)
	}
}

func TestPasswordsAndAuthoritiesComeFromFiles(t *testing.T) {
	dir := t.TempDir()
	s := &shell{dir: dir, variables: map[string]string{}}
	for name, content := range map[string]string{"empty": "\nsecond\n", "hash": "sha256:00\n", "ca": "no certificate", "good": "secret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, flags := range map[string][]string{
		"first line of DIR/empty is empty": {"--password-file", dir + "/empty"},
		"holds a hash":                     {"--password-file", dir + "/hash"},
		"no such file":                     {"--password-file", dir + "/none"},
		"hold no certificate":              {"--tls-ca", dir + "/ca"},
		"need --tls-ca":                    {"--tls-cert", dir + "/ca"},
		"to 192.0.2.1:8379 in the clear":   {"--password-file", dir + "/good", "--addr", "127.0.0.1:1,192.0.2.1:8379"},
	} {
		if out := s.do(append(flags, "get", "key")...); !strings.Contains(out, want) || !strings.Contains(out, "exit 2") {
			t.Errorf("%v: %s", flags, out)
		}
	}
}
