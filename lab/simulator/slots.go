package main

import "sync"

// hostBudget is the number of slots of a host; a vMotion costs 1, a storage move 4 (KB 326281, scaled).
const (
	hostBudget  = 8
	slowBudget  = 4
	vmotionCost = 1
	storageCost = 4
)

// slotQueue grants slots on source and target. A claim that does not fit waits in order, and does not block claims of
// other hosts.
type slotQueue struct {
	mu      sync.Mutex
	budget  func(host string) int
	used    map[string]int
	peak    map[string]int
	waiting []*claim
}

type claim struct {
	source, target string
	cost           int
	granted        chan struct{}
}

func newSlotQueue(budget func(string) int) *slotQueue {
	return &slotQueue{budget: budget, used: map[string]int{}, peak: map[string]int{}}
}

// acquire waits for the slots; it reports false if it was cancelled first.
func (q *slotQueue) acquire(source, target string, cost int, cancel <-chan struct{}) bool {
	c := &claim{source, target, cost, make(chan struct{})}
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
	q.free(c.source, c.target, c.cost)
}

func (q *slotQueue) release(source, target string, cost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free(source, target, cost)
}

func (q *slotQueue) free(source, target string, cost int) {
	q.used[source] -= cost
	q.used[target] -= cost
	q.grant()
}

func (q *slotQueue) grant() {
	var rest []*claim
	for _, c := range q.waiting {
		if q.used[c.source]+c.cost > q.budget(c.source) || q.used[c.target]+c.cost > q.budget(c.target) {
			rest = append(rest, c)
			continue
		}
		for _, host := range []string{c.source, c.target} {
			q.used[host] += c.cost
			q.peak[host] = max(q.peak[host], q.used[host])
		}
		close(c.granted)
	}
	q.waiting = rest
}

func (q *slotQueue) of(host string) (used, peak int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.used[host], q.peak[host]
}
