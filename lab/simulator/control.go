package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	somebody          = "somebody@vsphere.local" // the user of what a person would do
	maxTimes          = 10_000
	maxStunSeconds    = 3600
	maxMbit           = 100_000_000
	maxGB             = 1_000_000_000
	maxLatencyMS      = 60_000
	maxNameCharacters = 80 // vCenter's own limit
)

// control is the control API of one vCenter: it does what a person or a broken cable would do, and reports what truly happened.
type control struct {
	vcenter *vcenter
	stop    func()
}

// route is one path of the API. A POST gets an example of its body, which errors show.
type route struct {
	method, path, example string
	answer                func(*control, *request) (any, error)
}

func routes() []route {
	get := func(path string, read func(*control) any) route {
		return route{http.MethodGet, path, "", func(c *control, r *request) (any, error) { return read(c), nil }}
	}
	post := func(path, example string, act func(*control, *request) error) route {
		return route{http.MethodPost, path, example, func(c *control, r *request) (any, error) {
			return map[string]bool{"ok": true}, act(c, r)
		}}
	}
	return []route{
		get("/v1/state", (*control).state),
		get("/v1/calls", func(c *control) any { return c.vcenter.calls.counted() }),
		get("/v1/privileges", func(c *control) any { return c.vcenter.access.demandedPrivileges() }),
		post("/v1/calls/reset", `{}`, (*control).resetCalls),
		post("/v1/faults", `{"vm": "ML-cpu-vm-01", "fault": "NoPermission", "times": 1}`, (*control).injectFault),
		post("/v1/hosts/{name}", `{"connection": "disconnected"}`, (*control).connectHost),
		post("/v1/hosts/{name}/fail", `{"seconds": 60}`, (*control).failHost),
		post("/v1/hosts/{name}/alarm", `{"alarm": "red", "times": 1}`, (*control).setAlarm),
		{http.MethodGet, "/v1/guests/{name}/gaps", "", (*control).gapsOfGuest},
		post("/v1/guests/{name}", `{"action": "stun", "seconds": 0.5}`, (*control).actOnGuest),
		post("/v1/vms/{name}", `{"action": "move", "target": "esx-01"}`, (*control).actOnVM),
		post("/v1/drs", `{}`, (*control).runDRS),
		post("/v1/datastores/{name}", `{"free_gb": 10}`, (*control).fillDatastore),
		post("/v1/link", `{"mbit": 10000}`, (*control).setLink),
		post("/v1/wan", `{"vcenter": "cloud", "state": "down", "mbit": 5000, "latency_ms": 20}`, (*control).setWAN),
		post("/v1/certificate", `{}`, (*control).renewCertificate),
		post("/v1/sessions/expire", `{}`, (*control).expireSessions),
		post("/v1/outage", `{"how": "unavailable", "seconds": 5}`, (*control).breakConnections),
		post("/v1/calls/fail", `{"call": "RelocateVM_Task", "how": "lost", "times": 1}`, (*control).failCalls),
		post("/v1/tasks", `{"call": "EnterMaintenanceMode_Task", "how": "fails", "seconds": 5, "fault": "Timedout", "times": 1}`, (*control).troubleTasks),
		post("/v1/calls/refuse", `{"call": "CheckRelocate_Task", "fault": "NotSupported", "times": 1}`, (*control).refuseCalls),
		post("/v1/restart", `{"seconds": 30}`, (*control).restart),
		post("/v1/kill", `{"seconds": 30}`, (*control).kill),
		post("/v1/hide", `{"object": "esx-01", "paths": ["runtime.connectionState"], "fault": "NoPermission"}`, (*control).hide),
		post("/v1/shutdown", `{}`, (*control).shutdown),
	}
}

