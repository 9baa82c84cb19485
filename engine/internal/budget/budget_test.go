package budget

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
)

// store stands for an engine: a memtable, one that is being written, and the lock of its writer.
type store struct {
	member  *Member
	write   sync.Mutex
	filling int64         // under write
	sealed  atomic.Int64  // of the one that is written, 0 for none
	flush   chan struct{} // wakes the flush; nil when a test flushes by itself
	real    *atomic.Int64 // what all stores hold, counted apart
}

func newStore(m *Memory) *store {
	s := &store{}
	s.member = m.Join(func() bool {
		if !s.write.TryLock() {
			return false
		}
		defer s.write.Unlock()
		ok, _ := s.sealLocked()
		return ok
	})
	return s
}

func (s *store) sealLocked() (bool, error) {
	if s.filling == 0 || s.sealed.Load() > 0 {
		return false, nil
	}
	s.sealed.Store(s.filling)
	s.member.Sealed(s.filling)
	s.filling = 0
	s.member.Fills(0)
	if s.flush != nil {
		s.flush <- struct{}{}
	}
	return true, nil
}

// apply writes a batch.
func (s *store) apply(t testing.TB, bytes int64) {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.member.Reserve(bytes, s.sealLocked); err != nil {
		t.Error(err)
	}
	s.filling += bytes
	if s.real != nil {
		s.real.Add(bytes)
	}
	s.member.Fills(s.filling)
}

// flushed writes a part of what is sealed.
func (s *store) flushed(bytes int64) {
	if s.real != nil {
		s.real.Add(-bytes)
	}
	s.member.Sealed(s.sealed.Add(-bytes))
}

func held(m *Memory) int64 {
	filling, sealed := m.Held()
	return filling + sealed
}

func TestTheLargestMemtableIsSealedWhoeverWrites(t *testing.T) {
	var m Memory
	m.SetLimit(1000)
	idle, other, writer := newStore(&m), newStore(&m), newStore(&m)
	idle.apply(t, 300)
	other.apply(t, 150)
	writer.apply(t, 40)
	writer.apply(t, 20)
	if idle.sealed.Load() != 300 || other.sealed.Load() != 0 || writer.sealed.Load() != 0 {
		t.Fatalf("sealed are %d, %d, %d", idle.sealed.Load(), other.sealed.Load(), writer.sealed.Load())
	}
	other.write.Lock() // busy
	writer.apply(t, 300)
	if writer.sealed.Load() != 60 {
		t.Fatalf("%d of the next largest are sealed", writer.sealed.Load())
	}
	other.write.Unlock()
	if filling, sealed := m.Held(); filling != 450 || sealed != 360 {
		t.Fatalf("%d and %d are held", filling, sealed)
	}
	if _, seals := m.Counts(); seals != 2 {
		t.Errorf("%d seals", seals)
	}
}

// BG1, BG2.
func TestAWriterGoesOnAsFarAsTheFlushHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		m.SetLimit(1000)
		one, two := newStore(&m), newStore(&m)
		one.apply(t, 600)
		two.apply(t, 390) // seals the 600
		var applied atomic.Int64
		go func() {
			for range 3 {
				two.apply(t, 100)
				applied.Add(1)
			}
		}()
		synctest.Wait()
		// Beyond half of the limit, two's own 390 are sealed, too, and nothing is free.
		if n := applied.Load(); n != 0 || held(&m) != 990 {
			t.Fatalf("%d batches while %d of 1000 are held", n, held(&m))
		}
		for want := int64(1); want <= 3; want++ {
			one.flushed(50)
			synctest.Wait()
			if n := applied.Load(); n != want-1 {
				t.Fatalf("%d batches after a part, want %d", n, want-1)
			}
			one.flushed(50)
			synctest.Wait()
			if n := applied.Load(); n != want || held(&m) > 1000 {
				t.Fatalf("%d batches, want %d; %d bytes", n, want, held(&m))
			}
		}
		if waits, _ := m.Counts(); waits != 3 {
			t.Errorf("%d waits", waits)
		}
	})
}

// BG2.
func TestNobodyWaitsForAStoreThatHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		m.SetLimit(1000)
		broken, writer := newStore(&m), newStore(&m)
		broken.apply(t, 900)
		var applied atomic.Bool
		go func() {
			writer.apply(t, 200)
			applied.Store(true)
		}()
		synctest.Wait()
		if applied.Load() {
			t.Fatal("applied beyond the limit")
		}
		broken.member.Leave()
		broken.member.Leave()
		synctest.Wait()
		if !applied.Load() || held(&m) != 200 {
			t.Fatalf("applied is %v, %d bytes are held", applied.Load(), held(&m))
		}
		broken.member.Sealed(0)
		broken.member.Fills(70)
		broken.apply(t, 5000)
		if held(&m) != 200 {
			t.Fatalf("%d bytes are held after one who left went on", held(&m))
		}
	})
}

