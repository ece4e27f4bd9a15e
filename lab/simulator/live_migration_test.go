package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// monitorDouble answers QEMU's protocol on a pipe.
type monitorDouble struct {
	mu       sync.Mutex
	conn     net.Conn
	answers  map[string]string // by command; {} by default
	commands chan string
}

// doubledMachine is a machine with a process that does nothing and a monitor that the test plays.
func doubledMachine(t *testing.T) (*machine, *monitorDouble) {
	t.Helper()
	ours, theirs := net.Pipe()
	double := &monitorDouble{conn: theirs, answers: map[string]string{}, commands: make(chan string, 64)}
	go double.serve()
	monitor, err := newQMP(ours)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sleep", "60")
	command.SysProcAttr = ownGroup()
	if err := startOnLockedThread(command); err != nil {
		t.Fatal(err)
	}
	m := &machine{name: "double", command: command, monitor: monitor, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		theirs.Close()
		close(m.ended)
	}()
	t.Cleanup(m.kill)
	return m, double
}

func (d *monitorDouble) serve() {
	lines := bufio.NewScanner(d.conn)
	for lines.Scan() {
		var message struct{ Execute string }
		_ = json.Unmarshal(lines.Bytes(), &message)
		d.mu.Lock()
		answer := d.answers[message.Execute]
		d.mu.Unlock()
		if answer == "" {
			answer = `{"return": {}}`
		}
		d.write(answer)
		d.commands <- message.Execute
	}
}

func (d *monitorDouble) write(line string) { fmt.Fprintln(d.conn, line) }

func (d *monitorDouble) answer(command, result string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers[command] = `{"return": ` + result + `}`
}

// event reports something that happened at a moment.
func (d *monitorDouble) event(name, status string, at time.Time) {
	d.write(fmt.Sprintf(`{"event": %q, "data": {"status": %q}, "timestamp": {"seconds": %d, "microseconds": %d}}`,
		name, status, at.Unix(), at.Nanosecond()/1000))
}

// awaitCommand waits until a command was executed.
func (d *monitorDouble) awaitCommand(t *testing.T, name string) {
	t.Helper()
	for late := time.After(10 * time.Second); ; {
		select {
		case command := <-d.commands:
			if command == name {
				return
			}
		case <-late:
			t.Fatalf("%s was not executed", name)
		}
	}
}

type migrationDouble struct {
	*migration
	from, to *monitorDouble
	cancel   chan struct{}
	progress chan int
	losses   []bool
	followed chan struct{}
}

func doubledMigration(t *testing.T) *migrationDouble {
	t.Helper()
	d := preparedMigration(t)
	go func() { d.follow(); close(d.followed) }()
	return d
}

// preparedMigration has begun, and nobody follows it yet.
func preparedMigration(t *testing.T) *migrationDouble {
	t.Helper()
	source, from := doubledMachine(t)
	target, to := doubledMachine(t)
	d := &migrationDouble{
		from: from, to: to, cancel: make(chan struct{}), progress: make(chan int, 64), followed: make(chan struct{}),
	}
	var once sync.Once
	d.migration = &migration{
		source: source, target: target, shown: -1, lose: func(losing bool) { d.losses = append(d.losses, losing) },
		transfer: transfer{
			progress: func(percent int) { d.progress <- percent }, cancel: d.cancel,
			bandwidth: func() float64 { return 8e9 }, possible: func() bool { return true },
			pointOfNoReturn: func() bool {
				passed := false
				once.Do(func() { passed = true })
				return passed
			},
		},
	}
	from.answer("query-migrate", `{"status": "active", "ram": {"total": 200, "remaining": 100, "transferred": 90, "dirty-sync-count": 2}}`)
	if err := d.begin("socket"); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *migrationDouble) await(t *testing.T) {
	t.Helper()
	select {
	case <-d.followed:
	case <-time.After(20 * time.Second):
		t.Fatal("the migration did not end")
	}
}

// On a busy machine both events wait when somebody looks, and nobody knows which one is read first.
func TestAStopThatIsReadLateStillBeginsTheFreeze(t *testing.T) {
	for range 8 {
		d, now := preparedMigration(t), time.Now()
		d.to.event("RESUME", "", now.Add(-100*time.Millisecond))
		d.from.event("STOP", "", now.Add(-500*time.Millisecond))
		eventually(t, "the events do not come", func() bool {
			return len(d.source.monitor.events) == 1 && len(d.target.monitor.events) == 1
		})
		d.follow()
		if freeze := d.resumed.Sub(d.stopped); freeze.Round(time.Millisecond) != 400*time.Millisecond {
			t.Fatalf("the freeze lasted %s, not 400 ms", freeze)
		}
		if len(d.losses) != 2 || !d.losses[0] || d.losses[1] {
			t.Fatalf("packets were lost and taken again: %v", d.losses)
		}
	}
}

