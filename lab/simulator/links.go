package main

import (
	"strings"
	"sync"
)

const (
	linkShare    = 0.8 // share of a link's nominal bandwidth that vMotion reaches
	slowLinkMbit = 10_000
)

// links knows the vMotion bandwidth of the hosts, and how many moves share each host's link at the moment.
type links struct {
	inventory *inventory

	mu     sync.Mutex
	mbit   int            // upper limit for every host
	moving map[string]int // moves that copy memory now, by host name
}

func newLinks(inventory *inventory, mbit int) *links {
	return &links{inventory: inventory, mbit: mbit, moving: map[string]int{}}
}

func (l *links) set(mbit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mbit = mbit
}

// of is a host's bandwidth in Mbit/s. The caller holds the lock.
func (l *links) of(host string) int {
	if own := l.inventory.hostSpec(host).LinkMbit; own > 0 {
		return min(own, l.mbit)
	}
	return l.mbit
}

// slower is the bandwidth of the slower of two hosts in Mbit/s.
func (l *links) slower(one, other string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(l.of(one), l.of(other))
}

// slotBudget is how many slots a resource has: fewer if it is a slow network.
func (l *links) slotBudget(resource string) int {
	kind, name, _ := strings.Cut(resource, " ")
	switch kind {
	case "datastore":
		return datastoreBudget
	case "network":
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.of(name) < slowLinkMbit {
			return slowBudget
		}
	}
	return hostBudget
}

// occupy counts a move that starts (+1) or stops (-1) to copy memory.
func (l *links) occupy(by int, host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moving[host] += by
}

// share is one move's share of the link of a host, in bit/s.
func (l *links) share(host string) float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return linkShare * float64(l.of(host)) * 1e6 / float64(max(1, l.moving[host]))
}
