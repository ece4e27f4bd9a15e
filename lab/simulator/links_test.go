package main

import "testing"

func linksOf(mbit int) *links {
	config := &Config{Hosts: []Host{{Name: "slow", LinkMbit: 1000}, {Name: "fast"}, {Name: "other"}}}
	return newLinks(&inventory{config: config}, mbit)
}

func TestMovesShareTheLinkOfTheSlowerEnd(t *testing.T) {
	l := linksOf(20_000)
	l.occupy(1, "fast", "other")
	if got, want := l.bandwidth("fast", "other"), linkShare*20e9; got != want {
		t.Errorf("one move has %v bit/s, not %v", got, want)
	}
	l.occupy(1, "fast", "slow")
	if got, want := l.bandwidth("fast", "other"), linkShare*10e9; got != want {
		t.Errorf("one of two moves has %v bit/s, not %v", got, want)
	}
	if got, want := l.bandwidth("fast", "slow"), linkShare*1e9; got != want {
		t.Errorf("a move to a slow host has %v bit/s, not %v", got, want)
	}
	l.occupy(-1, "fast", "slow")
	if got, want := l.bandwidth("fast", "other"), linkShare*20e9; got != want {
		t.Errorf("after the other move has ended, one has %v bit/s, not %v", got, want)
	}
}

func TestASlowLinkHasFewerSlots(t *testing.T) {
	l := linksOf(20_000)
	if slow, fast := l.slotBudget(networkSlots("slow")), l.slotBudget(networkSlots("fast")); slow != slowBudget || fast != hostBudget {
		t.Errorf("slots are %d and %d, not %d and %d", slow, fast, slowBudget, hostBudget)
	}
	l.set(1000)
	if fast := l.slotBudget(networkSlots("fast")); fast != slowBudget {
		t.Errorf("the limit for all hosts leaves %d slots, not %d", fast, slowBudget)
	}
}
