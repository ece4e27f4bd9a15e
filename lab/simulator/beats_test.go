package main

import (
	"math"
	"testing"
	"time"
)

func TestTheStandstillIsTheLongestGapAroundAFreeze(t *testing.T) {
	begin := time.Now()
	at := func(milliseconds int) time.Time { return begin.Add(time.Duration(milliseconds) * time.Millisecond) }
	b := &beats{}
	for _, milliseconds := range []int{0, 900, 910, 1000} { // the gap at the beginning has nothing to do with the freeze
		b.add(at(milliseconds), 1)
	}
	if _, known := b.standstill(at(1005), at(1500)); known {
		t.Error("the standstill is known before the training continued")
	}
	for _, milliseconds := range []int{1600, 1610, 1900} {
		b.add(at(milliseconds), 2)
	}
	seconds, known := b.standstill(at(1005), at(1500))
	if !known || math.Abs(seconds-0.6) > 1e-9 {
		t.Errorf("the standstill is %v s (%v), not 0.6", seconds, known)
	}
}

func TestGapsAreTheTimesWithoutABeat(t *testing.T) {
	b, begin := &beats{}, time.Now()
	for _, milliseconds := range []int{0, 20, 90, 100, 400} {
		b.add(begin.Add(time.Duration(milliseconds)*time.Millisecond), 1)
	}
	gaps := b.gaps()
	if len(gaps) != 2 || math.Abs(gaps[0].Seconds-0.07) > 1e-9 || math.Abs(gaps[1].Seconds-0.3) > 1e-9 {
		t.Errorf("the gaps are %v", gaps)
	}
	if !gaps[1].Started.Equal(begin.Add(100 * time.Millisecond)) {
		t.Errorf("the last gap began at %v", gaps[1].Started)
	}
}

func TestBeatsOfLongAgoAreDiscarded(t *testing.T) {
	b, now := &beats{}, time.Now()
	for i := range maxBeats + 10 {
		b.add(now.Add(time.Duration(i)), int64(i))
	}
	if kept := len(b.arrivals); kept > maxBeats {
		t.Errorf("%d beats are kept", kept)
	}
	if steps, _, any := b.latest(); !any || steps != maxBeats+9 {
		t.Errorf("the last beat has %d steps", steps)
	}
}
