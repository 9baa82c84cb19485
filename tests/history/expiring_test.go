package history

import (
	"testing"
	"time"
)

func TestExpiringModelTellsGoodFromBad(t *testing.T) {
	const lives = 100
	brief := func(v string) Input { return Input{Kind: Write, Value: v, Lives: lives} }
	absent := Input{Kind: CompareAndSet, Value: "b"}
	yes := true
	cases := []struct {
		name string
		good bool
		ops  []Operation
	}{
		{"there before its end, gone after", true, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 90, 95, read, saw("a")), at(2, 120, 125, read, saw(""))}},
		{"either way about its end", true, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 95, 98, read, saw("a")), at(2, 99, 102, read, saw(""))}},
		{"gone too early", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 50, 60, read, saw(""))}},
		{"there too late", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 130, 140, read, saw("a"))}},
		{"seen gone, then there again", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 98, 99, read, saw("")), at(2, 100, 101, read, saw("a"))}},
		{"gone for a condition, there for a read", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 96, 97, Input{Kind: Delete}, Output{Existed: new(bool)}), at(2, 98, 99, read, saw("a"))}},
		{"what has ended was deleted", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 130, 131, Input{Kind: Delete}, Output{Existed: &yes})}},
		{"written anew when it had ended", true, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 130, 131, absent, Output{Applied: true}), at(2, 900, 901, read, saw("b"))}},
		{"written as if it had ended when it had not", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(2, 30, 31, absent, Output{Applied: true})}},
		{"a write without an end keeps none", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(1, 10, 11, write("b"), Output{}), at(2, 130, 131, read, saw(""))}},
		{"a write whose outcome is open may have begun its life late", true, []Operation{
			at(1, 1, 0, brief("a"), Output{}), at(2, 500, 501, read, saw("a")), at(2, 510, 511, read, saw(""))}},
		{"lives are counted from the write that was seen", false, []Operation{
			at(1, 1, 5, brief("a"), Output{}), at(1, 50, 51, brief("b"), Output{}), at(2, 120, 121, read, saw(""))}},
	}
	for _, c := range cases {
		_, err := Check(Expiring(10, 10), c.ops, time.Second)
		if good := err == nil; good != c.good {
			t.Errorf("%s: good=%t: %v", c.name, good, err)
		}
	}
}

func TestGeneratedHistoriesWithoutLivesAreAcceptedByTheExpiringModel(t *testing.T) {
	rng := newRand(t)
	for range 20 {
		ops := generate(rng, 4, 400)
		if report, err := Check(Expiring(0, 0), ops, 10*time.Second); err != nil {
			t.Fatalf("%v: %v", report, err)
		}
	}
}
