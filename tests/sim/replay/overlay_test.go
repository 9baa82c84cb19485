package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePatchesFitTheToolchain(t *testing.T) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writeOverlay(strings.TrimSpace(string(goroot)), t.TempDir()); err != nil {
		t.Fatal(err)
	}
}

func TestAnotherToolchainIsRefused(t *testing.T) {
	goroot := t.TempDir()
	for _, p := range patches {
		file := filepath.Join(goroot, "src", p.file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("package runtime\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := writeOverlay(goroot, t.TempDir()); err == nil {
		t.Error("accepted")
	}
}