// controlHandler is the control API of all vCenters.
func controlHandler(peers *peers, stop func()) http.Handler {
	mux, routes := http.NewServeMux(), routes()
	var known []string
	for _, route := range routes {
		known = append(known, route.method+" "+route.path)
		mux.HandleFunc(route.path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != route.method {
				w.Header().Set("Allow", route.method)
				text := fmt.Sprintf("%s does not answer %s; use %s", route.path, r.Method, route.method)
				fail(w, &problem{http.StatusMethodNotAllowed, text})
				return
			}
			answer, err := perform(peers, stop, route, w, r)
			if err != nil {
				fail(w, err)
				return
			}
			reply(w, http.StatusOK, answer)
		})
	}
	unknown := func(w http.ResponseWriter, r *http.Request) {
		text := fmt.Sprintf("no request %s %.100q; use one of: %s", r.Method, r.URL.Path, strings.Join(known, ", "))
		fail(w, &problem{http.StatusNotFound, text})
	}
	mux.HandleFunc("/", unknown)
	return recovering(func(w http.ResponseWriter, r *http.Request) {
		// The mux would redirect such a path, and clients send a redirected POST again.
		if r.URL.Path != path.Clean(r.URL.Path) {
			unknown(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// recovering answers a panic with an error, and logs it.
func recovering(handle http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if cause := recover(); cause != nil {
				log.Printf("panic in %s %.100q: %v\n%s", r.Method, r.URL.Path, cause, debug.Stack())
				fail(w, fmt.Errorf("internal error of the lab (%v); see vcenter.log", cause))
			}
		}()
		handle(w, r)
	})
}

func perform(peers *peers, stop func(), route route, w http.ResponseWriter, r *http.Request) (any, error) {
	parsed, err := parse(route, w, r)
	if err != nil {
		return nil, err
	}
	vcenter := peers.named(parsed.vcenter)
	if vcenter == nil {
		var known []string
		for _, each := range peers.all {
			known = append(known, each.config.VCenter.Name)
		}
		text := fmt.Sprintf("no vCenter %.100q; use one of: %s", parsed.vcenter, strings.Join(known, ", "))
		return nil, &problem{http.StatusNotFound, text}
	}
	return route.answer(&control{vcenter: vcenter, stop: stop}, parsed)
}

func serveControl(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second}
	log.Printf("the control API has ended: %v", server.Serve(listener))
}

