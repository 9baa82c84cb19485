package main

import (
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/lightning-db/lightning/client"
)

// securityFlags say how the program shows who it is and checks who answers.
type securityFlags struct {
	ca, cert, key, passwordFile string
	insecure                    bool
}

// The environment variables of securityFlags.
const (
	caVariable       = "LIGHTNING_TLS_CA"
	certVariable     = "LIGHTNING_TLS_CERT"
	keyVariable      = "LIGHTNING_TLS_KEY"
	passwordVariable = "LIGHTNING_PASSWORD_FILE"
)

func (s *securityFlags) register(flags *pflag.FlagSet, lookup func(string) (string, bool)) {
	add := func(into *string, name, variable, usage string) {
		value, _ := lookup(variable)
		flags.StringVar(into, name, value, usage+" (env "+variable+")")
	}
	add(&s.ca, "tls-ca", caVariable, "speak TLS, and trust the authorities in this file")
	add(&s.cert, "tls-cert", certVariable, "certificate to show, if the network asks for one")
	add(&s.key, "tls-key", keyVariable, "private key of --tls-cert")
	add(&s.passwordFile, "password-file", passwordVariable, "file whose first line is the password")
	flags.BoolVar(&s.insecure, "insecure", false, "send the password beyond this machine without TLS: whoever listens learns it")
}

// apply adds what the flags say to the options of a client.
func (s *securityFlags) apply(o *client.Options) error {
	password, err := s.password()
	if err != nil {
		return err
	}
	o.Password = password
	if s.ca == "" {
		if s.cert != "" || s.key != "" {
			return usagef("--tls-cert and --tls-key need --tls-ca")
		}
		if away := beyondLoopback(o.Addresses); password != "" && away != "" && !s.insecure {
			return usagef("--password-file would send the password to %s in the clear: add --tls-ca, or --insecure to accept that", away)
		}
		return nil
	}
	files, err := s.read()
	if err != nil {
		return err
	}
	if o.Credentials, err = client.TLS(files); err != nil {
		return usagef("--tls-ca, --tls-cert, --tls-key: %w", err)
	}
	return nil
}

// beyondLoopback is the first of the addresses that is not surely this machine's, empty if all are.
func beyondLoopback(addresses []string) string {
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			continue // the client refuses it
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return a
		}
	}
	return ""
}

func (s *securityFlags) read() (client.TLSOptions, error) {
	var o client.TLSOptions
	for _, f := range []struct {
		flag, name string
		into       *[]byte
	}{{"--tls-ca", s.ca, &o.CA}, {"--tls-cert", s.cert, &o.Cert}, {"--tls-key", s.key, &o.Key}} {
		if f.name == "" {
			continue
		}
		data, err := os.ReadFile(f.name)
		if err != nil {
			return o, usagef("%s: %w", f.flag, err)
		}
		*f.into = data
	}
	return o, nil
}

// password is the first line of --password-file, empty without one.
func (s *securityFlags) password() (string, error) {
	if s.passwordFile == "" {
		return "", nil
	}
	data, err := os.ReadFile(s.passwordFile)
	if err != nil {
		return "", usagef("--password-file: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case line == "":
		return "", usagef("--password-file: the first line of %s is empty", s.passwordFile)
	case strings.HasPrefix(line, "sha256:"):
		return "", usagef("--password-file: %s holds a hash, which only nodes can use; give the password itself", s.passwordFile)
	}
	return line, nil
}
