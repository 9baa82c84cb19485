package embedded

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
)

var (
	killRounds = flag.Int("embedded.kills", 8, "how often a process that writes to its own store is killed")
	cutRounds  = flag.Int("embedded.cuts", 5, "how often the disk of such a process loses its power")
)

func TestMain(m *testing.M) {
	if os.Getenv(dirVariable) == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, child())
	os.Exit(1)
}

// loss is a store whose process is taken away again and again.
type loss struct {
	t      *testing.T
	dir    string
	mode   engine.LogMode
	seed   uint64
	random *rand.Rand
	disk   *cluster.LoopDisk // whose power is cut; nil for SIGKILL alone

	acked [writers]atomic.Uint64
	// before is what was acknowledged before the loss began. While ext4 shuts down, a sync that has passed its first check and then finds
	// that its transaction is over, since the journal was aborted, succeeds with nothing on the disk. A machine without power tells nobody.
	before [writers]uint64
	rows   [writers]*rows // as the last look found them

	rounds, told, lost, late, replayed, torn int
}

func newLoss(t *testing.T, dir string, mode engine.LogMode, disk *cluster.LoopDisk) *loss {
	seed := uint64(testkit.Seed(t))
	l := &loss{t: t, dir: dir, mode: mode, seed: seed, random: rand.New(rand.NewPCG(seed, 5)), disk: disk}
	for w := range writers {
		l.rows[w] = newRows()
	}
	return l
}

// childLimit is far more than a round takes on a loaded machine.
const childLimit = 2 * time.Minute

// round is one life of the child and the look at what it leaves.
func (l *loss) round() {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), childLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), dirVariable+"="+l.dir, modeVariable+"="+strconv.Itoa(int(l.mode)),
		seedVariable+"="+strconv.FormatUint(l.seed, 10), setVariable+"="+strconv.FormatUint(l.random.Uint64(), 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	strike := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- l.listen(bufio.NewReader(pipe), l.plan(), strike) }()
	l.await(strike, ended)
	l.count()
	if l.disk != nil {
		l.disk.CutPower()
	}
	_ = cmd.Process.Kill() // it may have ended, without power
	early, end := <-ended, cmd.Wait()
	if early != nil || end == nil || l.disk == nil && complaint.Len() > 0 {
		l.t.Fatalf("seed %d: the child ended by itself: %v, %v, %s", l.seed, early, end, &complaint)
	}
	if l.disk != nil {
		l.disk.PowerOn()
	} else {
		l.count() // whatever it has told was so
	}
}

// count takes what is acknowledged by now for what must be there.
func (l *loss) count() {
	for w := range writers {
		l.before[w] = l.acked[w].Load()
	}
}

// least is how many acknowledgements there are for each round in the end.
const least = 20

// plan says after how many acknowledgements the child goes; zero, if there are enough, for a moment in which it may still be opening the store.
func (l *loss) plan() int {
	l.rounds++
	if l.told >= 2*least*l.rounds && l.random.IntN(4) == 0 {
		return 0
	}
	return least + l.random.IntN(400)
}

// await returns when it is time to strike.
func (l *loss) await(strike chan struct{}, ended chan error) {
	select {
	case <-strike:
	case err := <-ended: // the round fails
		ended <- err
	}
}

// listen notes what is acknowledged, to the end of the child. After so many it says that it is time.
func (l *loss) listen(pipe *bufio.Reader, after int, strike chan struct{}) error {
	if after == 0 {
		time.AfterFunc(time.Duration(l.random.IntN(30))*time.Millisecond, func() { close(strike) })
	}
	for n := 0; ; {
		line, err := pipe.ReadString('\n')
		if err != nil {
			if after > 0 && n < after {
				return fmt.Errorf("the child ended after %d of %d acknowledgements", n, after)
			}
			return nil
		}
		writer, number, ok := strings.Cut(strings.TrimSpace(line), " ")
		w, err1 := strconv.Atoi(writer)
		at, err2 := strconv.ParseUint(number, 10, 64)
		if !ok || err1 != nil || err2 != nil || w < 0 || w >= writers {
			return fmt.Errorf("the child says %q", line)
		}
		l.acked[w].Store(max(l.acked[w].Load(), at))
		l.told++
		if n++; n == after {
			close(strike)
		}
	}
}

// look opens what is left, reads all of it and compares. Half of the time it changes nothing, so that the next child opens the very same.
func (l *loss) look() {
	l.t.Helper()
	o := options(l.random.Uint64(), l.mode)
	o.ReadOnly = l.random.IntN(2) == 0
	if _, err := os.Stat(filepath.Join(l.dir, "MANIFEST")); o.ReadOnly && os.IsNotExist(err) {
		return // the child had not made the store yet
	}
	db, err := engine.Open(l.dir, o)
	if err != nil {
		l.t.Fatalf("seed %d: open what is left: %v", l.seed, err)
	}
	m := db.Metrics()
	l.replayed += m.Log.Replayed
	if m.Log.Torn {
		l.torn++
	}
	for w := range writers {
		l.compare(db, w)
	}
	if err := db.Verify(l.t.Context()); err != nil {
		l.t.Fatalf("seed %d: %v", l.seed, err)
	}
	if err := db.Close(); err != nil {
		l.t.Fatalf("seed %d: %v", l.seed, err)
	}
}