// fail answers with the status of a problem, or with 500 if the error is the lab's own.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if wrong, ok := err.(*problem); ok {
		status = wrong.status
	}
	reply(w, status, map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func (c *control) state() any {
	// Before the VMs: a move that has ended has its VM at the target.
	inventory, moves := c.vcenter.inventory, c.vcenter.moves.recorded()
	vms, names := map[string]any{}, map[string][]string{}
	for _, vm := range inventory.vms() {
		view, host := inventory.view(vm), ""
		if found := inventory.host(view.host); found != nil {
			host = found.Name
			names[host] = append(names[host], view.name)
		}
		entry := map[string]any{
			"host": host, "power": view.power, "connection": view.connection, "moid": vm.Self.Value,
			"folder": inventory.nameOf(view.folder), "pool": inventory.nameOf(view.pool),
			"guest_address": inventory.vmSpec(vm).Guest.Address,
			"freezes":       []Freeze{}, "guest": map[string]any{"state": "none"},
			"storage": c.storageOf(vm), "policies": c.vcenter.policies.state(vm),
		}
		if guest := c.vcenter.guests.of(vm.Self); guest != nil {
			entry["guest"], entry["freezes"] = guest.state(), guest.recorded()
		}
		vms[view.name] = entry
	}
	hosts := map[string]any{}
	for _, host := range inventory.hosts() {
		slices.Sort(names[host.Name])
		hosts[host.Name] = c.hostState(host, names[host.Name])
	}
	var wan any
	if c.vcenter.wan != nil {
		wan = c.vcenter.wan.state()
	}
	return map[string]any{
		"vcenter": c.vcenter.config.VCenter.Name, "wan": wan, "time_scale": c.vcenter.config.TimeScale,
		"hosts": hosts, "vms": vms, "moves": moves, "restarts": c.vcenter.failover.recorded(), "datastores": c.datastores(),
	}
}

// storageOf names the datastore of each part of a VM.
func (c *control) storageOf(vm *simulator.VirtualMachine) map[string]string {
	storage, found := c.vcenter.storage, map[string]string{}
	for part, ref := range storage.layout(vm) {
		if datastore := storage.datastore(ref); datastore != nil {
			found[storage.partName(vm, part)] = datastore.Name
		}
	}
	return found
}

func (c *control) datastores() map[string]any {
	found := map[string]any{}
	for _, datastore := range all[*simulator.Datastore](c.vcenter.inventory, "Datastore") {
		used, peak := c.vcenter.slots.of(datastoreSlots(datastore.Name))
		found[datastore.Name] = map[string]any{
			"moid": datastore.Self.Value, "free_gb": float64(datastore.Summary.FreeSpace) / gib,
			"slots": map[string]int{"used": used, "peak": peak},
		}
	}
	return found
}

// fillDatastore sets the free space of a datastore.
func (c *control) fillDatastore(r *request) error {
	free := r.number("free_gb", maxGB)
	if err := r.check(); err != nil {
		return err
	}
	datastore := c.vcenter.storage.named(r.name)
	if datastore == nil {
		return &problem{http.StatusNotFound, fmt.Sprintf("no datastore %.100q; GET /v1/state lists the datastores", r.name)}
	}
	c.vcenter.storage.setFree(c.vcenter.inventory.as("lab"), datastore, func(int64) int64 { return int64(free * gib) })
	return nil
}

func (c *control) hostState(host *simulator.HostSystem, vms []string) map[string]any {
	used, peak := c.vcenter.slots.of(hostSlots(host.Name))
	maintenance := "normal"
	if host.Runtime.InMaintenanceMode {
		maintenance = "in"
	} else if c.vcenter.maintenance.isEntering(host.Self.Value) {
		maintenance = "entering"
	}
	return map[string]any{
		"fault_domain": c.vcenter.inventory.hostSpec(host.Name).FaultDomain,
		"cluster":      c.vcenter.inventory.hostSpec(host.Name).Cluster,
		"connection":   host.Runtime.ConnectionState, "moid": host.Self.Value,
		"maintenance": maintenance, "slots": map[string]int{"used": used, "peak": peak}, "vms": vms,
		"failover": c.vcenter.failover.isGoingOn(host),
	}
}

func (c *control) resetCalls(r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.calls.reset()
	return nil
}

func (c *control) injectFault(r *request) error {
	name, fault, times := r.text("vm"), r.text("fault"), r.count("times", maxTimes, 1)
	if err := r.check(); err != nil {
		return err
	}
	vm, err := c.findVM(name)
	if err != nil {
		return err
	}
	if newFault(fault, vm.Self) == nil {
		return badRequest("fault is %.100q, which is not a fault class of vSphere; use one such as NoPermission", fault)
	}
	c.vcenter.faults.add(vm.Self.Value, fault, times)
	return nil
}

func (c *control) connectHost(r *request) error {
	connection := r.choice("connection", "connected", "disconnected")
	if err := r.check(); err != nil {
		return err
	}
	host, err := c.findHost("the path", r.name)
	if err != nil {
		return err
	}
	if connection == "connected" {
		c.vcenter.failover.boot(host)
	}
	ctx, state := c.vcenter.inventory.as("lab"), types.HostSystemConnectionState(connection)
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{
			{Name: "runtime.connectionState", Val: state}, {Name: "summary.runtime.connectionState", Val: state},
		})
	})
	return nil
}

