package main

import "sync"

// What a move costs on each resource, and how much of it a resource has (Broadcom KB 326281, scaled): at most 8 vMotions or 2
// storage moves on a host, at most 8 storage moves on a datastore.
const (
	hostBudget      = 8
	slowBudget      = 4 // moves over a network below 10GbE
	datastoreBudget = 128
	vmotionCost     = 1
	storageCost     = 4
	datastoreCost   = 16 // of a storage move on each of its datastores; a vMotion costs 1
)

// slots are what a claim takes of each resource.
type slots map[string]int

func hostSlots(name string) string      { return "host " + name }
func networkSlots(name string) string   { return "network " + name }
func datastoreSlots(name string) string { return "datastore " + name }

// slotQueue grants slots on all resources of a move at once. A claim that does not fit waits in order, and does not block claims
// of other resources.
type slotQueue struct {
	mu      sync.Mutex
	budget  func(resource string) int
	used    slots
	peak    slots
	waiting []*claim
}

type claim struct {
	wanted  slots
	granted chan struct{}
}

func newSlotQueue(budget func(string) int) *slotQueue {
	return &slotQueue{budget: budget, used: slots{}, peak: slots{}}
}

// acquire waits for the slots; it reports false if it was cancelled first.
func (q *slotQueue) acquire(wanted slots, cancel <-chan struct{}) bool {
	c := &claim{wanted, make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	q.grant()
	q.mu.Unlock()
	select {
	case <-c.granted:
		return true
	case <-cancel:
		q.abandon(c)
		return false
	}
}

func (q *slotQueue) abandon(c *claim) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, waiting := range q.waiting {
		if waiting == c {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return
		}
	}
	q.free(c.wanted)
}

func (q *slotQueue) release(taken slots) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free(taken)
}

func (q *slotQueue) free(taken slots) {
	for resource, cost := range taken {
		q.used[resource] -= cost
	}
	q.grant()
}

func (q *slotQueue) grant() {
	var rest []*claim
	for _, c := range q.waiting {
		if !q.fits(c.wanted) {
			rest = append(rest, c)
			continue
		}
		for resource, cost := range c.wanted {
			q.used[resource] += cost
			q.peak[resource] = max(q.peak[resource], q.used[resource])
		}
		close(c.granted)
	}
	q.waiting = rest
}

func (q *slotQueue) fits(wanted slots) bool {
	for resource, cost := range wanted {
		if q.used[resource]+cost > q.budget(resource) {
			return false
		}
	}
	return true
}

func (q *slotQueue) of(resource string) (used, peak int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used[resource], q.peak[resource]
}
