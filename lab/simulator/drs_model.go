package main

import (
	"cmp"
	"maps"
	"slices"

	"github.com/vmware/govmomi/vim25/types"
)

const (
	maxBalanceMoves = 8 // that one pass makes to balance the load
	// Ratings of a recommendation, 5 is the highest.
	ratingMust    = 5
	ratingShould  = 4
	ratingBalance = 3
)

// drsHost is a host as DRS sees it: MHz and GB.
type drsHost struct {
	key                      string
	cpu, cpuSize             float64
	memory, memorySize       float64
	closed                   bool // DRS moves nothing to it
	entersMaintenance        bool
	cpuReported, memReported float64 // load before this pass
}

// load is the share of the host that is used when it gets that much more.
func (h *drsHost) load(cpu, memory float64) float64 {
	return max((h.cpu+cpu)/h.cpuSize, (h.memory+memory)/h.memorySize)
}

// drsVM is a powered-on VM; a VM that moves already counts at its target.
type drsVM struct {
	key, host   string
	cpu, memory float64
	behaviour   types.DrsBehavior // "": DRS must not move it
	fixed       bool              // it cannot be moved, or it moves already
}

func (v *drsVM) movable() bool { return v.behaviour != "" && !v.fixed }

// drsMove is a move that DRS wants.
type drsMove struct {
	vm, source, target string
	reason             types.RecommendationReasonCode
	rating             int32
}

// drsCluster is what DRS decides on. Its methods add to moves and change the load as if the moves were made.
type drsCluster struct {
	hosts     map[string]*drsHost
	vms       map[string]*drsVM
	rules     clusterRules
	tolerance float64                    // of the difference between the highest and the lowest load
	possible  func(vm, host string) bool // whether vCenter would make this move
	moves     []drsMove
}

// balanceTolerance is how unequal the load of two hosts may be at each migration threshold: at 5 DRS makes mandatory moves
// only. The figures are the lab's own.
func balanceTolerance(vmotionRate int32) float64 {
	if vmotionRate >= 5 {
		return 1
	}
	return 0.05 + 0.05*float64(max(1, vmotionRate))
}

// allowed reports whether DRS may move the VM to the host: no rule that DRS always keeps forbids it.
func (c *drsCluster) allowed(vm *drsVM, host string) bool {
	target := c.hosts[host]
	if target == nil || target.closed || host == vm.host || target.memory+vm.memory > target.memorySize {
		return false
	}
	if c.rules.mustNot(vm.key, host) != nil {
		return false
	}
	for _, rule := range c.rules.apart {
		if slices.Contains(rule.vms, vm.key) && len(c.membersOn(rule, host)) > 0 {
			return false
		}
	}
	return c.possible(vm.key, host)
}

// broken counts the rules that would be broken for the VM on that host, although DRS may break them.
func (c *drsCluster) broken(vm *drsVM, host string) int {
	count := 0
	for _, rule := range c.rules.hosts {
		if rule.forbids(vm.key, host) {
			count++
		}
	}
	for _, rule := range c.rules.together {
		if !slices.Contains(rule.vms, vm.key) {
			continue
		}
		if slices.ContainsFunc(c.members(rule), func(peer *drsVM) bool {
			at := c.hosts[peer.host]
			return peer != vm && peer.host != host && at != nil && !at.entersMaintenance
		}) {
			count++
		}
	}
	return count
}

// members are the powered-on VMs of a rule, by MoID.
func (c *drsCluster) members(rule vmRule) []*drsVM {
	var found []*drsVM
	for _, key := range slices.Sorted(slices.Values(rule.vms)) {
		if vm := c.vms[key]; vm != nil {
			found = append(found, vm)
		}
	}
	return found
}

func (c *drsCluster) membersOn(rule vmRule, host string) []*drsVM {
	return slices.DeleteFunc(c.members(rule), func(vm *drsVM) bool { return vm.host != host })
}

// on are the VMs of a host, the largest first.
func (c *drsCluster) on(host string) []*drsVM {
	var found []*drsVM
	for _, key := range slices.Sorted(maps.Keys(c.vms)) {
		if c.vms[key].host == host {
			found = append(found, c.vms[key])
		}
	}
	slices.SortStableFunc(found, func(a, b *drsVM) int { return cmp.Compare(b.memory, a.memory) })
	return found
}

// target is the host for a VM: the fewest broken rules first, then the smallest load; "" if there is none.
func (c *drsCluster) target(vm *drsVM) string {
	best, fewest, lowest := "", 0, 0.0
	for _, host := range slices.Sorted(maps.Keys(c.hosts)) {
		if !c.allowed(vm, host) {
			continue
		}
		broken, load := c.broken(vm, host), c.hosts[host].load(vm.cpu, vm.memory)
		if best == "" || broken < fewest || broken == fewest && load < lowest {
			best, fewest, lowest = host, broken, load
		}
	}
	return best
}

// place changes the load as a move would; the VM is not moved again in this pass.
func (c *drsCluster) place(vm *drsVM, target string) {
	if source := c.hosts[vm.host]; source != nil {
		source.cpu -= vm.cpu
		source.memory -= vm.memory
	}
	c.hosts[target].cpu += vm.cpu
	c.hosts[target].memory += vm.memory
	vm.host, vm.fixed = target, true
}