// BG2: who leaves may be in the middle of telling what it holds, and the last word must be that it holds nothing.
func TestWhatIsCountedBesideALeaveIsGivenBack(t *testing.T) {
	for name, tell := range map[string]func(*Member, int64){
		"sealed":   (*Member).Sealed,
		"fills":    (*Member).Fills,
		"reserved": func(b *Member, n int64) { _ = b.Reserve(n, func() (bool, error) { return false, nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 300 {
				var m Memory
				b := m.Join(func() bool { return false })
				var w sync.WaitGroup
				var stop, begun atomic.Bool
				w.Go(func() {
					for i := int64(0); !stop.Load(); i++ {
						tell(b, i%2+1)
						begun.Store(true)
					}
				})
				for !begun.Load() {
					runtime.Gosched()
				}
				for range round % 300 {
					b.left.Load()
				}
				b.Leave()
				stop.Store(true)
				w.Wait()
				if filling, sealed := m.Held(); filling != 0 || sealed != 0 {
					t.Fatalf("round %d: %d filling, %d sealed are held by nobody", round, filling, sealed)
				}
			}
		})
	}
}

func TestABatchLargerThanTheLimitGetsInWhenNothingElseIsThere(t *testing.T) {
	var m Memory
	m.SetLimit(1000)
	s := newStore(&m)
	s.apply(t, 5000)
	if held(&m) != 5000 {
		t.Fatalf("%d bytes are held", held(&m))
	}
}

func TestALowerLimitMakesWritersWaitAndAHigherOneLetsThemGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		s := newStore(&m)
		s.apply(t, 500)
		m.SetLimit(100)
		var applied atomic.Bool
		go func() {
			s.apply(t, 10)
			applied.Store(true)
		}()
		synctest.Wait()
		if applied.Load() {
			t.Fatal("applied")
		}
		m.SetLimit(0)
		synctest.Wait()
		if !applied.Load() {
			t.Fatal("still waiting without a limit")
		}
	})
}

func TestAFailureToSealIsTheWritersError(t *testing.T) {
	var m Memory
	m.SetLimit(100)
	b := m.Join(func() bool { return false })
	want := errors.New("broken")
	b.Fills(90)
	if err := b.Reserve(20, func() (bool, error) { return false, want }); !errors.Is(err, want) {
		t.Fatal(err)
	}
}

// BG1, with stores that write, flush, are closed and opened side by side.
func TestMemoryStaysWithinItsLimit(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	synctest.Test(t, func(t *testing.T) {
		var m Memory
		const limit, most = 10_000, 400
		var real atomic.Int64
		m.SetLimit(limit)
		var writers, flushers sync.WaitGroup
		for i := range uint64(4) {
			writers.Go(func() {
				random := rand.New(rand.NewPCG(seed, i))
				for range 3 {
					s := newStore(&m)
					s.flush, s.real = make(chan struct{}, 1), &real
					flushers.Go(func() {
						random := rand.New(rand.NewPCG(seed, 100+i))
						for range s.flush {
							for s.sealed.Load() > 0 {
								<-time.After(time.Duration(random.IntN(1000)))
								s.flushed(min(s.sealed.Load(), 1+random.Int64N(500)))
							}
						}
					})
					for range 300 {
						s.apply(t, 1+random.Int64N(most))
						if n := real.Load(); n > limit+4*most { // beyond it only when there is nothing to flush
							t.Errorf("%d bytes are held", n)
							break
						}
						<-time.After(time.Duration(random.IntN(100)))
					}
					s.write.Lock()
					for s.sealed.Load() > 0 {
						<-time.After(100)
					}
					s.member.Leave()
					close(s.flush)
					real.Add(-s.filling)
					s.filling = 0 // nobody seals it any more
					s.write.Unlock()
				}
			})
		}
		writers.Wait()
		flushers.Wait()
		if held(&m) != 0 {
			t.Errorf("%d bytes are held by nobody", held(&m))
		}
	})
}

// BG3.
func TestSlotsGoToTheMostUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slots
		s.SetLimit(2)
		never := make(chan struct{})
		s.Take(0, never)
		s.Take(0, never)
		var order []float64
		for _, urgency := range []float64{1, 3, 2, 3.5} {
			go func() {
				s.Take(urgency, never)
				order = append(order, urgency)
			}()
			synctest.Wait()
		}
		stop := make(chan struct{})
		var stopped atomic.Bool
		go func() { stopped.Store(!s.Take(9, stop)) }()
		synctest.Wait()
		close(stop)
		synctest.Wait()
		if _, taken, waiting := s.Counts(); taken != 2 || waiting != 4 || !stopped.Load() {
			t.Fatalf("%d taken, %d wait", taken, waiting)
		}
		for range 2 {
			s.Give()
			synctest.Wait()
		}
		s.SetLimit(3)
		synctest.Wait()
		s.SetLimit(0)
		synctest.Wait()
		if want := []float64{3.5, 3, 2, 1}; len(order) != 4 || order[0] != want[0] || order[1] != want[1] || order[2] != want[2] {
			t.Fatalf("in the order %v, want %v", order, want)
		}
		if _, taken, waiting := s.Counts(); taken != 4 || waiting != 0 {
			t.Fatalf("%d taken, %d wait", taken, waiting)
		}
	})
}

func TestBackgroundWritesKeepToTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Rate
		never := make(chan struct{})
		begin := time.Now()
		r.Wait(1<<30, never)
		if time.Since(begin) != 0 {
			t.Fatal("waited without a limit")
		}
		r.SetLimit(1000)
		for range 100 {
			r.Wait(50, never)
		}
		if d := time.Since(begin); d < 4900*time.Millisecond || d > 5100*time.Millisecond {
			t.Fatalf("5000 bytes took %v", d)
		}
		begin = time.Now()
		r.Charge(1000)
		if time.Since(begin) != 0 {
			t.Fatal("Charge waited")
		}
		r.Wait(100, never)
		if d := time.Since(begin); d < time.Second || d > 1200*time.Millisecond {
			t.Fatalf("waited %v for what was charged", d)
		}
		stop := make(chan struct{})
		close(stop)
		begin = time.Now()
		r.Wait(1<<20, stop)
		if time.Since(begin) != 0 {
			t.Fatal("waited although stopped")
		}
	})
}
