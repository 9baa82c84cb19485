package node

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is raised by hand at each release.
const version = "0.1.0-dev"

// BuildVersion is the version, the commit if the build knows it, and the toolchain.
func BuildVersion() string {
	commit := "unknown commit"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				commit = s.Value[:12]
			}
		}
	}
	return fmt.Sprintf("lightning-node %s (%s, %s %s/%s)", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
