package membership

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	gossipKeyBytes = 32 // AES-256
	// maxGossipKeys bounds the keys that are tried on a packet: a rotation needs two.
	maxGossipKeys = 8
)

// ParseKeys reads keys in base64, one per line. The error never shows one.
func ParseKeys(text []byte) ([][]byte, error) {
	var keys [][]byte
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(key) != gossipKeyBytes {
			return nil, fmt.Errorf("line %d is not the base64 of %d bytes", i+1, gossipKeyBytes)
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, errors.New("there is no key in it")
	case len(keys) > maxGossipKeys:
		return nil, fmt.Errorf("%d keys are in it, at most %d are allowed", len(keys), maxGossipKeys)
	}
	return keys, nil
}

// SetKeys puts keys in the place of those in force: the first encrypts, all decrypt. It is for one
// caller at a time.
func (m *Membership) SetKeys(keys [][]byte) error {
	if m.keyring == nil {
		return errors.New("gossip runs without a key: restart the node to encrypt it")
	}
	if len(keys) == 0 {
		return errors.New("gossip needs at least one key")
	}
	for _, key := range keys {
		if err := m.keyring.AddKey(key); err != nil {
			return fmt.Errorf("add a gossip key: %w", err)
		}
	}
	if err := m.keyring.UseKey(keys[0]); err != nil {
		return fmt.Errorf("use a gossip key: %w", err)
	}
	for _, old := range slices.Clone(m.keyring.GetKeys()) {
		if slices.ContainsFunc(keys, func(key []byte) bool { return bytes.Equal(key, old) }) {
			continue
		}
		if err := m.keyring.RemoveKey(old); err != nil {
			return fmt.Errorf("remove a gossip key: %w", err)
		}
	}
	return nil
}
