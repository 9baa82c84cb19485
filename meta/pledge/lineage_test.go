package pledge

import "testing"

func TestAnIDSaysWhatItCameOutOf(t *testing.T) {
	const first = "64c851d6-4b08-41c8-bdce-a444f7b67836"
	second := NextID(first, "aa")
	third := NextID(second, "bb")
	if second != first+"+1.aa" || third != first+"+2.bb" {
		t.Fatalf("%s, %s", second, third)
	}
	for _, c := range []struct {
		id, other string
		want      bool
	}{
		{second, first, true},
		{third, first, true},
		{third, second, true},
		{first, first, false},
		{first, second, false},
		{second, NextID(first, "bb"), false},
		{NextID("other", "aa"), first, false},
		{second, "", false},
		{"", "", false},
		{first + "+x.aa", first, false},
	} {
		if got := Supersedes(c.id, c.other); got != c.want {
			t.Errorf("%q supersedes %q: %t", c.id, c.other, got)
		}
	}
}
