package session

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/testkit"
)

// start is any time that is not the epoch.
var start = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newAllocator() (*Allocator, *clock.Manual) {
	c := clock.NewManual(start)
	return New(entropy.System(), c), c
}

func TestSequencesIncreaseAndFloorFollowsTheLowestOutstanding(t *testing.T) {
	a, _ := newAllocator()
	first, releaseFirst := a.Begin()
	second, releaseSecond := a.Begin()
	third, releaseThird := a.Begin()
	wantRequest(t, first, 1, 1)
	wantRequest(t, second, 2, 1)
	wantRequest(t, third, 3, 1)

	releaseSecond()
	fourth, releaseFourth := a.Begin()
	wantRequest(t, fourth, 4, 1) // Q2: the first is outstanding

	releaseFirst()
	fifth, releaseFifth := a.Begin()
	wantRequest(t, fifth, 5, 3)

	releaseThird()
	releaseFourth()
	releaseFifth()
	sixth, _ := a.Begin()
	wantRequest(t, sixth, 6, 6) // itself
}

func TestReleasingTwiceIsReleasingOnce(t *testing.T) {
	a, _ := newAllocator()
	_, releaseFirst := a.Begin()
	releaseFirst()
	// Another request gets the first one's bit.
	var releases []func()
	for range windowSequences {
		_, release := a.Begin()
		releases = append(releases, release)
	}
	releaseFirst() // Q4
	id, _ := a.Begin()
	if id.Sequence != 1 {
		t.Fatalf("after a double release the full session got %+v, want a new session", id)
	}
	for _, release := range releases {
		release()
	}
}

func TestAFullWindowStartsAnotherSessionAndRoomIsUsedAgain(t *testing.T) {
	a, _ := newAllocator()
	stuck, releaseStuck := a.Begin()
	for range windowSequences - 1 {
		id, release := a.Begin()
		if id.Session != stuck.Session {
			t.Fatalf("sequence %d is in another session before the window is full", id.Sequence)
		}
		release()
	}
	other, releaseOther := a.Begin()
	if other.Session == stuck.Session {
		t.Fatalf("Q3: the window is full and sequence %d with floor %d was given", other.Sequence, other.Floor)
	}
	wantRequest(t, other, 1, 1)
	releaseStuck()
	// Fill the second session; the first has room again and is used before a third is made.
	for range windowSequences - 1 {
		a.Begin()
	}
	again, _ := a.Begin()
	if again.Session != stuck.Session {
		t.Fatal("a third session was made although the first has room")
	}
	wantRequest(t, again, windowSequences+1, windowSequences+1)
	releaseOther()
}

func TestAnOldSessionGetsNoNewRequests(t *testing.T) {
	a, c := newAllocator()
	old, releaseOld := a.Begin()
	c.Advance(maxAge)
	young, _ := a.Begin()
	if young.Session == old.Session {
		t.Fatal("a session was used at its maximum age")
	}
	releaseOld() // still allowed
	if len(a.mu.sessions) != 1 {
		t.Fatalf("%d sessions are kept, want the young one only", len(a.mu.sessions))
	}
	if want := uint64(start.Add(maxAge).UnixMilli()); young.Session.CreatedMillis != want {
		t.Fatalf("created %d, want the clock's %d", young.Session.CreatedMillis, want)
	}
}

func TestAClockThatIsSetBackStartsAnotherSession(t *testing.T) {
	a, c := newAllocator()
	before, _ := a.Begin()
	c.Advance(-time.Hour)
	after, _ := a.Begin()
	if after.Session == before.Session {
		t.Fatal("a session from the future was used")
	}
}

// model is what Q1 to Q3 say, told naively: every outstanding request of every session.
type model struct {
	mu          sync.Mutex
	outstanding map[api.SessionID]map[uint64]bool
	given       map[api.SessionID]map[uint64]bool
	highest     map[api.SessionID]uint64 // floor
}

// begin is called before another goroutine may release, but not atomically with Begin: requests
// that other goroutines begin or release meanwhile can only make the model's lowest outstanding
// sequence higher than the floor that Begin saw, which Q2 allows. A request that enters the model
// late is compared with every floor that was given meanwhile.
func (m *model) begin(t *testing.T, id api.RequestID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.given[id.Session] == nil {
		m.given[id.Session], m.outstanding[id.Session] = map[uint64]bool{}, map[uint64]bool{}
	}
	if m.given[id.Session][id.Sequence] {
		t.Errorf("Q1: sequence %d was given twice", id.Sequence)
	}
	m.given[id.Session][id.Sequence] = true
	m.outstanding[id.Session][id.Sequence] = true
	m.highest[id.Session] = max(m.highest[id.Session], id.Floor)
	if floor := m.highest[id.Session]; floor > id.Sequence {
		t.Errorf("Q2: floor %d was given before sequence %d was released", floor, id.Sequence)
	}
	for sequence := range m.outstanding[id.Session] {
		if id.Floor > sequence {
			t.Errorf("Q2: floor %d passes sequence %d, which may still be sent", id.Floor, sequence)
		}
	}
	if id.Sequence-id.Floor >= windowSequences {
		t.Errorf("Q3: sequence %d, floor %d", id.Sequence, id.Floor)
	}
}

// end is called before release, never after: a released request must not be in the model.
func (m *model) end(id api.RequestID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.outstanding[id.Session], id.Sequence)
}

func TestFloorNeverPassesARequestThatMayBeSent(t *testing.T) {
	const workers, rounds, held = 8, 3000, 200
	seed := testkit.Seed(t)
	a, c := newAllocator()
	m := &model{
		outstanding: map[api.SessionID]map[uint64]bool{},
		given:       map[api.SessionID]map[uint64]bool{},
		highest:     map[api.SessionID]uint64{},
	}
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(seed), uint64(worker)))
			type request struct {
				id      api.RequestID
				release func()
			}
			var mine []request
			for range rounds {
				id, release := a.Begin()
				m.begin(t, id)
				mine = append(mine, request{id, release})
				for len(mine) > 0 && (len(mine) > held || random.IntN(2) == 0) {
					i := random.IntN(len(mine))
					m.end(mine[i].id)
					mine[i].release()
					if random.IntN(4) == 0 {
						mine[i].release()
					}
					mine[i] = mine[len(mine)-1]
					mine = mine[:len(mine)-1]
				}
				if random.IntN(500) == 0 {
					c.Advance(maxAge / 10)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkBegin(b *testing.B) {
	a := New(entropy.System(), clock.Real{})
	b.ReportAllocs()
	for b.Loop() {
		_, release := a.Begin()
		release()
	}
}

func wantRequest(t *testing.T, id api.RequestID, sequence, floor uint64) {
	t.Helper()
	if id.Sequence != sequence || id.Floor != floor {
		t.Errorf("sequence %d, floor %d; want %d, %d", id.Sequence, id.Floor, sequence, floor)
	}
}