// failHost takes the power from a host for some time.
func (c *control) failHost(r *request) error {
	seconds := r.number("seconds", maxOutageSeconds)
	if err := r.check(); err != nil {
		return err
	}
	host, err := c.findHost("the path", r.name)
	if err != nil {
		return err
	}
	if !c.vcenter.failover.fail(host) {
		return conflict("host %s does not run now, or has a VM with qemu; choose another one", r.name)
	}
	time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() { c.vcenter.failover.boot(host) })
	return nil
}

func (c *control) setAlarm(r *request) error {
	colour, times := r.choice("alarm", "green", "yellow", "red"), r.count("times", maxTimes, 1)
	if err := r.check(); err != nil {
		return err
	}
	host, err := c.findHost("the path", r.name)
	if err != nil {
		return err
	}
	c.vcenter.alarms.set(host, types.ManagedEntityStatus(colour), times)
	return nil
}

func (c *control) actOnGuest(r *request) error {
	action, seconds := r.choice("action", "kill", "restart", "freeze", "thaw", "stun", "hold", "kill_target"), 0.0
	if action == "stun" || action == "hold" {
		seconds = r.number("seconds", maxStunSeconds)
	}
	if err := r.check(); err != nil {
		return err
	}
	vm, err := c.findVM(r.name)
	if err != nil {
		return err
	}
	guest := c.vcenter.guests.of(vm.Self)
	if guest == nil {
		return conflict("VM %s runs no server; choose one with h2o3 or qemu in the topology, and start the lab without --no-guests", r.name)
	}
	if action == "hold" || action == "kill_target" {
		return c.actOnMigration(vm, action, time.Duration(seconds*float64(time.Second)))
	}
	switch action {
	case "kill":
		guest.kill()
	case "restart":
		guest.kill()
		time.Sleep(200 * time.Millisecond)
		return guest.start()
	case "thaw":
		guest.thaw("control")
	default:
		if !guest.freeze() {
			return conflict("the guest of VM %s is frozen, dead or moving; use thaw or restart first, or wait", r.name)
		}
		if action == "stun" {
			time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() { guest.thaw("stun") })
		}
	}
	return nil
}

// gapsOfGuest reports when the training of a real VM did not beat.
func (c *control) gapsOfGuest(r *request) (any, error) {
	vm, err := c.findVM(r.name)
	if err != nil {
		return nil, err
	}
	live := c.vcenter.guests.live(vm.Self)
	if live == nil {
		return nil, conflict("VM %s is not a real VM; choose one with qemu in the topology", vm.Name)
	}
	return map[string]any{"gaps": live.beats.gaps()}, nil
}

// actOnMigration prepares or breaks the live migration of a real VM.
func (c *control) actOnMigration(vm *simulator.VirtualMachine, action string, hold time.Duration) error {
	live := c.vcenter.guests.live(vm.Self)
	switch {
	case live == nil:
		return conflict("VM %s is not a real VM; choose one with qemu in the topology", vm.Name)
	case action == "hold":
		live.holdNext(hold)
	case !live.killTarget():
		return conflict("VM %s does not move now; start a move first", vm.Name)
	}
	return nil
}

func (c *control) actOnVM(r *request) error {
	action := r.choice("action", "power_off", "power_on", "delete", "move", "rename")
	target, instant, name := "", false, ""
	switch action {
	case "move":
		target, instant = r.text("target"), r.flag("instant")
	case "rename":
		name = r.text("name")
	}
	if err := r.check(); err != nil {
		return err
	}
	vm, err := c.findVM(r.name)
	if err != nil {
		return err
	}
	inventory, ctx := c.vcenter.inventory, c.vcenter.inventory.as(somebody)
	switch action {
	case "power_off":
		c.setPower(vm, types.VirtualMachinePowerStatePoweredOff)
		if guest := c.vcenter.guests.of(vm.Self); guest != nil {
			guest.kill()
		}
	case "power_on":
		c.setPower(vm, types.VirtualMachinePowerStatePoweredOn)
	case "delete":
		if guest := c.vcenter.guests.of(vm.Self); guest != nil {
			guest.kill()
		}
		inventory.remove(ctx, vm)
	case "rename":
		ctx.WithLock(vm, func() { ctx.Update(vm, []types.PropertyChange{{Name: "name", Val: escaped(name)}}) })
	case "move":
		return c.move(vm, target, instant)
	}
	return nil
}

