package main

import (
	"testing"
	"time"
)

const soon = 5 * time.Second

func equalBudget(slots int) func(string) int { return func(string) int { return slots } }

func hosts(names ...string) slots {
	wanted := slots{}
	for _, name := range names {
		wanted[name] = 1
	}
	return wanted
}

// acquireLater claims slots that are not free; the channel gets the outcome.
func acquireLater(t *testing.T, q *slotQueue, source, target string, cancel <-chan struct{}) <-chan bool {
	t.Helper()
	outcome := make(chan bool, 1)
	waiting := len(waitingClaims(q))
	go func() { outcome <- q.acquire(hosts(source, target), cancel) }()
	for end := time.Now().Add(soon); len(waitingClaims(q)) == waiting; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the claim of %s and %s does not wait", source, target)
		}
	}
	return outcome
}

func waitingClaims(q *slotQueue) []*claim {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waiting
}

func TestSlotsAreCountedOnSourceAndTarget(t *testing.T) {
	q := newSlotQueue(equalBudget(2))
	for range 2 {
		q.acquire(hosts("a", "b"), nil)
	}
	waits := acquireLater(t, q, "c", "b", nil)
	q.acquire(hosts("c", "d"), nil) // does not wait behind a claim of a busy host
	q.release(hosts("a", "b"))
	if !<-waits {
		t.Error("a free slot was not given to the claim that waited")
	}
	if used, peak := q.of("b"); used != 2 || peak != 2 {
		t.Errorf("b has %d slots used and a peak of %d, not 2 and 2", used, peak)
	}
}

func TestACancelledClaimTakesNoSlot(t *testing.T) {
	q := newSlotQueue(equalBudget(1))
	q.acquire(hosts("a", "b"), nil)
	cancel := make(chan struct{})
	cancelled, next := acquireLater(t, q, "a", "c", cancel), acquireLater(t, q, "a", "d", nil)
	close(cancel)
	if <-cancelled {
		t.Error("a cancelled claim got its slots")
	}
	q.release(hosts("a", "b"))
	if !<-next {
		t.Error("the next claim did not get the slot")
	}
	if used, _ := q.of("c"); used != 0 {
		t.Errorf("the cancelled claim holds %d slots of c", used)
	}
}

func TestACancelAtTheMomentOfTheGrantLeavesNoSlotUsed(t *testing.T) {
	q := newSlotQueue(equalBudget(1))
	cancelled := make(chan struct{})
	close(cancelled)
	for range 100 {
		if q.acquire(hosts("a", "b"), cancelled) {
			q.release(hosts("a", "b"))
		}
		if used, _ := q.of("a"); used != 0 {
			t.Fatalf("%d slots of a are used by nobody", used)
		}
	}
}
