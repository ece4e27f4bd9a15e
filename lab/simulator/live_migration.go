package main

import (
	"errors"
	"fmt"
	"time"
)

const (
	downtimeMilliseconds = 300 // QEMU switches over when it expects to need no longer than that
	pollInterval         = 50 * time.Millisecond
	switchSeconds        = 60 * time.Second
	maxBandwidth         = 10e9 // byte/s
)

var (
	errCancelled = errors.New("cancelled")
	errObstacle  = errors.New("not possible")
)

// transfer is what a live migration asks the rest of the vCenter.
type transfer struct {
	progress        func(percent int)
	cancel          <-chan struct{}
	bandwidth       func() float64 // bit/s
	possible        func() bool    // whether the move is still allowed
	pointOfNoReturn func() bool    // from here on the task cannot be cancelled; false if it has been
}

// migration is a live migration in progress: pre-copy while the VM runs, then the switch-over.
type migration struct {
	transfer
	source, target *machine
	hold           time.Duration
	lose           func(losing bool)

	stopped, resumed time.Time // the VM stood still in between
	at               *machine  // where it runs
	back             time.Time // when it resumed at the source
	sent, lonely     bool      // the source has sent everything; the target has ended
	reason           error     // why the migration was to be aborted
	failed           error
	shown            int
	rate             int64
	passes           int
	transferred      int64 // bytes
}

// migrationStatus is QEMU's own account.
type migrationStatus struct {
	Status string `json:"status"`
	Error  string `json:"error-desc"`
	RAM    struct {
		Total       int64 `json:"total"`
		Remaining   int64 `json:"remaining"`
		Transferred int64 `json:"transferred"`
		Passes      int   `json:"dirty-sync-count"`
	} `json:"ram"`
}

// begin connects both ends and starts the copy.
func (m *migration) begin(socket string) error {
	m.source.monitor.drain()
	m.target.monitor.drain()
	capabilities := []map[string]any{
		{"capability": "events", "state": true}, {"capability": "pause-before-switchover", "state": m.hold > 0},
	}
	for _, side := range []*machine{m.source, m.target} {
		if err := side.monitor.execute("migrate-set-capabilities", map[string]any{"capabilities": capabilities}, nil); err != nil {
			return err
		}
	}
	uri := map[string]any{"uri": "unix:" + socket}
	if err := m.target.monitor.execute("migrate-incoming", uri, nil); err != nil {
		return err
	}
	if err := m.limit(map[string]any{"downtime-limit": downtimeMilliseconds}); err != nil {
		return err
	}
	return m.source.monitor.execute("migrate", uri, nil)
}

// limit sets the bandwidth to this move's share of the links, if that has changed.
func (m *migration) limit(parameters map[string]any) error {
	rate := int64(min(m.bandwidth()/8, maxBandwidth))
	if rate == m.rate {
		return nil
	}
	m.rate, parameters["max-bandwidth"] = rate, rate
	return m.source.monitor.execute("migrate-set-parameters", parameters, nil)
}

// follow carries the migration to its end. Afterwards the VM runs on exactly one side, or on none if QEMU died there.
func (m *migration) follow() {
	m.at = m.source
	sourceEvents, targetEvents, cancel := m.source.monitor.events, m.target.monitor.events, m.cancel
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var held, late <-chan time.Time
	for m.failed == nil && m.resumed.IsZero() {
		select {
		case event, ok := <-sourceEvents:
			if !ok {
				m.failed = fmt.Errorf("QEMU of the source has ended")
				return
			}
			switch {
			case event.name == "STOP":
				late = time.After(m.hold + switchSeconds)
				m.stop(event.at)
			case event.name == "RESUME":
				m.back = event.at
			case event.data.Status == "pre-switchover":
				held = time.After(time.Until(m.stopped.Add(m.hold)))
			case event.data.Status == "completed":
				m.sent = true
			case event.data.Status == "failed" || event.data.Status == "cancelled":
				m.fail()
			}
		case event, ok := <-targetEvents:
			switch {
			case !ok:
				targetEvents, m.lonely = nil, true
			case event.name == "RESUME":
				m.readStop()
				m.lose(false)
				m.at, m.resumed = m.target, event.at
			}
		case <-held:
			_ = m.source.monitor.execute("migrate-continue", map[string]any{"state": "pre-switchover"}, nil)
		case <-late:
			m.target.kill()
		case <-cancel:
			cancel = nil
			m.abort(errCancelled)
		case <-ticker.C:
			m.look()
		}
		if m.sent && m.lonely && m.resumed.IsZero() { // otherwise the source notices by itself
			m.fail()
		}
	}
	m.account()
}

