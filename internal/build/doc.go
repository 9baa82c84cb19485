// Package build says what a program was built from: the version, the commit, whether the working
// tree differed from it, the commit's date, and the toolchain.
//
// It is not a place for settings, and nothing behaves differently because of what it says.
//
// # The life of a version
//
//  1. The version is the constant text in build.go, raised by hand at each release. A release
//     build may put its own in that place:
//
//     go build -ldflags "-X github.com/lightning-db/lightning/internal/build.version=1.2.3" ./cmd/...
//
//  2. The Go tool writes the commit, its date and whether the tree was clean into the binary, if
//     it builds inside a clone. A build without one, as from an archive, sets commit and date by
//     the same kind of flag.
//
//  3. Current reads both once. The programs print it, and the node shows the version in its
//     status, in INFO and in its metrics.
//
// # Goroutines
//
// None.
//
// # Locks
//
// None.
package build