func (c *control) setPower(vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) {
	ctx := c.vcenter.inventory.as(somebody)
	changes := []types.PropertyChange{{Name: "runtime.powerState", Val: state}, {Name: "summary.runtime.powerState", Val: state}}
	if state == types.VirtualMachinePowerStatePoweredOn {
		changes = append(changes, types.PropertyChange{Name: "runtime.bootTime", Val: types.NewTime(time.Now())})
	}
	ctx.WithLock(vm, func() { ctx.Update(vm, changes) })
	c.vcenter.inventory.refreshLoad()
}

func (c *control) move(vm *simulator.VirtualMachine, target string, instant bool) error {
	host, err := c.findHost("target", target)
	if err != nil {
		return err
	}
	inventory := c.vcenter.inventory
	spec := inventory.toHost(vm, host)
	if instant {
		to, fault := c.vcenter.moves.destination(vm, spec)
		if fault != nil {
			return conflict("vCenter refuses this move now: %s", faultName(fault))
		}
		c.vcenter.moves.placeAtOnce(inventory.as(somebody), vm, inventory.host(*vm.Runtime.Host), to)
		return nil
	}
	if _, fault := c.vcenter.moves.start(starter{user: somebody}, vm.Self, spec); fault != nil {
		return conflict("vCenter refuses this move now: %s", faultName(fault))
	}
	return nil
}

func (c *control) setLink(r *request) error {
	mbit := r.count("mbit", maxMbit, 0)
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.links.set(mbit)
	return nil
}

// setWAN changes the line to the first vCenter: what the request does not name stays as it is.
func (c *control) setWAN(r *request) error {
	state, mbit, latency := "", 0, -1.0
	if r.has("state") {
		state = r.choice("state", "up", "down")
	}
	if r.has("mbit") {
		mbit = r.count("mbit", maxMbit, 0)
	}
	if r.has("latency_ms") {
		latency = r.number("latency_ms", maxLatencyMS)
	}
	if err := r.check(); err != nil {
		return err
	}
	if c.vcenter.wan == nil {
		return conflict("vCenter %s has no line to itself; name another one in vcenter", c.vcenter.config.VCenter.Name)
	}
	c.vcenter.wan.change(func(w *wan) {
		if state != "" {
			w.down = state == "down"
		}
		if mbit > 0 {
			w.mbit = mbit
		}
		if latency >= 0 {
			w.latency = time.Duration(latency * float64(time.Millisecond))
		}
	})
	return nil
}

// runDRS makes one pass of DRS.
func (c *control) runDRS(r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	on := false
	for _, drs := range c.vcenter.drs {
		on = drs.pass() || on
	}
	if !on {
		return conflict("DRS is off; choose manual, partial or full for drs in the topology, or switch it on in vCenter")
	}
	return nil
}

func (c *control) expireSessions(r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.sessions.expire()
	return nil
}

// breakConnections makes every call fail for a time.
func (c *control) breakConnections(r *request) error {
	how, seconds := r.choice("how", unavailable, silent), r.number("seconds", maxOutageSeconds)
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.outages.add(&failure{how: how, until: time.Now().Add(time.Duration(seconds * float64(time.Second)))})
	return nil
}

// failCalls makes the next calls of one method fail.
func (c *control) failCalls(r *request) error {
	call, how, times := r.text("call"), r.choice("how", unavailable, lost, late), r.count("times", maxTimes, 1)
	seconds := 0.0
	if how == late {
		seconds = r.number("seconds", maxOutageSeconds)
	}
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.outages.add(&failure{how: how, call: call, times: times, after: time.Duration(seconds * float64(time.Second))})
	return nil
}

