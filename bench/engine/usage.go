package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what the process had used at some moment.
type usage struct {
	cpu         time.Duration
	allocations uint64
	written     int64
}

func usageNow() usage {
	var self syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &self)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return usage{time.Duration(self.Utime.Nano() + self.Stime.Nano()), memory.Mallocs, writtenBytes()}
}

// field reads one number of a file in /proc that has a line for each.
func field(file, name string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

func writtenBytes() int64   { return field("/proc/self/io", "write_bytes") }
func anonymousBytes() int64 { return field("/proc/self/status", "RssAnon") << 10 }

// waitForQuiet returns when the process has written nothing for a second, or after half a minute.
func waitForQuiet() {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	last, quiet := writtenBytes(), 0
	for range 300 {
		<-ticker.C
		if now := writtenBytes(); now != last {
			last, quiet = now, 0
		} else if quiet++; quiet == 10 {
			return
		}
	}
}

// diskBytes is what the files of a directory occupy: sparse ones are larger than that. Those with the given
// endings are left out.
func diskBytes(dir string, without []string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(without, filepath.Ext(path)) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return fmt.Errorf("%s: size on disk is not known", path)
		}
		total += stat.Blocks * 512
		return nil
	})
	return total, err
}