// readStop reads the VM's stop at the source, which came before the VM resumed at the target and may be unread yet.
func (m *migration) readStop() {
	if !m.stopped.IsZero() {
		return
	}
	if event, err := m.source.monitor.await("STOP", eventSeconds); err == nil {
		m.stop(event.at)
	}
}

// stop is the VM's stop at the source: from now on its packets are lost.
func (m *migration) stop(at time.Time) {
	m.lose(true)
	m.stopped = at
	if !m.pointOfNoReturn() {
		m.abort(errCancelled)
	}
}

// abort asks QEMU to end the migration; if it has already sent everything, the VM moves nevertheless.
func (m *migration) abort(reason error) {
	m.reason = reason
	_ = m.source.monitor.execute("migrate_cancel", nil, nil)
}

// fail ends a migration whose VM stays at the source, and makes sure that it continues there.
func (m *migration) fail() {
	status := m.account()
	switch {
	case m.reason != nil:
		m.failed = m.reason
	case status.Error != "":
		m.failed = fmt.Errorf("the copy of the memory failed: %s", status.Error)
	default:
		m.failed = fmt.Errorf("the copy of the memory failed: QEMU of the target has ended")
	}
	if m.stopped.IsZero() {
		return
	}
	defer m.lose(false)
	if m.resumed = m.back; !m.resumed.IsZero() {
		return
	}
	// QEMU continues the VM by itself, unless it had sent everything.
	var state struct{ Running bool }
	if m.source.monitor.execute("query-status", nil, &state) == nil && !state.Running {
		_ = m.source.monitor.execute("cont", nil, nil)
	}
	if event, err := m.source.monitor.await("RESUME", eventSeconds); err == nil {
		m.resumed = event.at
	}
}

// look reports the progress, and follows what changed around the migration.
func (m *migration) look() {
	if m.stopped.IsZero() {
		if !m.possible() {
			m.abort(errObstacle)
		}
		_ = m.limit(map[string]any{})
	}
	if status := m.account(); status.RAM.Total > 0 {
		// Pages that the VM wrote again must be copied again: a task's progress still never falls.
		percent := min(95, int(100*(status.RAM.Total-status.RAM.Remaining)/status.RAM.Total))
		if percent >= m.shown+2 {
			m.shown = percent
			m.progress(percent)
		}
	}
}

// account reads how much was copied.
func (m *migration) account() migrationStatus {
	var status migrationStatus
	if m.source.monitor.execute("query-migrate", nil, &status) == nil && status.RAM.Transferred > 0 {
		m.passes, m.transferred = status.RAM.Passes, status.RAM.Transferred
	}
	return status
}

// migrate moves the VM to a new QEMU process. An error means that it stayed where it was.
func (g *liveGuest) migrate(work transfer) (*Freeze, error) {
	m, err := g.prepare(work)
	if err != nil {
		return nil, err
	}
	if m.failed = m.begin(m.target.name + ".migration"); m.failed == nil {
		m.follow()
	}
	return g.conclude(m)
}

// prepare starts the target.
func (g *liveGuest) prepare(work transfer) (*migration, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current == nil || g.current.isGone() || !g.frozen.IsZero() {
		return nil, fmt.Errorf("the VM does not run")
	}
	target, err := g.launch(true)
	if err != nil {
		return nil, err
	}
	m := &migration{transfer: work, source: g.current, target: target, hold: g.hold, lose: g.network.lose, shown: -1}
	g.target, g.hold = target, 0
	return m, nil
}

// conclude ends the QEMU process on the side where the VM is not, and records how long the VM stood still.
func (g *liveGuest) conclude(m *migration) (*Freeze, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.target = nil
	if m.at == m.target {
		g.current = m.target
		m.source.kill()
	} else {
		m.target.kill()
	}
	if m.resumed.IsZero() {
		return nil, m.failed
	}
	freeze := &Freeze{
		Started: m.stopped, Seconds: m.resumed.Sub(m.stopped).Seconds(), Cause: "vmotion",
		Passes: m.passes, TransferredMB: float64(m.transferred) / (1 << 20),
	}
	g.record(freeze)
	return freeze, m.failed
}
