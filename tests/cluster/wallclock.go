package cluster

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// CanShiftClock reports why the wall clock of one process cannot be moved here, nil when it can.
func CanShiftClock() error {
	if runtime.GOARCH != "amd64" {
		return fmt.Errorf("the wall clock of a process is moved by machine code for amd64, not %s", runtime.GOARCH)
	}
	return missing(nil)
}

// ShiftClock moves the wall clock of the running process by d against the machine's; 0 is back to right. The
// monotonic clock goes on as it did. A new life of the node has the right time.
//
// A static Go program asks the kernel's shared page (vDSO) for the time, without a system call, so what is changed
// is the process' own copy of that page: its clock_gettime begins with a jump to code, in the unused
// end of the page, that does the system call and adds seconds to CLOCK_REALTIME. Later shifts change only those seconds.
func (n *Node) ShiftClock(d time.Duration) {
	n.t.Helper()
	if err := shiftClock(n.PID(), int64(d/time.Second)); err != nil {
		n.t.Fatalf("shift the clock of %s: %v", n.Name, err)
	}
}

func shiftClock(pid int, seconds int64) error {
	start, end, err := vdso(pid)
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = mem.Close() }()
	page := make([]byte, end-start)
	if _, err := mem.ReadAt(page, start); err != nil {
		return fmt.Errorf("read the vdso: %w", err)
	}
	entry, err := clockEntry(page)
	if err != nil {
		return err
	}
	at := len(page) - codeRoom
	if !bytes.Equal(page[at:at+len(clockCode)], clockCode) {
		if !bytes.Equal(page[at:], make([]byte, codeRoom)) {
			return fmt.Errorf("the end of the vdso is in use")
		}
		if _, err := mem.WriteAt(clockCode, start+int64(at)); err != nil {
			return err
		}
		if err := patchEntry(pid, mem, start+entry, start+int64(at)); err != nil {
			return err
		}
	}
	_, err = mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(seconds)), start+int64(at+codeData))
	return err
}

const (
	codeRoom = 64 // bytes at the end of the page
	codeData = 56 // where in them the seconds are
)

// clockCode is clock_gettime(clock edi, timespec *rsi).
var clockCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x0a, // jne to ret
	0x48, 0x8b, 0x0d, codeData - 18, 0, 0, 0, // mov rcx, [rip + to the seconds]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
}

// patchEntry makes the function at entry a jump to target, while the process stands still.
func patchEntry(pid int, mem *os.File, entry, target int64) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	jump := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(target-(entry+5)))
	_, err := mem.WriteAt(jump, entry)
	return err
}

// vdso finds the page in the address space of a process.
func vdso(pid int) (start, end int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			_, err = fmt.Sscanf(line, "%x-%x", &start, &end)
			return start, end, err
		}
	}
	return 0, 0, fmt.Errorf("process %d has no vdso", pid)
}

func clockEntry(page []byte) (int64, error) {
	f, err := elf.NewFile(bytes.NewReader(page))
	if err != nil {
		return 0, err
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return 0, err
	}
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return int64(s.Value), nil
		}
	}
	return 0, fmt.Errorf("the vdso has no clock_gettime")
}
