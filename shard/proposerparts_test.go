package shard

import (
	"testing"
	"testing/synctest"

	"github.com/lightning-db/lightning/api"
)

// part is a command that brings one.
func part(number uint32) Command {
	return Command{Request: requestID(1), Epoch: 1, DeadlineMillis: startMillis + 60_000, Stage: &Stage{
		Key: []byte("k"), Number: number, Part: make([]byte, api.MaxPartBytes),
	}}
}

// brings reports whether a proposal is parts.
func (p *fakeProposal) brings(t *testing.T) bool {
	t.Helper()
	c, err := DecodeCommand(p.entry.Commands[0])
	if err != nil {
		t.Fatal(err)
	}
	return c.Stage != nil
}

func TestOnePartIsInFrontOfSmallCommandsHoweverManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		const parts = 8
		var ends []chan outcome
		for n := range uint32(parts) {
			ends = append(ends, submitAsync(t.Context(), p, part(n)))
			synctest.Wait()
		}
		if n := len(l.proposed()); n != maxPartsInFlight {
			t.Fatalf("%d parts fly", n)
		}
		ends = append(ends, submitAsync(t.Context(), p, marked(1)))
		synctest.Wait()
		if all := l.proposed(); len(all) != maxPartsInFlight+1 || all[len(all)-1].brings(t) {
			t.Fatalf("%d entries fly, and none is the small command's", len(all))
		}
		// Each part lets one go that has come in the meantime, and none waits for ever.
		for settled := 0; settled < len(l.proposed()); settled++ {
			all := l.proposed()
			flying := 0
			for _, e := range all[settled:] {
				if e.brings(t) {
					flying++
				}
			}
			if flying > maxPartsInFlight {
				t.Fatalf("%d parts fly", flying)
			}
			if len(ends) < 3*parts {
				ends = append(ends, submitAsync(t.Context(), p, marked(2)))
				synctest.Wait()
			}
			all[settled].echo()
			synctest.Wait()
		}
		for i, end := range ends {
			if o := <-end; o.err != nil {
				t.Errorf("command %d: %v", i, o.err)
			}
		}
	})
}

// Parts that find small commands without end go on too.
func TestPartsAndOthersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, l := newTestProposer(t)
		occupy(t, p)
		var ends []chan outcome
		for n := range uint32(4) {
			ends = append(ends, submitAsync(t.Context(), p, part(n)))
		}
		synctest.Wait()
		brought := 0
		for settled := 0; brought < 4; settled++ {
			if settled > 40 {
				t.Fatalf("%d parts after %d entries", brought, settled)
			}
			for range 20 {
				submitAsync(t.Context(), p, marked(3))
			}
			synctest.Wait()
			e := l.proposed()[settled]
			if e.brings(t) {
				brought++
			}
			e.echo()
			synctest.Wait()
		}
		for _, end := range ends {
			if o := <-end; o.err != nil {
				t.Error(o.err)
			}
		}
	})
}

// What waits when the shard closes is refused, parts as well.
func TestPartsThatWaitAreRefusedWhenTheShardCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := newTestProposer(t)
		first, second := submitAsync(t.Context(), p, part(0)), submitAsync(t.Context(), p, part(1))
		synctest.Wait()
		p.close()
		codes := map[api.Code]int{}
		codes[api.CodeOf((<-first).err)]++
		codes[api.CodeOf((<-second).err)]++
		if codes[api.CodeUnknownOutcome] != 1 || codes[api.CodeShuttingDown] != 1 {
			t.Error(codes)
		}
	})
}
