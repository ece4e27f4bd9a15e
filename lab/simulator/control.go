package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// request is the union of what the control endpoint's calls take.
type request struct {
	VM         string  `json:"vm"`
	Times      int     `json:"times"`
	Fault      string  `json:"fault"`
	Connection string  `json:"connection"`
	Action     string  `json:"action"`
	Seconds    float64 `json:"seconds"`
	Mbit       int     `json:"mbit"`
	Target     string  `json:"target"`
	Name       string  `json:"name"`
	Instant    bool    `json:"instant"`
	Alarm      string  `json:"alarm"`
}

func (s *sddc) control(stop func()) http.Handler {
	mux := http.NewServeMux()
	get := func(pattern string, answer func() any) {
		mux.HandleFunc("GET "+pattern, func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, answer()) })
	}
	post := func(pattern string, act func(name string, body request) error) {
		mux.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
			var body request
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&body); err != nil && r.ContentLength > 0 {
				reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			} else if err := act(r.PathValue("name"), body); err != nil {
				reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			} else {
				reply(w, http.StatusOK, map[string]bool{"ok": true})
			}
		})
	}
	get("/v1/state", s.state)
	get("/v1/calls", s.countedCalls)
	post("/v1/calls/reset", s.resetCalls)
	get("/v1/privileges", s.demandedPrivileges)
	post("/v1/faults", s.injectFault)
	post("/v1/hosts/{name}", s.connectHost)
	post("/v1/hosts/{name}/alarm", s.raiseAlarm)
	post("/v1/guests/{name}", s.actOnGuest)
	post("/v1/vms/{name}", s.actOnVM)
	post("/v1/link", s.setLink)
	post("/v1/sessions/expire", s.expireSessions)
	post("/v1/shutdown", func(string, request) error { time.AfterFunc(50*time.Millisecond, stop); return nil })
	return mux
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (s *sddc) state() any {
	hosts, vms, names := map[string]any{}, map[string]any{}, map[string][]string{}
	for _, vm := range all[*simulator.VirtualMachine](s, "VirtualMachine") {
		host := s.host(*vm.Runtime.Host)
		names[host.Name] = append(names[host.Name], vm.Name)
		entry := map[string]any{
			"host": host.Name, "power": vm.Runtime.PowerState, "moid": vm.Self.Value,
			"guest_address": s.spec[vm.Self.Value].Guest.Address, "freezes": []Freeze{}, "guest": map[string]any{"state": "none"},
		}
		if guest := s.guests[vm.Self.Value]; guest != nil {
			entry["guest"] = guest.state()
			guest.mu.Lock()
			entry["freezes"] = append([]Freeze{}, guest.freezes...)
			guest.mu.Unlock()
		}
		vms[vm.Name] = entry
	}
	for _, host := range all[*simulator.HostSystem](s, "HostSystem") {
		used, peak := s.slots.of(host.Name)
		maintenance := "normal"
		if host.Runtime.InMaintenanceMode {
			maintenance = "in"
		} else if s.isEntering(host.Self.Value) {
			maintenance = "entering"
		}
		hosts[host.Name] = map[string]any{
			"fault_domain": s.hostSpec(host.Name).FaultDomain, "connection": host.Runtime.ConnectionState, "moid": host.Self.Value,
			"maintenance": maintenance, "slots": map[string]int{"used": used, "peak": peak}, "vms": names[host.Name],
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	moves := make([]MoveRecord, 0, len(s.moves))
	for _, move := range s.moves {
		moves = append(moves, *move)
	}
	return map[string]any{
		"vcenter": s.config.VCenter.Name, "time_scale": s.config.TimeScale, "hosts": hosts, "vms": vms, "moves": moves,
	}
}

func (s *sddc) countedCalls() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	counted := map[string]int{}
	for name, count := range s.calls {
		counted[name] = count
	}
	return counted
}

func (s *sddc) demandedPrivileges() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := map[string][]string{}
	for user, privileges := range s.demanded {
		answer[user] = slices.Sorted(maps.Keys(privileges))
	}
	return answer
}

func (s *sddc) resetCalls(string, request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = map[string]int{}
	return nil
}

func (s *sddc) findVM(name string) (*simulator.VirtualMachine, error) {
	for _, vm := range all[*simulator.VirtualMachine](s, "VirtualMachine") {
		if vm.Name == name || vm.Self.Value == name {
			return vm, nil
		}
	}
	return nil, fmt.Errorf("no VM %q", name)
}

func (s *sddc) findHost(name string) (*simulator.HostSystem, error) {
	for _, host := range all[*simulator.HostSystem](s, "HostSystem") {
		if host.Name == name || host.Self.Value == name {
			return host, nil
		}
	}
	return nil, fmt.Errorf("no host %q", name)
}

