package sim

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
)

// inBubble runs f in a bubble of synctest, which fails if goroutines are left, but for those of a transfer of a leadership
// that hangs in the library for ever: leadershipTransfer waits without end if the peer's replication has ended with
// another request in its channel (R13 is about what that does to a leader). There may be one for each instance of a group.
func inBubble(t *testing.T, f func(t *testing.T)) {
	bubble := ""
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		stacks := make([]byte, 16<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !strings.Contains(fmt.Sprint(p), "main bubble goroutine has exited") || !onlyTransfers(string(stacks), bubble) {
			panic(p)
		}
		t.Logf("a transfer of a leadership hangs in the library: %v", p)
	}()
	synctest.Test(t, func(t *testing.T) {
		stack := make([]byte, 1<<10)
		bubble = bubbleOf(string(stack[:runtime.Stack(stack, false)]))
		f(t)
	})
}

var bubbleName = regexp.MustCompile(`^goroutine \d+ \[.*(synctest bubble \d+)[,\]]`)

// bubbleOf is the bubble that the first line of a goroutine's stack names, empty for none.
func bubbleOf(stack string) string {
	if m := bubbleName.FindStringSubmatch(stack); m != nil {
		return m[1]
	}
	return ""
}

// onlyTransfers reports whether all goroutines of a bubble, of which there are some, belong to hanging transfers.
func onlyTransfers(stacks, bubble string) bool {
	left := 0
	for stack := range strings.SplitSeq(stacks, "\n\n") {
		if bubble == "" || bubbleOf(stack) != bubble {
			continue
		}
		left++
		if !strings.Contains(stack, "hashicorp/raft.(*Raft).leadershipTransfer(") && !strings.Contains(stack, "hashicorp/raft.(*Raft).leaderLoop.func") {
			return false
		}
	}
	return left > 0
}

func TestOnlyTransfersThatHangMayBeLeft(t *testing.T) {
	const (
		transfer = "goroutine 7 [chan send (durable), synctest bubble 3]:\ngithub.com/hashicorp/raft.(*Raft).leadershipTransfer(0xc0)\n\t/raft.go:1002"
		waiter   = "goroutine 8 [chan receive (durable), synctest bubble 3]:\ngithub.com/hashicorp/raft.(*Raft).leaderLoop.func5()\n\t/raft.go:739"
		other    = "goroutine 9 [select (durable), synctest bubble 3]:\ngithub.com/lightning-db/lightning/raft.(*Group).readLoop(0xc0)\n\t/group.go:1"
		foreign  = "goroutine 5 [select (durable), synctest bubble 31]:\nexample.org/loop()\n\t/loop.go:1"
	)
	for _, c := range []struct {
		stacks []string
		want   bool
	}{
		{[]string{foreign, transfer, waiter}, true},
		{[]string{transfer, other}, false},
		{[]string{foreign}, false},
	} {
		if got := onlyTransfers(strings.Join(c.stacks, "\n\n"), "synctest bubble 3"); got != c.want {
			t.Errorf("%v: %t", c.stacks, got)
		}
	}
	inBubble(t, func(*testing.T) {
		stack := make([]byte, 1<<10)
		if name := bubbleOf(string(stack[:runtime.Stack(stack, false)])); !strings.HasPrefix(name, "synctest bubble ") {
			t.Errorf("the bubble is called %q", name)
		}
	})
	defer func() {
		if recover() == nil {
			t.Error("a goroutine that was left behind went unnoticed")
		}
	}()
	inBubble(t, func(*testing.T) {
		nobody := make(chan int)
		go func() { nobody <- 1 }()
	})
}
