package main

import "time"

// clock turns simulated seconds into real time.
type clock struct {
	scale float64 // real seconds per simulated second
}

func (c clock) scaled(seconds float64) time.Duration {
	return time.Duration(seconds * c.scale * float64(time.Second))
}

// simulated is how many simulated seconds pass in a real duration.
func (c clock) simulated(real time.Duration) float64 { return real.Seconds() / c.scale }