func TestTheFreezeLastsFromStopToResume(t *testing.T) {
	d := doubledMigration(t)
	if percent := <-d.progress; percent != 50 {
		t.Errorf("the progress is %d %%, not 50", percent)
	}
	now := time.Now()
	d.from.event("STOP", "", now.Add(-500*time.Millisecond))
	d.to.event("RESUME", "", now.Add(-100*time.Millisecond))
	d.await(t)
	if freeze := d.resumed.Sub(d.stopped); freeze.Round(time.Millisecond) != 400*time.Millisecond {
		t.Errorf("the freeze lasted %s, not 400 ms", freeze)
	}
	if d.failed != nil || d.at != d.target {
		t.Errorf("the VM is not at the target: %v", d.failed)
	}
	if d.passes != 2 || d.transferred != 90 {
		t.Errorf("%d passes and %d bytes, not 2 and 90", d.passes, d.transferred)
	}
	if len(d.losses) != 2 || !d.losses[0] || d.losses[1] {
		t.Errorf("packets were lost and taken again: %v", d.losses)
	}
}

func TestACancelledMigrationStaysAtTheSource(t *testing.T) {
	d := doubledMigration(t)
	close(d.cancel)
	d.from.awaitCommand(t, "migrate_cancel")
	d.from.event("MIGRATION", "cancelled", time.Now())
	d.await(t)
	if !errors.Is(d.failed, errCancelled) || d.at != d.source || !d.resumed.IsZero() {
		t.Errorf("the VM is not simply at the source: %v", d.failed)
	}
}

func TestACancelThatComesTooLateMovesTheVMNevertheless(t *testing.T) {
	d := doubledMigration(t)
	close(d.cancel)
	d.from.awaitCommand(t, "migrate_cancel")
	now := time.Now()
	d.from.event("STOP", "", now)
	d.to.event("RESUME", "", now)
	d.await(t)
	if d.failed != nil || d.at != d.target {
		t.Errorf("the VM is not at the target, where it runs: %v", d.failed)
	}
}

func TestAfterAFailedSwitchOverTheVMContinuesAtTheSource(t *testing.T) {
	d := doubledMigration(t)
	now := time.Now()
	d.from.event("STOP", "", now)
	d.from.event("RESUME", "", now)
	d.from.answer("query-migrate", `{"status": "failed", "error-desc": "connection lost"}`)
	d.from.event("MIGRATION", "failed", now)
	d.await(t)
	if d.failed == nil || d.failed.Error() != "the copy of the memory failed: connection lost" || d.at != d.source {
		t.Errorf("the failure is %v", d.failed)
	}
	if d.resumed.IsZero() || d.losses[len(d.losses)-1] {
		t.Error("the VM does not answer at the source")
	}
}

func TestATargetThatDiesWithTheWholeMemoryBringsTheVMBack(t *testing.T) {
	d := doubledMigration(t)
	d.from.event("STOP", "", time.Now())
	d.from.event("MIGRATION", "completed", time.Now())
	d.target.kill()
	d.from.awaitCommand(t, "cont")
	d.from.event("RESUME", "", time.Now())
	d.await(t)
	if d.failed == nil || d.at != d.source || d.resumed.IsZero() {
		t.Errorf("the VM did not continue at the source: %v", d.failed)
	}
}

func TestASourceThatDiesEndsTheMigration(t *testing.T) {
	d := doubledMigration(t)
	d.source.kill()
	d.await(t)
	if d.failed == nil || d.at != d.source {
		t.Errorf("the migration did not fail: %v", d.failed)
	}
}

func TestAHeldSwitchOverContinuesInTime(t *testing.T) {
	d := doubledMigration(t)
	d.hold = 300 * time.Millisecond
	stopped := time.Now()
	d.from.event("STOP", "", stopped)
	d.from.event("MIGRATION", "pre-switchover", stopped)
	d.from.awaitCommand(t, "migrate-continue")
	if held := time.Since(stopped); held < d.hold {
		t.Errorf("the switch-over was held for %s, not %s", held, d.hold)
	}
	d.to.event("RESUME", "", time.Now())
	d.await(t)
}

func TestAnErrorOfQEMUIsReported(t *testing.T) {
	m, double := doubledMachine(t)
	double.mu.Lock()
	double.answers["migrate"] = `{"error": {"class": "GenericError", "desc": "no such socket"}}`
	double.mu.Unlock()
	if err := m.monitor.execute("migrate", nil, nil); err == nil || err.Error() != "migrate: no such socket" {
		t.Errorf("the error is %v", err)
	}
}

func TestOldEventsMakeRoomForNewOnes(t *testing.T) {
	m, double := doubledMachine(t)
	for range maxEvents + 5 {
		double.event("NIC_RX_FILTER_CHANGED", "", time.Now())
	}
	double.event("STOP", "", time.Now())
	if _, err := m.monitor.await("STOP", 10*time.Second); err != nil {
		t.Error(err)
	}
}
