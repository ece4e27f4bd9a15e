package main

import (
	"slices"

	"github.com/vmware/govmomi/vim25/types"
)

// clusterRules are the enabled DRS rules of a cluster. VMs and hosts are named by their MoIDs.
type clusterRules struct {
	apart    []vmRule // the VMs must be on different hosts
	together []vmRule // the VMs must be on one host
	hosts    []vmHostRule
}

type vmRule struct {
	name string
	vms  []string
}

// vmHostRule says on which hosts VMs run, or do not run.
type vmHostRule struct {
	name       string
	vms, hosts []string
	not        bool // the VMs do not run on these hosts
	mandatory  bool // must, otherwise should
}

// forbids reports whether the rule is broken when the VM is on the host.
func (r vmHostRule) forbids(vm, host string) bool {
	return slices.Contains(r.vms, vm) && slices.Contains(r.hosts, host) == r.not
}

// mustNot is the mandatory rule that keeps the VM from the host; nil if there is none.
func (r clusterRules) mustNot(vm, host string) *vmHostRule {
	for i := range r.hosts {
		if r.hosts[i].mandatory && r.hosts[i].forbids(vm, host) {
			return &r.hosts[i]
		}
	}
	return nil
}

// enabledRules reads the rules that a cluster's configuration has now.
func enabledRules(config *types.ClusterConfigInfoEx) clusterRules {
	var rules clusterRules
	for _, each := range config.Rule {
		info := each.GetClusterRuleInfo()
		if !isTrue(info.Enabled) {
			continue
		}
		switch rule := each.(type) {
		case *types.ClusterAntiAffinityRuleSpec:
			rules.apart = append(rules.apart, vmRule{info.Name, moids(rule.Vm)})
		case *types.ClusterAffinityRuleSpec:
			rules.together = append(rules.together, vmRule{info.Name, moids(rule.Vm)})
		case *types.ClusterVmHostRuleInfo:
			read := vmHostRule{name: info.Name, mandatory: isTrue(info.Mandatory), vms: groupMembers(config, rule.VmGroupName)}
			read.not = rule.AffineHostGroupName == ""
			read.hosts = groupMembers(config, rule.AffineHostGroupName+rule.AntiAffineHostGroupName) // one of them is set
			rules.hosts = append(rules.hosts, read)
		}
	}
	return rules
}

func groupMembers(config *types.ClusterConfigInfoEx, name string) []string {
	for _, each := range config.Group {
		if each.GetClusterGroupInfo().Name != name {
			continue
		}
		switch group := each.(type) {
		case *types.ClusterVmGroup:
			return moids(group.Vm)
		case *types.ClusterHostGroup:
			return moids(group.Host)
		}
	}
	return nil
}

func moids(refs []types.ManagedObjectReference) []string {
	var values []string
	for _, ref := range refs {
		values = append(values, ref.Value)
	}
	return values
}

func isTrue(flag *bool) bool { return flag != nil && *flag }
