package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// patch replaces one text of a file of the Go distribution.
type patch struct{ file, old, new string }

// patches take from the runtime what the schedule of a bubble depends on and no seed decides. Each old text must be
// in its file exactly once, so that another toolchain is refused and not misread.
var patches = []patch{
	// One sequence for everything that goroutines of a bubble draw: the cases of a select, the order of maps and
	// of timers that are due at once. It begins anew with each bubble.
	{"runtime/synctest.go", "	bubble.now = synctestBaseTime\n", "	bubble.now = synctestBaseTime\n	bubbleState = 1\n"},
	{"runtime/rand.go", "func rand() uint64 {\n", "func rand() uint64 {\n	if getg().bubble != nil {\n		return bubbleRand()\n	}\n"},
	{"runtime/rand.go", "func cheaprand() uint32 {\n", "func cheaprand() uint32 {\n	if getg().bubble != nil {\n		return uint32(bubbleRand() >> 32)\n	}\n"},
	{"runtime/rand.go", "// randn is like rand() % n but faster.\n", bubbleRand + "// randn is like rand() % n but faster.\n"},
	// The key of hashes, which decides the order of large maps.
	{"runtime/rand.go", "	if len(startupRand) >= 16 &&\n", "	if true {\n		for i := range seed {\n			seed[i] = byte(i + 1)\n		}\n	} else if len(startupRand) >= 16 &&\n"},
	// Nothing by the real clock: no forced switch of goroutines, no hand-over of mutexes, no samples.
	{"runtime/proc.go", "const forcePreemptNS = 10 * 1000 * 1000 // 10ms", "const forcePreemptNS = 1 << 60"},
	{"internal/sync/mutex.go", "	starvationThresholdNs = 1e6", "	starvationThresholdNs = 1 << 60"},
	{"runtime/mprof.go", "var MemProfileRate int = 512 * 1024", "var MemProfileRate int = 0"},
}

// bubbleRand is the generator splitmix64.
const bubbleRand = `var bubbleState uint64

//go:nosplit
func bubbleRand() uint64 {
	bubbleState += 0x9e3779b97f4a7c15
	z := bubbleState
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

`

// writeOverlay writes patched copies of files below the Go distribution's root to dir, and the file for go build -overlay.
func writeOverlay(goroot, dir string) (string, error) {
	texts := map[string]string{}
	for _, p := range patches {
		if texts[p.file] == "" {
			text, err := os.ReadFile(filepath.Join(goroot, "src", p.file))
			if err != nil {
				return "", err
			}
			texts[p.file] = string(text)
		}
		if count := strings.Count(texts[p.file], p.old); count != 1 {
			return "", fmt.Errorf("%s has %q %d times: this toolchain is not the one that the patches are for", p.file, p.old, count)
		}
		texts[p.file] = strings.Replace(texts[p.file], p.old, p.new, 1)
	}
	replace := map[string]string{}
	for file, text := range texts {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(copied, []byte(text), 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(goroot, "src", file)] = copied
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o644)
}
