package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// Freeze is one true stop of a guest. It lasts from the moment when every thread has stopped to just before SIGCONT,
// by the monotonic clock. That of a real VM lasts from the hypervisor's event STOP to its event RESUME.
type Freeze struct {
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Cause   string    `json:"cause"`
	// Of a real VM only. Standstill: the longest time in seconds without a beat of the training around the freeze, absent
	// until it is known; how often memory was copied, and how much.
	Standstill    *float64 `json:"standstill,omitempty"`
	Passes        int      `json:"passes,omitempty"`
	TransferredMB float64  `json:"transferred_mb,omitempty"`
}

// guestProcess is the real process of a VM, in a process group of its own.
type guestProcess struct {
	guest   Guest
	mu      sync.Mutex
	command *exec.Cmd
	frozen  time.Time
	freezes []Freeze
}

func (g *guestProcess) start() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.guest.Command) == 0 {
		return fmt.Errorf("the VM has no guest process")
	}
	log, err := os.OpenFile(g.guest.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(g.guest.Command[0], g.guest.Command[1:]...)
	command.Env = os.Environ()
	for name, value := range g.guest.Env {
		command.Env = append(command.Env, name+"="+value)
	}
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = ownGroup()
	if err := startOnLockedThread(command); err != nil {
		return err
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, command.Process.Pid, g.guest.Nice)
	g.command, g.frozen = command, time.Time{}
	go func() { _ = command.Wait() }()
	return nil
}

// signal sends a signal to the guest's process group; it reports false if there is no living process.
func (g *guestProcess) signal(signal syscall.Signal) bool {
	return g.command != nil && syscall.Kill(-g.command.Process.Pid, signal) == nil
}

func (g *guestProcess) freeze() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.frozen.IsZero() {
		return false
	}
	if !g.signal(syscall.SIGSTOP) {
		return false
	}
	// A busy machine stops threads only when they are scheduled next; the freeze begins when all have stopped.
	deadline := time.Now().Add(time.Second)
	for !stopped(g.command.Process.Pid) && time.Now().Before(deadline) {
		time.Sleep(500 * time.Microsecond)
	}
	g.frozen = time.Now()
	return true
}

// stopped reports whether every thread of a process is stopped, from the third field of /proc/PID/task/TID/stat.
func stopped(pid int) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(files) == 0 {
		return true
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		after := data[bytes.LastIndexByte(data, ')')+1:]
		if len(after) > 1 && after[1] != 'T' && after[1] != 'Z' && after[1] != 'X' {
			return false
		}
	}
	return true
}

func (g *guestProcess) thaw(cause string) float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.frozen.IsZero() {
		return 0
	}
	// Read before the signal: on a busy machine the server may answer before this thread runs again.
	seconds := time.Since(g.frozen).Seconds()
	g.signal(syscall.SIGCONT)
	g.freezes = append(g.freezes, Freeze{Started: g.frozen, Seconds: seconds, Cause: cause})
	g.frozen = time.Time{}
	return seconds
}

func (g *guestProcess) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signal(syscall.SIGKILL)
	g.frozen = time.Time{}
}

// state is what the control API reports about the process.
func (g *guestProcess) state() map[string]any {
	g.mu.Lock()
	defer g.mu.Unlock()
	name, pid := "none", 0
	if g.command != nil {
		pid = g.command.Process.Pid
		switch {
		case !g.frozen.IsZero():
			name = "frozen"
		case syscall.Kill(pid, 0) == nil:
			name = "running"
		default:
			name = "dead"
		}
	}
	return map[string]any{"state": name, "pid": pid}
}

// recorded is a copy of all freezes that have ended.
func (g *guestProcess) recorded() []Freeze {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Freeze{}, g.freezes...)
}

// hasTools reports true: the processes of the guest can be listed.
func (g *guestProcess) hasTools() bool { return true }

func (g *guestProcess) isFrozen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.frozen.IsZero()
}

// starts runs on one locked thread, because the signal of PR_SET_PDEATHSIG comes when the forking thread ends.
var starts = make(chan func())

func init() {
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
}

// ownGroup gives a process a group of its own, and ends it with this program.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func startOnLockedThread(command *exec.Cmd) error {
	done := make(chan error)
	starts <- func() { done <- command.Start() }
	return <-done
}
