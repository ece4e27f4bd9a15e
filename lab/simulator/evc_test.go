package main

import "testing"

func TestAHostLacksNewerModesAndThoseOfOtherVendors(t *testing.T) {
	for _, c := range []struct {
		offered, needed string
		lacks           bool
	}{
		{"intel-haswell", "intel-skylake", true},
		{"intel-skylake", "intel-skylake", false},
		{"intel-skylake", "intel-haswell", false},
		{"amd-zen3", "intel-haswell", true},
		{"", "intel-haswell", false},
		{"intel-haswell", "", false},
	} {
		if lacks := lacksEVC(c.offered, c.needed); lacks != c.lacks {
			t.Errorf("%s for %s: %t", c.offered, c.needed, lacks)
		}
	}
}