func (c *drsCluster) move(vm *drsVM, target string, reason types.RecommendationReasonCode, rating int32) {
	c.moves = append(c.moves, drsMove{vm.key, vm.host, target, reason, rating})
	c.place(vm, target)
}

// evacuate moves the VMs of a host away, and returns those for which it has no target or which it must not move.
func (c *drsCluster) evacuate(host string) (stuck []string) {
	for _, vm := range c.on(host) {
		target := ""
		if vm.movable() {
			target = c.target(vm)
		}
		if target == "" {
			stuck = append(stuck, vm.key)
			continue
		}
		c.move(vm, target, types.RecommendationReasonCodeHostMaint, ratingMust)
	}
	return stuck
}

// correct moves VMs so that rules are kept: mandatory VM-host rules first, other VM-host rules last.
func (c *drsCluster) correct() {
	c.obeyHostRules(true)
	for _, rule := range c.rules.apart {
		c.separate(rule)
	}
	for _, rule := range c.rules.together {
		c.gather(rule)
	}
	c.obeyHostRules(false)
}

func (c *drsCluster) obeyHostRules(mandatory bool) {
	reason, rating := types.RecommendationReasonCodeVmHostSoftAffinity, int32(ratingShould)
	if mandatory {
		reason, rating = types.RecommendationReasonCodeVmHostHardAffinity, ratingMust
	}
	for _, rule := range c.rules.hosts {
		if rule.mandatory != mandatory {
			continue
		}
		for _, vm := range c.members(vmRule{rule.name, rule.vms}) {
			if !vm.movable() || !rule.forbids(vm.key, vm.host) {
				continue
			}
			target := c.target(vm)
			if target != "" && !rule.forbids(vm.key, target) && c.broken(vm, target) < c.broken(vm, vm.host) {
				c.move(vm, target, reason, rating)
			}
		}
	}
}

// separate moves the smallest VMs of a keep-apart rule, until one is left on each host.
func (c *drsCluster) separate(rule vmRule) {
	for _, host := range slices.Sorted(maps.Keys(c.hosts)) {
		together := c.membersOn(rule, host)
		slices.SortStableFunc(together, func(a, b *drsVM) int { return cmp.Compare(a.memory, b.memory) })
		for left := len(together); left > 1 && len(together) > 0; together = together[1:] {
			vm := together[0]
			if target := c.target(vm); vm.movable() && target != "" {
				c.move(vm, target, types.RecommendationReasonCodeAntiAffin, ratingMust)
				left--
			}
		}
	}
}

// gather moves the VMs of a keep-together rule to the host where the most of them can be.
func (c *drsCluster) gather(rule vmRule) {
	members, home, most, there := c.members(rule), "", 0, 0
	for _, host := range slices.Sorted(maps.Keys(c.hosts)) {
		now, could := len(c.membersOn(rule, host)), 0
		for _, vm := range members {
			if vm.host == host || vm.movable() && c.allowed(vm, host) {
				could++
			}
		}
		if now > 0 && !c.hosts[host].entersMaintenance && (could > most || could == most && now > there) {
			home, most, there = host, could, now
		}
	}
	for _, vm := range members {
		if home != "" && vm.movable() && c.allowed(vm, home) && c.broken(vm, home) <= c.broken(vm, vm.host) {
			c.move(vm, home, types.RecommendationReasonCodeJointAffin, ratingMust)
		}
	}
}

// balance moves VMs from the host with the highest load to the one with the lowest, while the difference is above the tolerance.
func (c *drsCluster) balance() {
	for range maxBalanceMoves {
		most, least := c.extremes()
		if most == nil || most.load(0, 0)-least.load(0, 0) <= c.tolerance {
			return
		}
		var best *drsVM
		lowest := most.load(0, 0)
		for _, vm := range c.on(most.key) {
			if !vm.movable() || !c.allowed(vm, least.key) || c.broken(vm, least.key) > c.broken(vm, most.key) {
				continue
			}
			if higher := max(most.load(-vm.cpu, -vm.memory), least.load(vm.cpu, vm.memory)); higher < lowest {
				best, lowest = vm, higher
			}
		}
		if best == nil {
			return
		}
		reason := types.RecommendationReasonCodeFairnessMemAvg
		if most.cpu/most.cpuSize > most.memory/most.memorySize {
			reason = types.RecommendationReasonCodeFairnessCpuAvg
		}
		c.move(best, least.key, reason, ratingBalance)
	}
}

// extremes are the hosts with the highest and the lowest load, of those that take VMs; nil if there are none.
func (c *drsCluster) extremes() (most, least *drsHost) {
	for _, key := range slices.Sorted(maps.Keys(c.hosts)) {
		host := c.hosts[key]
		if host.closed {
			continue
		}
		if most == nil || host.load(0, 0) > most.load(0, 0) {
			most = host
		}
		if least == nil || host.load(0, 0) < least.load(0, 0) {
			least = host
		}
	}
	return most, least
}
