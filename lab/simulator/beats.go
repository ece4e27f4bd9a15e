package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	maxBeats      = 1 << 16
	beatSettle    = 300 * time.Millisecond // gaps that begin so soon after a freeze belong to it: the target starts cold
	maxBeatAwaits = 30 * time.Second
	minGap        = 50 * time.Millisecond
	maxGaps       = 500
)

// beats are the lines that the training in a VM writes to its second serial line. That line is not a network: it shows
// when the training continued, whatever TCP does.
type beats struct {
	mu       sync.Mutex
	arrivals []time.Time
	steps    int64
}

// listen takes the lines of every QEMU that connects.
func (b *beats) listen(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go b.read(conn)
	}
}

// read takes lines such as "12.3456 789": the guest's clock in seconds, and the steps of the training.
func (b *beats) read(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		arrived := time.Now()
		var clock float64
		var steps int64
		if _, err := fmt.Sscanf(lines.Text(), "%f %d", &clock, &steps); err == nil {
			b.add(arrived, steps)
		}
	}
}

func (b *beats) add(arrived time.Time, steps int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.arrivals) >= maxBeats {
		b.arrivals = append([]time.Time{}, b.arrivals[maxBeats/2:]...)
	}
	b.arrivals, b.steps = append(b.arrivals, arrived), steps
}

// reset discards the beats of an earlier life of the VM.
func (b *beats) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrivals, b.steps = nil, 0
}

// latest is the step of the last beat, and how long ago it came; false before the first.
func (b *beats) latest() (int64, time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.arrivals) == 0 {
		return 0, 0, false
	}
	return b.steps, time.Since(b.arrivals[len(b.arrivals)-1]), true
}

// standstill is the longest time in seconds between two beats that touches a freeze; false if beats are missing on a side.
func (b *beats) standstill(stopped, resumed time.Time) (float64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	longest, found := time.Duration(0), false
	for i := 1; i < len(b.arrivals); i++ {
		before, after := b.arrivals[i-1], b.arrivals[i]
		if after.Before(stopped) || before.After(resumed.Add(beatSettle)) {
			continue
		}
		longest, found = max(longest, after.Sub(before)), true
	}
	last := len(b.arrivals) - 1
	if last < 0 || !b.arrivals[last].After(resumed.Add(beatSettle)) {
		return 0, false
	}
	return longest.Seconds(), found
}

// beatGap is a time without a beat.
type beatGap struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
}

// gaps are the latest times between two beats of at least minGap, in order.
func (b *beats) gaps() []beatGap {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := []beatGap{}
	for i := 1; i < len(b.arrivals); i++ {
		if gap := b.arrivals[i].Sub(b.arrivals[i-1]); gap >= minGap {
			found = append(found, beatGap{b.arrivals[i-1], gap.Seconds()})
		}
	}
	return found[max(0, len(found)-maxGaps):]
}

// await waits until the standstill around a freeze is known; false if the training beats no more.
func (b *beats) await(stopped, resumed time.Time) (float64, bool) {
	for end := time.Now().Add(maxBeatAwaits); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if seconds, known := b.standstill(stopped, resumed); known {
			return seconds, true
		}
	}
	return 0, false
}
