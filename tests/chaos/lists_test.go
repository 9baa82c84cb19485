package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// lists are blocks of commands (MULTI) on one hash tag. Each appends to lists and reads some, so that the lists show
// who came before whom; and each either moves money between two accounts or reads all of them.
type lists struct {
	c        *cluster.Cluster
	seed     uint64
	p        *progress
	recorder *history.ListRecorder
	bank     *history.Bank
	accounts []string
	next     atomic.Int64 // values that were appended

	mu    sync.Mutex
	wrong []error // statements that cannot be
}

const (
	listWorkers  = 8
	listRotation = 100 // appends to one list, about

	// openingBalance is what each account holds beside the number that is stored: nobody has to open it, and
	// no transfer has to look whether there is enough.
	openingBalance = 1e12
)

func newLists(_ *testing.T, c *cluster.Cluster, seed uint64, p *progress) work {
	l := &lists{c: c, seed: seed, p: p, recorder: history.NewListRecorder()}
	initial := make(map[string]int64)
	for i := range 6 {
		account := fmt.Sprintf("{lists}account/%d", i)
		l.accounts = append(l.accounts, account)
		initial[account] = openingBalance
	}
	l.bank = history.NewBank(initial)
	return l
}

// Run works until ctx ends.
func (l *lists) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for i := range listWorkers {
		w := &listWorker{lists: l, id: i, client: i, rng: rand.New(rand.NewPCG(l.seed, uint64(i))), stores: respStores(l.c, nil)}
		l.p.watch(i, nil)
		wg.Go(func() { w.run(ctx) })
	}
	wg.Wait()
}

type listWorker struct {
	*lists
	id, client int // client: a new one after every unknown outcome
	rng        *rand.Rand
	stores     []workload.Store
}

func (w *listWorker) run(ctx context.Context) {
	for _, s := range w.stores {
		defer s.Close()
	}
	node := w.id % len(w.stores)
	for ctx.Err() == nil {
		opCtx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := w.transact(opCtx, w.stores[node].(*workload.RESP).Client)
		cancel()
		w.p.note(w.id, err)
		if err != nil {
			node = (node + 1) % len(w.stores)
			cluster.Wait(ctx, 10*time.Millisecond)
		}
		cluster.Wait(ctx, 3*time.Millisecond)
	}
}

// transact does one block.
func (w *listWorker) transact(ctx context.Context, r *redis.Client) error {
	ops := w.choose()
	from := w.rng.IntN(len(w.accounts))
	to := (from + 1 + w.rng.IntN(len(w.accounts)-1)) % len(w.accounts)
	amount, statement := int64(1+w.rng.IntN(100)), w.rng.IntN(4) == 0
	pending := w.recorder.Begin(w.client, ops)
	results, err := r.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for _, o := range ops {
			if o.Append {
				p.Append(ctx, o.Key, strconv.FormatInt(o.Value, 10)+",")
			} else {
				p.Get(ctx, o.Key)
			}
		}
		if statement {
			for _, account := range w.accounts {
				p.Get(ctx, account)
			}
			return nil
		}
		p.DecrBy(ctx, w.accounts[from], amount)
		p.IncrBy(ctx, w.accounts[to], amount)
		return nil
	})
	if errors.Is(err, redis.Nil) {
		err = nil // something that was read is not there, which is an answer
	}
	var seen []history.ListOp
	if err == nil {
		seen, err = fillReads(ops, results)
	}
	outcome := workload.Outcome(err)
	if !statement {
		w.bank.Transferred(w.accounts[from], w.accounts[to], amount, outcome)
	} else if outcome == history.OK {
		w.check(results[len(ops):])
	}
	switch outcome {
	case history.OK:
		pending.OK(seen)
	case history.Failed:
		pending.Failed()
	default:
		pending.Unknown()
		w.client += listWorkers
	}
	return err
}

func (w *listWorker) choose() []history.ListOp {
	ops := make([]history.ListOp, 1+w.rng.IntN(4))
	for i := range ops {
		o := &ops[i]
		o.Key = fmt.Sprintf("{lists}%d.%d", w.next.Load()/listRotation, w.rng.IntN(4))
		if o.Append = w.rng.IntN(2) == 0; o.Append {
			o.Value = w.next.Add(1)
		}
	}
	return ops
}

// fillReads puts what a block read into a copy of its steps.
func fillReads(ops []history.ListOp, results []redis.Cmder) ([]history.ListOp, error) {
	out := append([]history.ListOp(nil), ops...)
	for i := range out {
		read, ok := results[i].(*redis.StringCmd)
		if !ok {
			continue
		}
		for field := range strings.SplitSeq(strings.TrimSuffix(read.Val(), ","), ",") {
			if field == "" {
				continue
			}
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return nil, err
			}
			out[i].Read = append(out[i].Read, n)
		}
	}
	return out, nil
}

// check judges what a block read of all accounts.
func (l *lists) check(results []redis.Cmder) {
	if err := l.bank.CheckRead(l.balances(results)); err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.wrong = append(l.wrong, err)
	}
}

func (l *lists) balances(results []redis.Cmder) map[string]int64 {
	out := make(map[string]int64)
	for i, account := range l.accounts {
		n, _ := strconv.ParseInt(results[i].(*redis.StringCmd).Val(), 10, 64) // absent is 0
		out[account] = openingBalance + n
	}
	return out
}

// Judge checks the order that the lists show, and the accounts through every node.
func (l *lists) Judge(t *testing.T, c *cluster.Cluster) string {
	for _, err := range l.wrong[:min(len(l.wrong), 5)] {
		t.Errorf("%v (one of %d such)", err, len(l.wrong))
	}
	for _, n := range c.Nodes {
		if err := l.bank.CheckFinal(l.final(t, n)); err != nil {
			t.Errorf("through %s: %v", n.Name, err)
		}
	}
	report, err := history.CheckLists(l.recorder.Transactions())
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%v; %v", report, l.bank)
}

func (l *lists) final(t *testing.T, n *cluster.Node) (balances map[string]int64) {
	t.Helper()
	store := workload.DialRESP(n.RESP, nil)
	defer store.Close()
	cluster.Eventually(t, recovery, "statement through "+n.Name, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		results, err := store.Client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			for _, account := range l.accounts {
				p.Get(ctx, account)
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		balances = l.balances(results)
		return nil
	})
	return balances
}
