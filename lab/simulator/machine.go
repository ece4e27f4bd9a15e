package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	monitorSeconds = 30 * time.Second
	plugSocket     = "network"
	beatSocket     = "beats"
)

// sockets is the folder of a VM's unix sockets. Paths of sockets have at most 107 bytes, so this process reaches the folder by
// its descriptor; QEMU runs in the folder and uses bare names.
type sockets struct {
	folder *os.File
}

func openSockets(path string) (*sockets, error) {
	folder, err := os.Open(path)
	return &sockets{folder}, err
}

func (s *sockets) path(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", s.folder.Fd(), name)
}

func (s *sockets) listen(name string) (net.Listener, error) {
	_ = os.Remove(s.path(name))
	return net.Listen("unix", s.path(name))
}

// machine is one QEMU process: a VM as it is on one host.
type machine struct {
	name    string
	netdev  string // what its network card is plugged into
	command *exec.Cmd
	monitor *qmp
	ended   chan struct{} // closed when the process has ended
}

// launch starts a QEMU process. An incoming one waits for the memory of a VM; the other boots the VM.
func launch(name string, guest *Guest, places *sockets, netdev string, incoming bool) (*machine, error) {
	live := guest.Live
	log, err := os.OpenFile(filepath.Join(live.Folder, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	_ = os.Remove(places.path(name + ".qmp"))
	arguments := append([]string{}, live.Command[1:]...)
	arguments = append(arguments,
		"-name", name,
		"-netdev", netdev,
		"-serial", "file:"+name+".console",
		"-chardev", "socket,id=beats,path="+beatSocket, "-serial", "chardev:beats",
		"-qmp", "unix:"+name+".qmp,server=on,wait=off",
	)
	if incoming {
		arguments = append(arguments, "-incoming", "defer")
	}
	command := exec.Command(live.Command[0], arguments...)
	command.Dir, command.Env = live.Folder, os.Environ()
	for key, value := range guest.Env {
		command.Env = append(command.Env, key+"="+value)
	}
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = ownGroup()
	if err := startOnLockedThread(command); err != nil {
		return nil, err
	}
	_ = syscall.Setpriority(syscall.PRIO_PGRP, command.Process.Pid, guest.Nice)
	m := &machine{name: name, netdev: netdev, command: command, ended: make(chan struct{})}
	go func() {
		_ = command.Wait()
		close(m.ended)
	}()
	if m.monitor, err = m.connect(places.path(name + ".qmp")); err != nil {
		m.kill()
		return nil, fmt.Errorf("QEMU of %s did not start: %w; see %s", guest.Hostname, err, log.Name())
	}
	return m, nil
}

// connect waits for the monitor of the process.
func (m *machine) connect(path string) (*qmp, error) {
	for end := time.Now().Add(monitorSeconds); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("unix", path); err == nil {
			return newQMP(conn)
		}
		if m.isGone() {
			return nil, errGone
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("no monitor in %s", monitorSeconds)
		}
	}
}

func (m *machine) isGone() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// kill ends the process and waits for its end.
func (m *machine) kill() {
	_ = syscall.Kill(-m.command.Process.Pid, syscall.SIGKILL)
	<-m.ended
}
