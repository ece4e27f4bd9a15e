package main

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

// threeHosts has three empty hosts a, b and c of 10000 MHz and 100 GB.
func threeHosts() *drsCluster {
	cluster := &drsCluster{
		hosts: map[string]*drsHost{}, vms: map[string]*drsVM{}, tolerance: 1,
		possible: func(string, string) bool { return true },
	}
	for _, key := range []string{"a", "b", "c"} {
		cluster.hosts[key] = &drsHost{key: key, cpuSize: 10_000, memorySize: 100}
	}
	return cluster
}

func (c *drsCluster) with(key, host string, memory float64) *drsVM {
	vm := &drsVM{key: key, host: host, cpu: 100, memory: memory, behaviour: types.DrsBehaviorFullyAutomated}
	c.vms[key] = vm
	c.hosts[host].cpu += vm.cpu
	c.hosts[host].memory += memory
	return vm
}

func (c *drsCluster) enters(host string) {
	c.hosts[host].closed, c.hosts[host].entersMaintenance = true, true
}

// check compares the moves with "vm>target reason".
func (c *drsCluster) check(t *testing.T, want ...string) {
	t.Helper()
	got := []string{}
	for _, move := range c.moves {
		got = append(got, fmt.Sprintf("%s>%s %s", move.vm, move.target, move.reason))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the moves are %q, not %q", got, want)
	}
}

func TestAnEvacuationFillsTheLeastLoadedHosts(t *testing.T) {
	c := threeHosts()
	c.with("x", "b", 15)
	c.with("small", "a", 10)
	c.with("large", "a", 20)
	c.enters("a")
	stuck := c.evacuate("a")
	c.check(t, "large>c hostMaint", "small>b hostMaint")
	if stuck != nil {
		t.Errorf("%q did not find a host", stuck)
	}
}

func TestAnEvacuationNamesTheVMsThatStay(t *testing.T) {
	for name, change := range map[string]func(*drsCluster, *drsVM){
		"disabled":   func(_ *drsCluster, vm *drsVM) { vm.behaviour = "" },
		"fixed":      func(_ *drsCluster, vm *drsVM) { vm.fixed = true },
		"impossible": func(c *drsCluster, _ *drsVM) { c.possible = func(string, string) bool { return false } },
		"no memory":  func(c *drsCluster, _ *drsVM) { c.hosts["b"].memory, c.hosts["c"].memory = 95, 95 },
		"closed":     func(c *drsCluster, _ *drsVM) { c.hosts["b"].closed, c.hosts["c"].closed = true, true },
		"must rule": func(c *drsCluster, _ *drsVM) {
			c.rules.hosts = []vmHostRule{{vms: []string{"v"}, hosts: []string{"a"}, mandatory: true}}
		},
		"kept apart": func(c *drsCluster, _ *drsVM) {
			c.with("w", "b", 1)
			c.with("x", "c", 1)
			c.rules.apart = []vmRule{{"apart", []string{"v", "w", "x"}}}
		},
	} {
		c := threeHosts()
		change(c, c.with("v", "a", 10))
		c.enters("a")
		if stuck := c.evacuate("a"); !slices.Equal(stuck, []string{"v"}) || len(c.moves) > 0 {
			t.Errorf("%s: %q stay and %v move", name, stuck, c.moves)
		}
	}
}

func TestATargetBreaksAShouldRuleOnlyIfItMust(t *testing.T) {
	c := threeHosts()
	vm := c.with("v", "a", 10)
	c.with("x", "b", 50)
	c.rules.hosts = []vmHostRule{{vms: []string{"v"}, hosts: []string{"a", "b"}}}
	if target := c.target(vm); target != "b" {
		t.Errorf("the target is %q", target)
	}
	c.hosts["b"].closed = true
	if target := c.target(vm); target != "c" {
		t.Errorf("without b the target is %q", target)
	}
}

