package build

import (
	"encoding/json"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
)

func TestTheBuildNamesCommitAndChanges(t *testing.T) {
	i := infoOf(&debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}, {Key: "vcs.modified", Value: "true"},
	}})
	if i.Commit != "0123456789abcdef0123" || !i.Dirty || i.Date != "2026-01-02T03:04:05Z" || i.Version == "" || i.Go == "" {
		t.Fatalf("got %+v", i)
	}
	line := i.Line("program")
	for _, want := range []string{"program " + version + " (commit 0123456789ab, with changes, 2026-01-02T03:04:05Z, go", i.OS + "/" + i.Arch + ")"} {
		if !strings.Contains(line, want) {
			t.Errorf("%q does not contain %q", line, want)
		}
	}
}

func TestABuildWithoutACloneSaysSo(t *testing.T) {
	if line := infoOf(nil).Line("program"); !strings.Contains(line, "unknown commit") {
		t.Errorf("got %q", line)
	}
}

// TestAReleaseBuildSetsItsVersion builds a program with the flags that doc.go names.
func TestAReleaseBuildSetsItsVersion(t *testing.T) {
	const name = "github.com/lightning-db/lightning/internal/build."
	flags := "-X " + name + "version=9.8.7 -X " + name + "commit=abc -X " + name + "date=2026-01-02T03:04:05Z"
	out, err := exec.Command("go", "run", "-ldflags", flags, "./testdata/program").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got Info
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != "9.8.7" || got.Commit != "abc" || got.Date != "2026-01-02T03:04:05Z" || got.Dirty {
		t.Fatalf("got %+v", got)
	}
}
