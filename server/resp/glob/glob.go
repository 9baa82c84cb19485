package glob

import "errors"

// ErrTooExpensive is the answer to a pattern that would hold a processor for long.
var ErrTooExpensive = errors.New("the pattern is too expensive to match; use fewer asterisks")

const (
	// maxSteps is the budget of one command's matching: ten million steps take a few tens of
	// milliseconds.
	maxSteps = 10_000_000
	// stepsPerByte flow back into it with each byte of a key, so that KEYS of many keys is not
	// refused for their number. An honest pattern needs a few steps for each byte.
	stepsPerByte = 16
)

// Pattern matches keys against one pattern as Redis' stringmatchlen does: * ? [a-z] [^a-z] and a
// backslash before a literal. It never recurses, and all matches of one glob share a budget.
type Pattern struct {
	pattern []byte
	steps   int
}

func New(pattern []byte) *Pattern { return &Pattern{pattern: pattern, steps: maxSteps} }

// Match reports whether the whole of s matches.
func (g *Pattern) Match(s []byte) (bool, error) {
	// p and i are the positions in pattern and s. After a star, a mismatch goes back to it and
	// lets it take one byte more; earlier stars never need to be tried again, because the last
	// one can take whatever they would have taken.
	g.steps = min(g.steps+stepsPerByte*(len(s)+1), maxSteps)
	p, i := 0, 0
	starP, starI := -1, 0
	for i < len(s) {
		g.steps--
		if g.steps < 0 {
			return false, ErrTooExpensive
		}
		if p < len(g.pattern) && g.pattern[p] == '*' {
			starP, starI = p, i
			p++
			continue
		}
		if p < len(g.pattern) {
			ok, next := g.matchByte(p, s[i])
			if ok {
				p, i = next, i+1
				continue
			}
		}
		if starP < 0 {
			return false, nil
		}
		starI++
		p, i = starP+1, starI
	}
	for p < len(g.pattern) && g.pattern[p] == '*' {
		g.steps--
		p++
	}
	return p == len(g.pattern), nil
}

// matchByte matches c against the element of the pattern at p, which is not a star, and tells
// where the next element begins.
func (g *Pattern) matchByte(p int, c byte) (ok bool, next int) {
	switch {
	case g.pattern[p] == '?':
		return true, p + 1
	case g.pattern[p] == '[':
		return g.matchClass(p+1, c)
	case g.pattern[p] == '\\' && p+1 < len(g.pattern):
		return g.pattern[p+1] == c, p + 2
	}
	return g.pattern[p] == c, p + 1
}

// matchClass matches c against the class whose first byte is at p. A class that is not closed
// ends with the pattern.
func (g *Pattern) matchClass(p int, c byte) (ok bool, next int) {
	pattern := g.pattern
	negated := p < len(pattern) && pattern[p] == '^'
	if negated {
		p++
	}
	found := false
	for p < len(pattern) && pattern[p] != ']' {
		g.steps--
		switch {
		case pattern[p] == '\\' && p+1 < len(pattern):
			found = found || pattern[p+1] == c
			p += 2
		case p+2 < len(pattern) && pattern[p+1] == '-':
			low, high := min(pattern[p], pattern[p+2]), max(pattern[p], pattern[p+2])
			found = found || low <= c && c <= high
			p += 3
		default:
			found = found || pattern[p] == c
			p++
		}
	}
	if p < len(pattern) {
		p++
	}
	return found != negated, p
}

// LiteralPrefix is what every key that matches begins with.
func (g *Pattern) LiteralPrefix() []byte {
	for i, c := range g.pattern {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			return g.pattern[:i]
		}
	}
	return g.pattern
}
