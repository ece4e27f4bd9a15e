package main

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// wan is the line between the site of a vCenter and the site of the first vCenter. Moves share its bandwidth.
type wan struct {
	mu      sync.Mutex
	mbit    int
	latency time.Duration // of a round trip
	down    bool
	moving  int // moves that copy over it now
}

// newWAN is nil for the first vCenter, which has no line to itself.
func newWAN(config *WAN) *wan {
	if config == nil {
		return nil
	}
	return &wan{mbit: config.Mbit, latency: time.Duration(config.LatencyMS * float64(time.Millisecond))}
}

// change changes the line from now on.
func (w *wan) change(change func(*wan)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// bandwidth is one move's share, in bit/s.
func (w *wan) bandwidth() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return linkShare * float64(w.mbit) * 1e6 / float64(max(1, w.moving))
}

func (w *wan) state() map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	state := "up"
	if w.down {
		state = "down"
	}
	return map[string]any{"mbit": w.mbit, "latency_ms": w.latency.Seconds() * 1000, "state": state, "moves": w.moving}
}

// wans are the lines between the sites of two vCenters; none within one.
func wans(here, there *vcenter) []*wan {
	var found []*wan
	if here == there {
		return nil
	}
	for _, each := range []*wan{here.wan, there.wan} {
		if each != nil {
			found = append(found, each)
		}
	}
	return found
}

// line is what a move copies over: the links of both hosts, and the WAN between their vCenters.
type line struct {
	ends []linkEnd
	wans []*wan
}

// linkEnd is the link of one host.
type linkEnd struct {
	links *links
	host  string
}

// occupy counts a move that starts (+1) or stops (-1) to copy.
func (l line) occupy(by int) {
	for _, end := range l.ends {
		end.links.occupy(by, end.host)
	}
	for _, each := range l.wans {
		each.change(func(w *wan) { w.moving += by })
	}
}

// bandwidth is one move's share of the narrowest part, in bit/s.
func (l line) bandwidth() float64 {
	rate := l.ends[0].links.share(l.ends[0].host)
	for _, end := range l.ends[1:] {
		rate = min(rate, end.links.share(end.host))
	}
	for _, each := range l.wans {
		rate = min(rate, each.bandwidth())
	}
	return rate
}

// mbit is the speed of the narrowest part in Mbit/s, with no other move on it.
func (l line) mbit() int {
	slowest := l.ends[0].links.slower(l.ends[0].host, l.ends[0].host)
	for _, end := range l.ends[1:] {
		slowest = min(slowest, end.links.slower(end.host, end.host))
	}
	for _, each := range l.wans {
		each.change(func(w *wan) { slowest = min(slowest, w.mbit) })
	}
	return slowest
}

// latency is that of a round trip over the WAN.
func (l line) latency() time.Duration {
	var sum time.Duration
	for _, each := range l.wans {
		each.change(func(w *wan) { sum += w.latency })
	}
	return sum
}

// broken is the fault of a copy while the WAN is down; nil if it is up. The class is assumed.
func (l line) broken() types.BaseMethodFault {
	for _, each := range l.wans {
		down := false
		each.change(func(w *wan) { down = w.down })
		if down {
			return &types.GenericVmConfigFault{Reason: "the network between the two sites is down"}
		}
	}
	return nil
}
