package history

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// ErrBank says that money was made or lost.
var ErrBank = errors.New("the bank's books are wrong")

// Bank is the model of accounts between which money is moved, so that their sum never changes. It is fed
// while the test runs. Safe for concurrent use.
type Bank struct {
	// Set by NewBank, never written again.
	initial map[string]int64
	total   int64

	mu struct {
		sync.Mutex
		acknowledged map[string]int64 // what acknowledged transfers changed
		// What unknown transfers may have taken and given.
		maybeOut, maybeIn map[string]int64
		reads             int
		transfers         map[Outcome]int
	}
}

// NewBank begins with the balance of each account.
func NewBank(initial map[string]int64) *Bank {
	b := &Bank{initial: initial}
	for _, balance := range initial {
		b.total += balance
	}
	b.mu.acknowledged, b.mu.maybeOut, b.mu.maybeIn = map[string]int64{}, map[string]int64{}, map[string]int64{}
	b.mu.transfers = map[Outcome]int{}
	return b
}

// Transferred notes how a transfer ended.
func (b *Bank) Transferred(from, to string, amount int64, outcome Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.transfers[outcome]++
	switch outcome {
	case OK:
		b.mu.acknowledged[from] -= amount
		b.mu.acknowledged[to] += amount
	case Unknown:
		b.mu.maybeOut[from] += amount
		b.mu.maybeIn[to] += amount
	}
}

// CheckRead judges one read of all accounts in one transaction.
func (b *Bank) CheckRead(balances map[string]int64) error {
	b.mu.Lock()
	b.mu.reads++
	b.mu.Unlock()
	if len(balances) != len(b.initial) {
		return fmt.Errorf("%w: %d accounts were read, there are %d", ErrBank, len(balances), len(b.initial))
	}
	sum := int64(0)
	for account, balance := range balances {
		if _, known := b.initial[account]; !known {
			return fmt.Errorf("%w: account %s was never opened", ErrBank, account)
		}
		if balance < 0 {
			return fmt.Errorf("%w: account %s is overdrawn: %d", ErrBank, account, balance)
		}
		sum += balance
	}
	if sum != b.total {
		return fmt.Errorf("%w: all accounts together hold %d, not %d", ErrBank, sum, b.total)
	}
	return nil
}

// CheckFinal judges a read after all transfers have ended: every acknowledged transfer counts once, every
// unknown one at most once, and no other.
func (b *Bank) CheckFinal(balances map[string]int64) error {
	if err := b.CheckRead(balances); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	accounts := make([]string, 0, len(balances))
	for account := range balances {
		accounts = append(accounts, account)
	}
	slices.Sort(accounts)
	for _, account := range accounts {
		certain := b.initial[account] + b.mu.acknowledged[account]
		low, high := certain-b.mu.maybeOut[account], certain+b.mu.maybeIn[account]
		if got := balances[account]; got < low || got > high {
			return fmt.Errorf("%w: account %s holds %d, by its transfers it must be within %d and %d", ErrBank, account, got, low, high)
		}
	}
	return nil
}

// String prints what was checked.
func (b *Bank) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%d accounts, %d reads, transfers: %d acknowledged, %d unknown, %d refused",
		len(b.initial), b.mu.reads, b.mu.transfers[OK], b.mu.transfers[Unknown], b.mu.transfers[Failed])
}
