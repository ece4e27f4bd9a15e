package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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

func (v *vcenter) control(stop func()) http.Handler {
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
	get("/v1/state", v.state)
	get("/v1/calls", func() any { return v.calls.counted() })
	post("/v1/calls/reset", v.resetCalls)
	get("/v1/privileges", func() any { return v.access.demandedPrivileges() })
	post("/v1/faults", v.injectFault)
	post("/v1/hosts/{name}", v.connectHost)
	post("/v1/hosts/{name}/alarm", v.raiseAlarm)
	post("/v1/guests/{name}", v.actOnGuest)
	post("/v1/vms/{name}", v.actOnVM)
	post("/v1/link", v.setLink)
	post("/v1/sessions/expire", v.expireSessions)
	post("/v1/shutdown", func(string, request) error { time.AfterFunc(50*time.Millisecond, stop); return nil })
	return mux
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (v *vcenter) state() any {
	hosts, vms, names := map[string]any{}, map[string]any{}, map[string][]string{}
	for _, vm := range v.inventory.vms() {
		host := v.inventory.host(*vm.Runtime.Host)
		names[host.Name] = append(names[host.Name], vm.Name)
		entry := map[string]any{
			"host": host.Name, "power": vm.Runtime.PowerState, "moid": vm.Self.Value,
			"guest_address": v.inventory.vmSpec(vm).Guest.Address, "freezes": []Freeze{}, "guest": map[string]any{"state": "none"},
		}
		if guest := v.guests.of(vm.Self); guest != nil {
			entry["guest"] = guest.state()
			entry["freezes"] = guest.recorded()
		}
		vms[vm.Name] = entry
	}
	for _, host := range v.inventory.hosts() {
		used, peak := v.slots.of(host.Name)
		maintenance := "normal"
		if host.Runtime.InMaintenanceMode {
			maintenance = "in"
		} else if v.maintenance.isEntering(host.Self.Value) {
			maintenance = "entering"
		}
		hosts[host.Name] = map[string]any{
			"fault_domain": v.inventory.hostSpec(host.Name).FaultDomain, "connection": host.Runtime.ConnectionState, "moid": host.Self.Value,
			"maintenance": maintenance, "slots": map[string]int{"used": used, "peak": peak}, "vms": names[host.Name],
		}
	}
	return map[string]any{
		"vcenter": v.config.VCenter.Name, "time_scale": v.config.TimeScale, "hosts": hosts, "vms": vms, "moves": v.moves.recorded(),
	}
}

func (v *vcenter) resetCalls(string, request) error {
	v.calls.reset()
	return nil
}

func (v *vcenter) findVM(name string) (*simulator.VirtualMachine, error) {
	for _, vm := range v.inventory.vms() {
		if vm.Name == name || vm.Self.Value == name {
			return vm, nil
		}
	}
	return nil, fmt.Errorf("no VM %q", name)
}

func (v *vcenter) findHost(name string) (*simulator.HostSystem, error) {
	for _, host := range v.inventory.hosts() {
		if host.Name == name || host.Self.Value == name {
			return host, nil
		}
	}
	return nil, fmt.Errorf("no host %q", name)
}

func (v *vcenter) injectFault(_ string, body request) error {
	vm, err := v.findVM(body.VM)
	if err != nil {
		return err
	}
	if newFault(body.Fault, vm.Self) == nil {
		return fmt.Errorf("no fault class %q", body.Fault)
	}
	v.faults.add(vm.Self.Value, body.Fault, max(1, body.Times))
	return nil
}

func (v *vcenter) connectHost(name string, body request) error {
	host, err := v.findHost(name)
	if err != nil {
		return err
	}
	if body.Connection != "connected" && body.Connection != "disconnected" {
		return fmt.Errorf("connection is %q, not connected or disconnected", body.Connection)
	}
	ctx, state := v.inventory.as("lab"), types.HostSystemConnectionState(body.Connection)
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
		})
	})
	return nil
}

func (v *vcenter) actOnGuest(name string, body request) error {
	vm, err := v.findVM(name)
	if err != nil {
		return err
	}
	guest := v.guests.of(vm.Self)
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

func (v *vcenter) actOnVM(name string, body request) error {
	vm, err := v.findVM(name)
	if err != nil {
		return err
	}
	ctx := v.inventory.as("somebody@vsphere.local")
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
		if guest := v.guests.of(vm.Self); guest != nil && body.Action == "power_off" {
			guest.kill()
		}
		v.inventory.refreshLoad()
	case "delete":
		if guest := v.guests.of(vm.Self); guest != nil {
			guest.kill()
		}
		v.inventory.remove(ctx, vm)
	case "rename":
		ctx.WithLock(vm, func() { ctx.Update(vm, []types.PropertyChange{{Name: "name", Val: body.Name}}) })
	case "move":
		target, err := v.findHost(body.Target)
		if err != nil {
			return err
		}
		if body.Instant {
			v.inventory.place(ctx, vm, v.inventory.host(*vm.Runtime.Host), target)
			return nil
		}
		_, fault := v.moves.start("somebody@vsphere.local", vm.Self, &target.Self, vmotionCost)
		if fault != nil {
			return errors.New(faultName(fault))
		}
	default:
		return fmt.Errorf("action is %q, not power_off, power_on, delete, move or rename", body.Action)
	}
	return nil
}

func (v *vcenter) setLink(_ string, body request) error {
	if body.Mbit <= 0 {
		return errors.New("mbit must be above 0")
	}
	v.links.set(body.Mbit)
	return nil
}

func (v *vcenter) raiseAlarm(name string, body request) error {
	host, err := v.findHost(name)
	if err != nil {
		return err
	}
	to := types.ManagedEntityStatus(body.Alarm)
	if to != types.ManagedEntityStatusGreen && to != types.ManagedEntityStatusYellow && to != types.ManagedEntityStatusRed {
		return fmt.Errorf("alarm is %q, not green, yellow or red", body.Alarm)
	}
	v.alarms.set(host, to, max(1, body.Times))
	return nil
}

func (v *vcenter) expireSessions(string, request) error {
	v.sessions.expire()
	return nil
}