func (s *sddc) injectFault(_ string, body request) error {
	vm, err := s.findVM(body.VM)
	if err != nil {
		return err
	}
	if newFault(body.Fault, vm.Self) == nil {
		return fmt.Errorf("no fault class %q", body.Fault)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range max(1, body.Times) {
		s.faults[vm.Self.Value] = append(s.faults[vm.Self.Value], body.Fault)
	}
	return nil
}

func (s *sddc) connectHost(name string, body request) error {
	host, err := s.findHost(name)
	if err != nil {
		return err
	}
	if body.Connection != "connected" && body.Connection != "disconnected" {
		return fmt.Errorf("connection is %q, not connected or disconnected", body.Connection)
	}
	ctx, state := s.context("lab"), types.HostSystemConnectionState(body.Connection)
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
		})
	})
	return nil
}

func (s *sddc) actOnGuest(name string, body request) error {
	vm, err := s.findVM(name)
	if err != nil {
		return err
	}
	guest := s.guests[vm.Self.Value]
	if guest == nil {
		return fmt.Errorf("%s has no guest process", name)
	}
	switch body.Action {
	case "kill":
		guest.kill()
	case "restart":
		guest.kill()
		time.Sleep(200 * time.Millisecond)
		return guest.start()
	case "freeze":
		if !guest.freeze() {
			return errors.New("the guest is frozen or dead already")
		}
	case "thaw":
		guest.thaw("control")
	case "stun":
		if !guest.freeze() {
			return errors.New("the guest is frozen or dead already")
		}
		time.AfterFunc(time.Duration(body.Seconds*float64(time.Second)), func() { guest.thaw("stun") })
	default:
		return fmt.Errorf("action is %q, not kill, restart, freeze, thaw or stun", body.Action)
	}
	return nil
}

func (s *sddc) actOnVM(name string, body request) error {
	vm, err := s.findVM(name)
	if err != nil {
		return err
	}
	ctx := s.context("somebody@vsphere.local")
	switch body.Action {
	case "power_off", "power_on":
		state := types.VirtualMachinePowerState(map[string]string{"power_off": "poweredOff", "power_on": "poweredOn"}[body.Action])
		ctx.WithLock(vm, func() {
			changes := []types.PropertyChange{{Name: "runtime.powerState", Val: state}, {Name: "summary.runtime.powerState", Val: state}}
			if body.Action == "power_on" {
				changes = append(changes, types.PropertyChange{Name: "runtime.bootTime", Val: types.NewTime(time.Now())})
			}
			ctx.Update(vm, changes)
		})
		if guest := s.guests[vm.Self.Value]; guest != nil && body.Action == "power_off" {
			guest.kill()
		}
		s.refreshLoad()
	case "delete":
		s.remove(ctx, vm)
	case "rename":
		ctx.WithLock(vm, func() { ctx.Update(vm, []types.PropertyChange{{Name: "name", Val: body.Name}}) })
	case "move":
		target, err := s.findHost(body.Target)
		if err != nil {
			return err
		}
		if body.Instant {
			s.place(ctx, vm, s.host(*vm.Runtime.Host), target)
			return nil
		}
		_, fault := (&overrides{sddc: s}).relocate("somebody@vsphere.local", vm.Self, &target.Self, vmotionCost)
		if fault != nil {
			return errors.New(faultName(fault))
		}
	default:
		return fmt.Errorf("action is %q, not power_off, power_on, delete, move or rename", body.Action)
	}
	return nil
}

func (s *sddc) remove(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	if guest := s.guests[vm.Self.Value]; guest != nil {
		guest.kill()
	}
	host := s.host(*vm.Runtime.Host)
	folder := s.registry.Get(*vm.Parent).(*simulator.Folder)
	pool := s.registry.Get(*vm.ResourcePool).(*simulator.ResourcePool)
	s.registry.RemoveReference(ctx, host, &host.Vm, vm.Self)
	s.registry.RemoveReference(ctx, folder, &folder.ChildEntity, vm.Self)
	s.registry.RemoveReference(ctx, pool, &pool.Vm, vm.Self)
	s.registry.Remove(ctx, vm.Self)
	s.refreshLoad()
}

func (s *sddc) setLink(_ string, body request) error {
	if body.Mbit <= 0 {
		return errors.New("mbit must be above 0")
	}
	s.mu.Lock()
	s.link = body.Mbit
	s.mu.Unlock()
	return nil
}

func (s *sddc) expireSessions(string, request) error {
	s.mu.Lock()
	keys := make([]string, 0, len(s.sessions))
	for key := range s.sessions {
		keys = append(keys, key)
	}
	s.sessions = map[string]bool{}
	s.mu.Unlock()
	manager := s.registry.SessionManager()
	// One by one: a session that is logged out already would keep the others alive.
	for _, key := range keys {
		manager.TerminateSession(s.context("lab"), &types.TerminateSession{This: manager.Self, SessionId: []string{key}})
	}
	return nil
}
