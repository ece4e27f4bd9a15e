package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func TestAnOverrideCountsOnlyIfTheClusterAllowsOverrides(t *testing.T) {
	manual, disabled, plain := vmReference("manual"), vmReference("disabled"), vmReference("plain")
	config := &types.ClusterConfigInfoEx{DrsConfig: standardDRS(), DrsVmConfig: []types.ClusterDrsVmConfigInfo{
		{Key: manual, Enabled: types.NewBool(true), Behavior: types.DrsBehaviorManual},
		{Key: disabled, Enabled: types.NewBool(false), Behavior: types.DrsBehaviorFullyAutomated},
	}}
	check := func(want map[types.ManagedObjectReference]types.DrsBehavior) {
		t.Helper()
		for vm, behaviour := range want {
			if got := drsBehaviour(config, vm); got != behaviour {
				t.Errorf("%s is %q, not %q", vm.Value, got, behaviour)
			}
		}
	}
	const full = types.DrsBehaviorFullyAutomated
	check(map[types.ManagedObjectReference]types.DrsBehavior{manual: "", disabled: "", plain: ""})
	config.DrsConfig.Enabled = types.NewBool(true)
	check(map[types.ManagedObjectReference]types.DrsBehavior{manual: "manual", disabled: "", plain: full})
	config.DrsConfig.EnableVmBehaviorOverrides = types.NewBool(false)
	check(map[types.ManagedObjectReference]types.DrsBehavior{manual: full, disabled: full, plain: full})
}
