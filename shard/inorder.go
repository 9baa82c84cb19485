package shard

import "context"

// ApplyInOrder is Begin and Wait: it applies the commands of one caller in their order and returns
// their outcomes.
func (s *Shard) ApplyInOrder(ctx context.Context, commands []Command) []Outcome {
	return s.Begin(ctx, commands).Wait(ctx)
}