func TestVMsThatBelongTogetherLeaveTogether(t *testing.T) {
	c := threeHosts()
	c.with("v", "a", 10)
	c.with("w", "a", 10)
	c.rules.together = []vmRule{{"pair", []string{"v", "w"}}}
	c.enters("a")
	c.evacuate("a")
	c.check(t, "v>b hostMaint", "w>b hostMaint")
}

func TestBrokenRulesAreCorrected(t *testing.T) {
	must := vmHostRule{name: "r", vms: []string{"v"}, hosts: []string{"c"}, mandatory: true}
	should, not := must, must
	should.mandatory = false
	not.not, not.hosts = true, []string{"a", "b"}
	for want, rules := range map[string]clusterRules{
		"v>c vmHostHardAffinity": {hosts: []vmHostRule{must}},
		"v>c vmHostSoftAffinity": {hosts: []vmHostRule{should}},
		"v>b antiAffin":          {apart: []vmRule{{"r", []string{"v", "w"}}}},
		"u>a jointAffin":         {together: []vmRule{{"r", []string{"u", "v", "w"}}}},
	} {
		c := threeHosts()
		c.with("v", "a", 10)
		c.with("w", "a", 20)
		c.with("u", "b", 1)
		c.with("x", "c", 30)
		c.rules = rules
		c.correct()
		c.check(t, want)
		c.moves = nil
		for _, vm := range c.vms {
			vm.fixed = false
		}
		c.correct()
		c.check(t) // a second pass has nothing to correct
	}
	c := threeHosts()
	c.with("v", "a", 10)
	c.rules = clusterRules{hosts: []vmHostRule{not}}
	c.correct()
	c.check(t, "v>c vmHostHardAffinity")
}

func TestAVMThatMustNotBeMovedStaysAndItsPeersCome(t *testing.T) {
	c := threeHosts()
	c.with("v", "b", 10).behaviour = ""
	c.with("u", "a", 10)
	c.with("w", "a", 10)
	c.rules.together = []vmRule{{"r", []string{"u", "v", "w"}}}
	c.correct()
	c.check(t, "u>b jointAffin", "w>b jointAffin")

	c = threeHosts()
	c.with("v", "a", 1).behaviour = ""
	c.with("w", "a", 10)
	c.rules.apart = []vmRule{{"r", []string{"v", "w"}}}
	c.correct()
	c.check(t, "w>b antiAffin")
}

func TestRulesThatContradictEachOtherDoNotMoveAVMForEver(t *testing.T) {
	c := threeHosts()
	c.with("v", "a", 10)
	c.with("w", "a", 10)
	c.rules.together = []vmRule{{"pair", []string{"v", "w"}}}
	c.rules.hosts = []vmHostRule{{name: "b", vms: []string{"v"}, hosts: []string{"b"}}, {name: "c", vms: []string{"w"}, hosts: []string{"c"}}}
	for range 4 {
		c.correct()
		for _, vm := range c.vms {
			vm.fixed = false
		}
	}
	c.check(t)
}

func TestTheLoadIsBalancedUntilTheDifferenceIsSmall(t *testing.T) {
	c := threeHosts()
	for i := range 6 {
		c.with(fmt.Sprintf("v%d", i), "a", 10)
	}
	c.with("x", "b", 20)
	c.tolerance = balanceTolerance(3)
	c.balance()
	c.check(t, "v0>c fairnessMemAvg", "v1>c fairnessMemAvg")
	for _, rate := range []int32{1, 5} {
		c.tolerance, c.moves = balanceTolerance(rate), nil
		c.balance()
		if (len(c.moves) > 0) != (rate == 1) {
			t.Errorf("threshold %d makes the moves %v", rate, c.moves)
		}
	}
}

func TestBalancingBreaksNoRule(t *testing.T) {
	c := threeHosts()
	c.with("v", "a", 30)
	c.with("w", "a", 30)
	c.hosts["c"].closed = true
	c.tolerance = balanceTolerance(3)
	c.rules.hosts = []vmHostRule{{vms: []string{"v"}, hosts: []string{"a"}}, {vms: []string{"w"}, hosts: []string{"b"}, not: true}}
	c.balance()
	c.check(t)
}
