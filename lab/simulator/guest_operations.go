package main

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const ticksPerSecond = 100 // USER_HZ of /proc/PID/stat

// ListProcessesInGuest returns the real processes of the VM's guest, as VMware Tools do.
func (o *overrides) ListProcessesInGuest(_ *simulator.Context, req *types.ListProcessesInGuest) soap.HasFault {
	body := &methods.ListProcessesInGuestBody{}
	fault := o.vcenter.guestFault(req)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.ListProcessesInGuestResponse{}
	if guest := o.vcenter.guests.of(req.Vm); guest != nil {
		for _, process := range guest.processes() {
			if len(req.Pids) == 0 || slices.Contains(req.Pids, process.Pid) {
				body.Res.Returnval = append(body.Res.Returnval, process)
			}
		}
	}
	return body
}

// guestFault is the fault with which guest operations fail: power, Tools or login; the Tools of a frozen guest do not answer.
func (v *vcenter) guestFault(req *types.ListProcessesInGuest) types.BaseMethodFault {
	vm := v.inventory.vm(req.Vm)
	if vm == nil {
		return &types.ManagedObjectNotFound{Obj: req.Vm}
	}
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: vm.Runtime.PowerState,
		}
	}
	guest := v.guests.of(req.Vm)
	if spec := v.inventory.vmSpec(vm); !spec.hasTools() || (guest != nil && (guest.isFrozen() || !guest.hasTools())) {
		return &types.GuestOperationsUnavailable{}
	}
	login, ok := req.Auth.(*types.NamePasswordAuthentication)
	if !ok || login.Username != v.config.GuestLogin.User || login.Password != v.config.GuestLogin.Password {
		return &types.InvalidGuestLogin{}
	}
	return nil
}

// processes are the living processes of the guest's process group.
func (g *guestProcess) processes() []types.GuestProcessInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.command == nil {
		return nil
	}
	boot := bootTime()
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var found []types.GuestProcessInfo
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// After the name in parentheses: state, parent, group, ... and as the 20th the start in ticks since boot.
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		if len(fields) < 20 || fields[2] != strconv.Itoa(g.command.Process.Pid) || fields[0] == "Z" {
			continue
		}
		if process, ok := processInfo(filepath.Dir(file), fields[19], boot); ok {
			found = append(found, process)
		}
	}
	return found
}

func processInfo(folder, started string, boot time.Time) (types.GuestProcessInfo, bool) {
	pid, _ := strconv.ParseInt(filepath.Base(folder), 10, 64)
	ticks, err := strconv.ParseInt(started, 10, 64)
	command, err2 := os.ReadFile(filepath.Join(folder, "cmdline"))
	name, err3 := os.ReadFile(filepath.Join(folder, "comm"))
	if err != nil || err2 != nil || err3 != nil {
		return types.GuestProcessInfo{}, false
	}
	// Whole seconds, as Tools report them.
	start := boot.Add(time.Duration(ticks) * time.Second / ticksPerSecond).Truncate(time.Second)
	return types.GuestProcessInfo{
		Name:      strings.TrimSpace(string(name)),
		Pid:       pid,
		Owner:     owner(folder),
		CmdLine:   strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " ")),
		StartTime: start,
	}, true
}

func owner(folder string) string {
	info, err := os.Stat(folder)
	if err != nil {
		return ""
	}
	id := fmt.Sprint(info.Sys().(*syscall.Stat_t).Uid)
	if found, err := user.LookupId(id); err == nil {
		return found.Username
	}
	return id
}

// bootTime is read from the line btime of /proc/stat.
func bootTime() time.Time {
	data, _ := os.ReadFile("/proc/stat")
	for _, line := range strings.Split(string(data), "\n") {
		if seconds, ok := strings.CutPrefix(line, "btime "); ok {
			if value, err := strconv.ParseInt(seconds, 10, 64); err == nil {
				return time.Unix(value, 0).UTC()
			}
		}
	}
	return time.Unix(0, 0).UTC()
}
