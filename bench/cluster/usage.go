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
	disk    int64 // bytes written to all disks
}

func (r *row) add(before, after usage) {
	r.serverCPU = after.servers - before.servers
	r.clientCPU = after.client - before.client
	r.diskBytes = after.disk - before.disk
}

func usageOf(pids []int) usage {
	u := usage{disk: diskBytes()}
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

// diskBytes counts what all whole disks have written: the counters of a process miss what is
// written into preallocated files.
func diskBytes() int64 {
	raw, err := os.ReadFile("/proc/diskstats")
	if err != nil {
		return 0
	}
	var total int64
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) < 10 {
			continue
		}
		if _, err := os.Stat("/sys/block/" + fields[2]); err != nil || strings.HasPrefix(fields[2], "loop") {
			continue
		}
		sectors, _ := strconv.ParseInt(fields[9], 10, 64)
		total += sectors * 512
	}
	return total
}
