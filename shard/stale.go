package shard

import (
	"context"
	"time"

	"github.com/lightning-db/lightning/api"
)

// staleReadTimeout bounds a read that need not be linearizable. It is many times what a follower
// in good health is behind; a caller who waited longer would be served sooner elsewhere.
const staleReadTimeout = time.Second

// GetStale is Get by any replica that can prove to be fresh enough: what it answers includes
// every write that was acknowledged s.Bound before the call returns, or earlier. TOO_STALE when
// this replica cannot prove it; the leader, or another replica, may. Who comes with a context that
// has ended gets what need not be waited for.
func (r *reader) GetStale(ctx context.Context, epoch api.Epoch, ns api.Namespace, keys [][]byte, s Staleness) ([]api.Item, error) {
	if err := checkReadKeys(keys); err != nil {
		return nil, err
	}
	var items []api.Item
	err := r.readStale(ctx, epoch, s, func(v *view) (err error) {
		items, err = v.get(ns, keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

// ScanStale is Scan as GetStale is Get.
func (r *reader) ScanStale(ctx context.Context, epoch api.Epoch, rng api.Range, s Staleness) (Page, error) {
	if err := checkBounds(&rng); err != nil {
		return Page{}, err
	}
	var page Page
	err := r.readStale(ctx, epoch, s, func(v *view) (err error) {
		page, err = v.page(rng)
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

// readStale gives use a view that is proven to be at most the bound old when use has returned
// (S8). A proof that was good at first may be too old by then; the next one is new.
func (r *reader) readStale(ctx context.Context, epoch api.Epoch, s Staleness, use func(*view) error) error {
	if s.Bound <= 0 {
		return api.Errorf(api.CodeInvalid, "a bound of staleness of %s is not positive", s.Bound)
	}
	if done, err := r.readAtOnce(epoch, s, use); done || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, staleReadTimeout)
	defer cancel()
	for range 2 {
		held, err := r.proofs.get(ctx, s)
		if err != nil {
			return hint(err, r.id)
		}
		if err := r.applied(ctx, held.Index); err != nil {
			return hint(behind(err), r.id)
		}
		if err := r.viewProven(epoch, held.Proof, use); err != nil {
			return readError(err)
		}
		if r.proofs.within(held, s.Bound) {
			return nil
		}
	}
	return hint(errTooStale("the read took longer than the bound of %s", s.Bound), r.id)
}

// readAtOnce reads if a proof is at hand and what it names is applied: then there is nothing to wait
// for. done is false if not, or if the proof was too old in the end.
func (r *reader) readAtOnce(epoch api.Epoch, s Staleness, use func(*view) error) (done bool, err error) {
	held, ok := r.proofs.held(s.Bound)
	if !ok || r.machine.state().position.Index < uint64(held.Index) {
		return false, nil
	}
	// Nothing is waited for: a replica that was fenced does not serve, however good its proof is (S10).
	if err := r.applied(context.Background(), 0); err != nil {
		return false, hint(err, r.id)
	}
	if err := r.viewProven(epoch, held.Proof, use); err != nil {
		return false, readError(err)
	}
	return r.proofs.within(held, s.Bound), nil
}

// viewProven is viewAt for a replica that has applied what a proof names. It decides expiry by
// the proof alone.
func (r *reader) viewProven(epoch api.Epoch, p Proof, use func(*view) error) error {
	const noWall = 0
	_, err := r.viewAt(epoch, p.Time, noWall, func(v *view) error {
		if got := api.Index(v.snapshot.Position().Index); got < p.Index {
			return errTooStale("the replica has applied entries up to %d, and %d was committed", got, p.Index)
		}
		return use(v)
	})
	return err
}

// behind is the error of a replica that did not apply what it should have in time.
func behind(err error) error {
	if api.CodeOf(err) != api.CodeExpired {
		return err
	}
	return errTooStale("the replica lags behind: %w", err)
}