// troubleTasks lets something befall the next tasks of one call.
func (c *control) troubleTasks(r *request) error {
	call, how := r.choice("call", troubled...), r.choice("how", slow, fails, cancelled)
	seconds, times, fault := r.number("seconds", maxOutageSeconds), r.count("times", maxTimes, 1), ""
	if how == fails {
		fault = r.text("fault")
	}
	if err := r.check(); err != nil {
		return err
	}
	if how == fails && newFault(fault, c.vcenter.inventory.rootFolder()) == nil {
		return badRequest("fault is %.100q, which is not a fault class of vSphere; use one such as Timedout", fault)
	}
	if how == cancelled && !slices.Contains(cancellable, call) {
		return badRequest("nobody can cancel a task of %s; use one of %s", call, strings.Join(cancellable, ", "))
	}
	c.vcenter.tasks.troubles.add(call, trouble{how: how, after: time.Duration(seconds * float64(time.Second)), fault: fault}, times)
	return nil
}

// refuseCalls makes the next calls of one method end with a fault.
func (c *control) refuseCalls(r *request) error {
	call, fault, times := r.text("call"), r.text("fault"), r.count("times", maxTimes, 1)
	if err := r.check(); err != nil {
		return err
	}
	if newFault(fault, c.vcenter.inventory.rootFolder()) == nil {
		return badRequest("fault is %.100q, which is not a fault class of vSphere; use one such as NotSupported", fault)
	}
	c.vcenter.faults.add(callFaults(call), fault, times)
	return nil
}

// renewCertificate lets the vCenter show another certificate of its CA to new connections.
func (c *control) renewCertificate(r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	return c.vcenter.identity.renew(false)
}

// restart restarts the vCenter; the hosts and their VMs continue.
func (c *control) restart(r *request) error {
	seconds := r.number("seconds", maxOutageSeconds)
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.restart(time.Duration(seconds * float64(time.Second)))
	return nil
}

// kill ends the vCenter for some time; the hosts and their VMs continue.
func (c *control) kill(r *request) error {
	seconds := r.number("seconds", maxOutageSeconds)
	if err := r.check(); err != nil {
		return err
	}
	c.vcenter.kill(time.Duration(seconds * float64(time.Second)))
	return nil
}

// hide hides properties of a host, VM, cluster or datastore, or shows them again ("none").
func (c *control) hide(r *request) error {
	name, paths, class := r.text("object"), r.texts("paths"), r.text("fault")
	if err := r.check(); err != nil {
		return err
	}
	entity := c.vcenter.inventory.find(name)
	if entity == nil {
		return &problem{http.StatusNotFound, fmt.Sprintf("no object %.100q; GET /v1/state lists hosts and VMs", name)}
	}
	fault := newFault(class, entity.Reference())
	if fault == nil && class != "none" {
		return badRequest("fault is %.100q, which is not a fault class of vSphere; use one such as NoPermission, or none", class)
	}
	c.vcenter.sight.hide(entity.Reference(), paths, fault)
	return nil
}

func (c *control) shutdown(r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	time.AfterFunc(50*time.Millisecond, c.stop)
	return nil
}

func (c *control) findVM(name string) (*simulator.VirtualMachine, error) {
	if vm := c.vcenter.inventory.findVM(name); vm != nil {
		return vm, nil
	}
	return nil, &problem{http.StatusNotFound, fmt.Sprintf("no VM %.100q; GET /v1/state lists the VMs", name)}
}

func (c *control) findHost(place, name string) (*simulator.HostSystem, error) {
	if host := c.vcenter.inventory.findHost(name); host != nil {
		return host, nil
	}
	return nil, &problem{http.StatusNotFound, fmt.Sprintf("no host %.100q (%s); GET /v1/state lists the hosts", name, place)}
}
