package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// What -ldflags -X may set. The linker can only write to variables that hold a constant text.
var (
	// version is raised by hand at each release.
	version = "0.1.0-dev"
	// commit and date are for builds outside of a clone.
	commit = ""
	date   = ""
)

// Info is what a program was built from. Texts are empty when the build does not know them.
type Info struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	// Dirty is true when the files that were built are not those of the commit.
	Dirty bool `json:"dirty"`
	// Date is the commit's, in RFC 3339, so that the same source gives the same binary.
	Date string `json:"date,omitempty"`
	Go   string `json:"go"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

// Current is this program's.
var Current = sync.OnceValue(func() Info {
	read, _ := debug.ReadBuildInfo() // nil: a build without modules has none
	return infoOf(read)
})

func infoOf(read *debug.BuildInfo) Info {
	i := Info{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if read != nil {
		for _, s := range read.Settings {
			switch s.Key {
			case "vcs.revision":
				i.Commit = s.Value
			case "vcs.time":
				i.Date = s.Value
			case "vcs.modified":
				i.Dirty = s.Value == "true"
			}
		}
	}
	if commit != "" {
		i.Commit, i.Dirty = commit, false
	}
	if date != "" {
		i.Date = date
	}
	return i
}

// Version is Current's version.
func Version() string { return Current().Version }

// shortCommit is enough of a commit to find it.
const shortCommit = 12

// Line describes the build of a program in one line.
func (i Info) Line(program string) string {
	where := "unknown commit"
	if i.Commit != "" {
		where = "commit " + i.Commit[:min(len(i.Commit), shortCommit)]
	}
	parts := []string{where}
	if i.Dirty {
		parts = append(parts, "with changes")
	}
	if i.Date != "" {
		parts = append(parts, i.Date)
	}
	parts = append(parts, i.Go, i.OS+"/"+i.Arch)
	return fmt.Sprintf("%s %s (%s)", program, i.Version, strings.Join(parts, ", "))
}
