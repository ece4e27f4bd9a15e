package main

import "testing"

func linksOf(mbit int) *links {
	config := &Config{Hosts: []Host{{Name: "slow", LinkMbit: 1000}, {Name: "fast"}, {Name: "other"}}}
	return newLinks(&inventory{config: config}, mbit)
}

func TestMovesShareTheLinkOfTheSlowerEnd(t *testing.T) {
	l := linksOf(20_000)
	between := func(one, other string) line { return line{ends: []linkEnd{{l, one}, {l, other}}} }
	between("fast", "other").occupy(1)
	if got, want := between("fast", "other").bandwidth(), linkShare*20e9; got != want {
		t.Errorf("one move has %v bit/s, not %v", got, want)
	}
	between("fast", "slow").occupy(1)
	if got, want := between("fast", "other").bandwidth(), linkShare*10e9; got != want {
		t.Errorf("one of two moves has %v bit/s, not %v", got, want)
	}
	if got, want := between("fast", "slow").bandwidth(), linkShare*1e9; got != want {
		t.Errorf("a move to a slow host has %v bit/s, not %v", got, want)
	}
	between("fast", "slow").occupy(-1)
	if got, want := between("fast", "other").bandwidth(), linkShare*20e9; got != want {
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

func TestMovesBetweenSitesShareTheWAN(t *testing.T) {
	near, far := linksOf(20_000), linksOf(20_000)
	between := newWAN(&WAN{Mbit: 1000, LatencyMS: 40})
	across := line{ends: []linkEnd{{near, "fast"}, {far, "other"}}, wans: []*wan{between}}
	across.occupy(1)
	if got, want := across.bandwidth(), linkShare*1e9; got != want {
		t.Errorf("one move has %v bit/s, not %v", got, want)
	}
	across.occupy(1)
	if got, want := across.bandwidth(), linkShare*0.5e9; got != want {
		t.Errorf("one of two moves has %v bit/s, not %v", got, want)
	}
	if got := across.latency().Milliseconds(); got != 40 {
		t.Errorf("a round trip takes %d ms, not 40", got)
	}
	between.change(func(w *wan) { w.mbit = 100_000 })
	if got, want := across.bandwidth(), linkShare*10e9; got != want {
		t.Errorf("with a wide WAN one of two moves has %v bit/s, not %v", got, want)
	}
	if across.broken() != nil {
		t.Error("a WAN that is up counts as broken")
	}
	between.change(func(w *wan) { w.down = true })
	if across.broken() == nil {
		t.Error("a WAN that is down does not count as broken")
	}
}
