package main

import (
	"strings"
	"testing"
)

func TestNotesAreThereTheNextTime(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []struct {
		notes []string
		want  string
	}{
		{nil, ""},
		{[]string{"buy milk", "call home"}, "buy milk\ncall home\n"},
		{[]string{"sleep"}, "buy milk\ncall home\nsleep\n"},
	} {
		var out strings.Builder
		if err := run(t.Context(), dir, "", step.notes, &out); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.want {
			t.Errorf("got\n%swant\n%s", out.String(), step.want)
		}
	}
}
