package main

import (
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

const setupSeconds = 3.0

// copying is how far a move has copied: first the parts that change their datastore, then the memory.
type copying struct {
	progress     func(percent int)
	files, total float64 // bits
	shown        int
}

func newCopying(work *move, arriving map[types.ManagedObjectReference]int64, memoryGB float64) *copying {
	c := &copying{progress: work.progress, shown: -1}
	for _, size := range arriving {
		c.files += 8 * float64(size)
	}
	c.total = max(1, c.files)
	if work.changesHost() && work.vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		c.total = c.files + memoryGB*gib*8
	}
	return c
}

// memory is what is copied of the VM's memory, in bits.
func (c *copying) memory() float64 { return c.total - c.files }

// done shows how much is copied, in bits.
func (c *copying) done(bits float64) {
	if percent := max(0, min(95, int(100*bits/c.total))); percent >= c.shown+2 {
		c.shown = percent
		c.progress(percent)
	}
}

// ofMemory shows a share of the memory as a share of all.
func (c *copying) ofMemory(percent int) {
	c.progress(int((100*c.files + float64(percent)*c.memory()) / c.total))
}

// copyFiles copies the parts that change their datastore; the memory is not touched yet.
func (m *moves) copyFiles(work *move, copied *copying) types.BaseMethodFault {
	if copied.files == 0 {
		return nil
	}
	rate := func() float64 { return float64(m.inventory.config.StorageMBs) * 8e6 }
	if work.changesHost() { // then the vMotion network carries the disks, too
		line := m.line(work.relocation)
		line.occupy(1)
		defer line.occupy(-1)
		disks := rate
		rate = func() float64 { return min(disks(), line.bandwidth()) }
	}
	return m.stream(work, copied.files, m.clock.scaled(setupSeconds), rate, copied.done)
}

// copyMemory is the pre-copy: consumed memory over this move's share of the line.
func (m *moves) copyMemory(work *move, copied *copying) types.BaseMethodFault {
	if work.vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return nil
	}
	line := m.line(work.relocation)
	line.occupy(1)
	defer line.occupy(-1)
	done := func(bits float64) { copied.done(copied.files + bits) }
	return m.stream(work, copied.memory(), m.clock.scaled(setupSeconds), line.bandwidth, done)
}

// stream copies bits at a rate (bit/s) that may change. It ends early when the move is cancelled or the WAN breaks.
func (m *moves) stream(
	work *move, total float64, setup time.Duration, rate func() float64, done func(bits float64),
) types.BaseMethodFault {
	line := m.line(work.relocation)
	left, last := total, time.Now()
	ticker := time.NewTicker(min(tick, max(time.Millisecond, m.clock.scaled(0.5))))
	defer ticker.Stop()
	for left > 0 || setup > 0 {
		select {
		case <-work.cancel:
			return &types.RequestCanceled{}
		case now := <-ticker.C:
			if fault := line.broken(); fault != nil {
				return fault
			}
			if work.isDown() {
				return &types.HostCommunication{}
			}
			passed := now.Sub(last)
			last = now
			if setup > 0 {
				setup -= passed
				continue
			}
			left -= rate() * m.clock.simulated(passed)
			done(total - left)
		}
	}
	return nil
}
