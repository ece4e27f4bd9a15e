package main

import (
	"github.com/vmware/govmomi/vim25/types"
)

const defaultVmotionRate = 3

// drsBehaviours are the automation levels of the topology.
var drsBehaviours = map[string]types.DrsBehavior{
	"manual": types.DrsBehaviorManual, "partial": types.DrsBehaviorPartiallyAutomated, "full": types.DrsBehaviorFullyAutomated,
}

// standardDRS is the configuration of a cluster that nobody configured: off, and fully automated if it is only switched on.
func standardDRS() types.ClusterDrsConfigInfo {
	return types.ClusterDrsConfigInfo{
		Enabled: types.NewBool(false), EnableVmBehaviorOverrides: types.NewBool(true),
		DefaultVmBehavior: types.DrsBehaviorFullyAutomated, VmotionRate: defaultVmotionRate,
	}
}

// automation is the DRS configuration of a cluster of the topology.
func (b *builder) automation(spec *Cluster) (types.ClusterDrsConfigInfo, []types.ClusterDrsVmConfigInfo) {
	info := standardDRS()
	info.EnableVmBehaviorOverrides = types.NewBool(spec.DRSAllowOverrides)
	if behaviour, on := drsBehaviours[spec.DRS]; on {
		info.Enabled, info.DefaultVmBehavior = types.NewBool(true), behaviour
	}
	info.VmotionRate = spec.DRSVmotionRate
	if spec.DRSMovesVGPUs {
		info.Option = []types.BaseOptionValue{&types.OptionValue{Key: "PassthroughDrsAutomation", Value: "1"}}
	}
	var overrides []types.ClusterDrsVmConfigInfo
	for _, vm := range b.vms() {
		level, ok := spec.DRSOverrides[vm.Name]
		if ok {
			behaviour, enabled := drsBehaviours[level]
			overrides = append(overrides, types.ClusterDrsVmConfigInfo{
				Key: vm.Self, Enabled: types.NewBool(enabled), Behavior: behaviour,
			})
		}
	}
	return info, overrides
}

// drsBehaviour is what DRS may do with a VM: the override if overrides count, otherwise the cluster's level; "" is nothing.
func drsBehaviour(config *types.ClusterConfigInfoEx, vm types.ManagedObjectReference) types.DrsBehavior {
	drs := config.DrsConfig
	if !isTrue(drs.Enabled) {
		return ""
	}
	if isTrue(drs.EnableVmBehaviorOverrides) {
		for _, override := range config.DrsVmConfig {
			switch {
			case override.Key != vm:
			case override.Enabled != nil && !*override.Enabled:
				return ""
			case override.Behavior != "":
				return override.Behavior
			}
		}
	}
	return drs.DefaultVmBehavior
}
