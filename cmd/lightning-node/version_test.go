package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/internal/node"
)

func TestVersionIsTextOrJSON(t *testing.T) {
	var out bytes.Buffer
	if err := printVersion(nil, &out); err != nil || !strings.HasPrefix(out.String(), "lightning-node "+build.Version()+" (") {
		t.Fatal(err, out.String())
	}
	out.Reset()
	if err := printVersion([]string{"--output", "json"}, &out); err != nil {
		t.Fatal(err)
	}
	var got build.Info
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got != build.Current() {
		t.Fatalf("%v: %+v", err, got)
	}
	for _, args := range [][]string{{"--output", "xml"}, {"extra"}, {"--nope"}} {
		if err := printVersion(args, &out); node.ExitCode(err) != node.ExitConfig {
			t.Errorf("%v: %v", args, err)
		}
	}
}
