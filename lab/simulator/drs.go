package main

import (
	"context"
	"log"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Simulated seconds; the lab's own figures, because no document states those of a vCenter.
const (
	drsReactionSeconds = 5  // from the start of a host's task for maintenance mode to the first moves
	drsRetrySeconds    = 15 // between two attempts while the host is entering
)

// drs is the Distributed Resource Scheduler of a cluster: it empties hosts that enter maintenance mode, corrects broken rules
// and balances the load, by moves or by recommendations.
type drs struct {
	inventory   *inventory
	cluster     *simulator.ClusterComputeResource
	events      events
	clock       clock
	maintenance *maintenance
	moves       *moves

	mu         sync.Mutex // held for a whole pass
	advice     []advice
	counter    int
	emptying   sync.Mutex                 // held while evacuating is used
	evacuating map[string]map[string]bool // host MoID -> VMs whose missing recommendation has been posted
}

func newDRS(v *vcenter, cluster *simulator.ClusterComputeResource) *drs {
	return &drs{
		inventory: v.inventory, cluster: cluster, events: v.events, clock: v.clock, maintenance: v.maintenance, moves: v.moves,
		evacuating: map[string]map[string]bool{},
	}
}

// run makes a pass at each interval of the topology, until the context ends.
func (d *drs) run(ctx context.Context) {
	interval := d.clock.scaled(d.inventory.clusterSpec(d.cluster).DRSInterval)
	if interval <= 0 {
		return
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			d.attempt(func() { d.pass() })
		}
	}
}

// attempt survives a panic: it ends this pass and not the lab.
func (d *drs) attempt(work func()) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("panic in DRS: %v\n%s", cause, debug.Stack())
		}
	}()
	work()
}

// pass looks at the whole cluster once. It reports false if DRS is off.
func (d *drs) pass() bool { return d.decide(false) }

// empty empties a host for as long as it is entering maintenance mode. It returns at once.
func (d *drs) empty(host *simulator.HostSystem) {
	d.emptying.Lock()
	_, already := d.evacuating[host.Self.Value]
	if !already {
		d.evacuating[host.Self.Value] = map[string]bool{}
	}
	d.emptying.Unlock()
	if already {
		return
	}
	go func() {
		for wait := drsReactionSeconds; ; wait = drsRetrySeconds {
			time.Sleep(d.clock.scaled(float64(wait)))
			if !d.stillEmptying(host.Self.Value) {
				break
			}
			d.attempt(func() { d.decide(true) })
		}
		d.attempt(d.withdraw)
	}()
}

func (d *drs) stillEmptying(host string) bool {
	d.emptying.Lock()
	defer d.emptying.Unlock()
	if !d.maintenance.isEntering(host) {
		delete(d.evacuating, host)
		return false
	}
	return true
}

// decide plans moves, starts those of VMs with full automation, and recommends the others.
func (d *drs) decide(evacuationOnly bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	config := d.inventory.clusterConfiguration(d.cluster)
	if !isTrue(config.DrsConfig.Enabled) {
		d.publish(nil)
		return false
	}
	cluster := d.snapshot(config)
	var recommended []advice
	if evacuationOnly {
		recommended = d.standing(cluster)
	}
	for _, host := range d.inventory.hostsOf(d.cluster) {
		if now := cluster.hosts[host.Self.Value]; now != nil && now.entersMaintenance {
			d.reportStuck(host, d.evacuate(cluster, host.Self.Value))
		}
	}
	if !evacuationOnly {
		cluster.correct()
		cluster.balance()
	}
	for _, move := range cluster.moves {
		if cluster.vms[move.vm].behaviour == types.DrsBehaviorFullyAutomated {
			d.start(starter{drs: true}, move)
		} else {
			recommended = append(recommended, d.recommend(cluster, move))
		}
	}
	d.publish(recommended)
	return true
}

// evacuate plans moves of all VMs away from a host. It plans none while too little would be left for a failure: then somebody has to
// move the VMs.
func (d *drs) evacuate(cluster *drsCluster, host string) (stuck []string) {
	if d.moves.admissible(d.cluster, nil, nil) {
		return cluster.evacuate(host)
	}
	for _, vm := range cluster.on(host) {
		stuck = append(stuck, vm.key)
	}
	return stuck
}

// start starts a move. A move that is refused is tried again in the next pass.
func (d *drs) start(by starter, move drsMove) types.BaseMethodFault {
	target := hostReference(move.target)
	spec := types.VirtualMachineRelocateSpec{Host: &target}
	_, fault := d.moves.start(by, vmReference(move.vm), spec)
	return fault
}

// reportStuck posts an event for each VM that DRS cannot move from a host that enters maintenance mode, once.
func (d *drs) reportStuck(host *simulator.HostSystem, vms []string) {
	d.emptying.Lock()
	defer d.emptying.Unlock()
	posted := d.evacuating[host.Self.Value]
	for _, key := range vms {
		vm := d.inventory.vm(vmReference(key))
		if vm == nil || posted == nil || posted[key] {
			continue
		}
		posted[key] = true
		event := &types.NoMaintenanceModeDrsRecommendationForVM{VmEvent: d.events.ofVM(vm, host)}
		event.FullFormattedMessage = "DRS has no recommendation for " + vm.Name + " on " + host.Name + ", which enters maintenance mode"
		d.events.post(d.inventory.as(""), 0, event)
	}
}

// withdraw removes the recommendations that are no longer valid.
func (d *drs) withdraw() {
	d.mu.Lock()
	defer d.mu.Unlock()
	config := d.inventory.clusterConfiguration(d.cluster)
	if !isTrue(config.DrsConfig.Enabled) {
		d.publish(nil)
		return
	}
	d.publish(d.standing(d.snapshot(config)))
}

// apply carries out a recommendation for a user.
func (d *drs) apply(user, key string) types.BaseMethodFault {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := slices.IndexFunc(d.advice, func(each advice) bool { return each.recommendation.Key == key })
	if at < 0 {
		return &types.InvalidArgument{InvalidProperty: "key"}
	}
	if fault := d.start(starter{user: user, drs: true}, d.advice[at].move); fault != nil {
		return fault
	}
	d.publish(slices.Delete(slices.Clone(d.advice), at, at+1))
	return nil
}