// compare wants the rows of a writer to be those after some number of its batches. It counts those that are lost, and takes what is there for
// what the next child begins with.
func (l *loss) compare(db *engine.DB, writer int) {
	l.t.Helper()
	number, err := lastOf(db, writer)
	if err != nil {
		l.t.Fatal(err)
	}
	l.lost += int(max(l.before[writer], number) - number)
	l.late += int(max(l.acked[writer].Load(), number) - number)
	base := l.rows[writer]
	if number < base.number {
		base = newRows()
	}
	want := base.to(l.seed, writer, number)
	l.rows[writer] = want
	l.acked[writer].Store(number)
	s := db.Snapshot()
	defer s.Close()
	it := s.NewIterator(engine.IteratorOptions{Start: fmt.Appendf(nil, "%d/", writer), End: fmt.Appendf(nil, "%d0", writer)})
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		r := it.Row()
		if value, ok := want.values[string(r.Key)]; !ok || value != string(r.Value) {
			l.t.Fatalf("seed %d: writer %d, after %d batches: %q is %q, want %q", l.seed, writer, number, r.Key, r.Value, value)
		}
		n++
	}
	if err := it.Close(); err != nil || n != len(want.values) {
		l.t.Fatalf("seed %d: writer %d, after %d batches: %d rows, want %d, %v", l.seed, writer, number, n, len(want.values), err)
	}
}

// run strikes so often, or until something is lost if that is what it is for.
func (l *loss) run(rounds int, untilLost bool) {
	for l.rounds < rounds && (!untilLost || l.lost == 0) {
		l.round()
		l.look()
	}
}

func (l *loss) summary() string {
	return fmt.Sprintf("%d times: %d batches acknowledged, %d lost, %d more of those told of while the power went, %d read from logs, %d logs ended torn, seed %d",
		l.rounds, l.told, l.lost, l.late-l.lost, l.replayed, l.torn, l.seed)
}

// mustKeep fails if anything is lost, or too little was done to say so.
func (l *loss) mustKeep() {
	l.t.Helper()
	if l.lost > 0 || l.told < least*l.rounds || l.replayed == 0 {
		l.t.Fatalf("something is lost, or too little was done: %s", l.summary())
	}
}

// mustLose fails if nothing is lost.
func (l *loss) mustLose() {
	l.t.Helper()
	if l.lost == 0 {
		l.t.Fatalf("nothing is lost: %s", l.summary())
	}
}

// TestAKilledProcessLosesNoAcknowledgedBatch kills a process whose log is synced before each acknowledgement.
func TestAKilledProcessLosesNoAcknowledgedBatch(t *testing.T) {
	l := newLoss(t, filepath.Join(t.TempDir(), "store"), engine.LogAlways, nil)
	l.run(*killRounds, false)
	l.mustKeep()
	report.Add("embedded", "killed %s", l.summary())
}

// controlRounds is how often a control may fail to lose anything: what was flushed, or written by the system in time, is not lost.
const controlRounds = 20

// TestAKilledProcessWhoseLogGathersLosesBatches is the control of the test above. A process takes with it only what it has not written, so a log
// that is written and not synced would show nothing; LogInterval gathers in the process. EM2.
func TestAKilledProcessWhoseLogGathersLosesBatches(t *testing.T) {
	l := newLoss(t, filepath.Join(t.TempDir(), "store"), engine.LogInterval, nil)
	l.run(controlRounds, true)
	l.mustLose()
	report.Add("embedded", "control, a log that gathers in the process, killed %s", l.summary())
}

// TestAPowerCutOfAProcessLosesNoAcknowledgedBatch cuts the power of an ext4 file system under a process whose log is synced.
func TestAPowerCutOfAProcessLosesNoAcknowledgedBatch(t *testing.T) {
	disk := cluster.NewLoopDisk(t, 1<<30) // a sparse file
	l := newLoss(t, filepath.Join(disk.Dir, "store"), engine.LogAlways, disk)
	l.run(*cutRounds, false)
	l.mustKeep()
	report.Add("embedded", "power of ext4 cut %s", l.summary())
}

// TestAPowerCutOfAProcessThatDoesNotSyncLosesBatches is the control of the test above. EM2.
func TestAPowerCutOfAProcessThatDoesNotSyncLosesBatches(t *testing.T) {
	disk := cluster.NewLoopDisk(t, 1<<30)
	l := newLoss(t, filepath.Join(disk.Dir, "store"), engine.LogNever, disk)
	l.run(controlRounds, true)
	l.mustLose()
	report.Add("embedded", "control, a log that is not synced, power of ext4 cut %s", l.summary())
}
