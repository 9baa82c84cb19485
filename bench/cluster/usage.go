package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what had been used at some moment.
type usage struct {
	servers time.Duration
	client  time.Duration
	disk    int64 // bytes written to the disk that holds the data
}

func (r *row) add(before, after usage) {
	r.serverCPU = after.servers - before.servers
	r.clientCPU = after.client - before.client
	r.diskBytes = after.disk - before.disk
}

func usageOf(pids []int, dir string) usage {
	u := usage{disk: diskBytes(dir)}
	for _, pid := range pids {
		u.servers += processCPU(pid)
	}
	var self syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &self) == nil {
		u.client = time.Duration(self.Utime.Nano() + self.Stime.Nano())
	}
	return u
}

// processCPU is the user and system time of a process, from /proc, in steps of 10 ms.
func processCPU(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name in parentheses may hold blanks; utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, _ := strconv.ParseInt(f, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// diskBytes counts what the disk, or the part of one, that holds dir has written: the counters of a process
// miss what is written into preallocated files. If that is not known, it is what all disks have written.
func diskBytes(dir string) int64 {
	var st syscall.Stat_t
	if syscall.Stat(dir, &st) == nil {
		major, minor := st.Dev>>8&0xfff, st.Dev&0xff|st.Dev>>12&0xfff00
		if raw, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor)); err == nil {
			return sectorBytes(strings.Fields(string(raw)), 6)
		}
	}
	raw, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return 0
	}
	var total int64
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		if _, err := os.Stat("/sys/block/" + fields[2]); err != nil || strings.HasPrefix(fields[2], "loop") {
			continue
		}
		total += sectorBytes(fields, 9)
	}
	return total
}

func sectorBytes(fields []string, at int) int64 {
	if len(fields) <= at {
		return 0
	}
	sectors, _ := strconv.ParseInt(fields[at], 10, 64)
	return sectors * 512
}
