package main

import "testing"

func TestNamesAreEscapedOnce(t *testing.T) {
	for plain, stored := range map[string]string{
		"plain": "plain", "a/b": "a%2fb", `a\b`: "a%5cb", "50%": "50%25", "a%2Fb": "a%2fb", "50%25": "50%25", "%2525": "%2525",
	} {
		if found := escaped(plain); found != stored {
			t.Errorf("escaped(%q) = %q, not %q", plain, found, stored)
		}
		if found := escaped(stored); found != stored {
			t.Errorf("escaped(%q) = %q: it was escaped twice", stored, found)
		}
	}
	if found := unescaped("a%2fb%5Cc%25"); found != `a/b\c%` {
		t.Errorf("unescaped: %q", found)
	}
}
