package differential

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// report counts what was compared and keeps what was found.
type report struct {
	skipped []string // commands that a side lacks; not written once sessions run

	// mu is a leaf.
	mu struct {
		sync.Mutex
		compared int
		commands map[string]int
		rules    map[string]int
		findings map[string]*finding
	}
}

// finding is a difference that no rule explains, with all that look like it.
type finding struct {
	text  string
	count int
}

func newReport(skipped []string) *report {
	r := &report{skipped: skipped}
	r.mu.commands, r.mu.rules, r.mu.findings = map[string]int{}, map[string]int{}, map[string]*finding{}
	return r
}

func (r *report) add(p pair, by *rule) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.compared++
	if len(p.args) > 0 {
		r.mu.commands[canonical(p.args[0])]++
	}
	if by != nil {
		r.mu.rules[by.name]++
	}
}

func (r *report) find(s *session, p pair, before []pair) {
	shape := func(v string) string { return v[:min(len(v), 12)] }
	name := "nothing"
	if len(p.args) > 0 {
		name = canonical(p.args[0])
	}
	key := name + " " + shape(p.theirs.Raw) + " " + shape(p.ours.Raw)
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.mu.findings[key]; f != nil {
		f.count++
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%.600q\n  theirs: %v\n  ours:   %v\n  session %s, RESP%s, before it:\n", p.args, p.theirs, p.ours, s.name, s.protocol)
	for _, line := range s.recent {
		if involves(line, p.args) {
			fmt.Fprintf(&b, "    %s\n", line)
		}
	}
	r.mu.findings[key] = &finding{b.String(), 1}
}

// involves reports whether a remembered line is about a key of args, or of a block.
func involves(line string, args []string) bool {
	for _, a := range args[min(1, len(args)):] {
		if len(a) > 2 && strings.Contains(line, strings.Trim(fmt.Sprintf("%.200q", a), `"`)) {
			return true
		}
	}
	return len(args) < 2 || slices.Contains([]string{"EXEC", "MULTI"}, canonical(args[0]))
}

// check notes why a session ended early.
func (r *report) check(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.findings[err.Error()] = &finding{err.Error(), 1}
}

// summary is one line for people.
func (r *report) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var tolerated []string
	for _, name := range slices.Sorted(maps.Keys(r.mu.rules)) {
		tolerated = append(tolerated, fmt.Sprintf("%s %d", name, r.mu.rules[name]))
	}
	found := 0
	for _, f := range r.mu.findings {
		found += f.count
	}
	return fmt.Sprintf("%d replies of %d commands compared, %d differ in %d ways; by rule: %s",
		r.mu.compared, len(r.mu.commands), found, len(r.mu.findings), strings.Join(tolerated, ", "))
}

func (r *report) findings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, key := range slices.Sorted(maps.Keys(r.mu.findings)) {
		out = append(out, fmt.Sprintf("%d times: %s", r.mu.findings[key].count, r.mu.findings[key].text))
	}
	return out
}
