package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func override(operation types.ArrayUpdateOperation, vm string, behaviour types.DrsBehavior) types.ClusterDrsVmConfigSpec {
	spec := types.ClusterDrsVmConfigSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: operation}}
	if operation == types.ArrayUpdateOperationRemove {
		spec.RemoveKey = vmReference(vm)
	} else {
		spec.Info = &types.ClusterDrsVmConfigInfo{Key: vmReference(vm), Behavior: behaviour}
	}
	return spec
}

func TestOverridesAreAddedEditedAndRemoved(t *testing.T) {
	const add, edit, remove = types.ArrayUpdateOperationAdd, types.ArrayUpdateOperationEdit, types.ArrayUpdateOperationRemove
	before := types.ClusterConfigInfoEx{DrsVmConfig: []types.ClusterDrsVmConfigInfo{
		{Key: vmReference("v"), Enabled: types.NewBool(true), Behavior: types.DrsBehaviorManual},
	}}
	for name, each := range map[string]struct {
		change types.ClusterDrsVmConfigSpec
		want   int // number of overrides afterwards; -1 for a fault
	}{
		"add":         {override(add, "w", types.DrsBehaviorManual), 2},
		"add twice":   {override(add, "v", types.DrsBehaviorManual), -1},
		"edit":        {override(edit, "v", types.DrsBehaviorFullyAutomated), 1},
		"edit none":   {override(edit, "w", types.DrsBehaviorManual), -1},
		"remove":      {override(remove, "v", ""), 0},
		"remove none": {override(remove, "w", ""), -1},
		"no info":     {types.ClusterDrsVmConfigSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: add}}, -1},
		"wrong key":   {types.ClusterDrsVmConfigSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: remove, RemoveKey: "v"}}, -1},
	} {
		spec := &types.ClusterConfigSpecEx{
			DrsConfig: &types.ClusterDrsConfigInfo{VmotionRate: 4}, DrsVmConfigSpec: []types.ClusterDrsVmConfigSpec{each.change},
		}
		after, fault := reconfigured(before, spec, true)
		if (fault != nil) != (each.want < 0) || fault == nil && len(after.DrsVmConfig) != each.want {
			t.Errorf("%s: %v, %v", name, after, fault)
		}
		if name == "edit" && (after.DrsVmConfig[0].Behavior != types.DrsBehaviorFullyAutomated || !*after.DrsVmConfig[0].Enabled) {
			t.Errorf("edited: %v", after.DrsVmConfig)
		}
	}
	if before.DrsConfig.VmotionRate != 0 || len(before.DrsVmConfig) != 1 || before.DrsVmConfig[0].Behavior != types.DrsBehaviorManual {
		t.Errorf("the configuration before the changes has changed: %v", before)
	}
}

func TestWithoutModifyTheRestIsReset(t *testing.T) {
	before := types.ClusterConfigInfoEx{
		DrsConfig:   types.ClusterDrsConfigInfo{Enabled: types.NewBool(true), VmotionRate: 5},
		DrsVmConfig: []types.ClusterDrsVmConfigInfo{{Key: vmReference("v")}},
	}
	for modify, rate := range map[bool]int32{true: 5, false: defaultVmotionRate} {
		spec := &types.ClusterConfigSpecEx{DrsConfig: &types.ClusterDrsConfigInfo{DefaultVmBehavior: types.DrsBehaviorManual}}
		after, _ := reconfigured(before, spec, modify)
		if after.DrsConfig.VmotionRate != rate || isTrue(after.DrsConfig.Enabled) != modify || (len(after.DrsVmConfig) == 1) != modify {
			t.Errorf("modify %v: %+v", modify, after)
		}
	}
}

func TestARuleGetsAKeyOfItsOwn(t *testing.T) {
	rule := func(name string, key int32) types.BaseClusterRuleInfo {
		return &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: types.ClusterRuleInfo{Name: name, Key: key}}
	}
	rules := []types.BaseClusterRuleInfo{rule("first", 1)}
	change := func(operation types.ArrayUpdateOperation, info types.BaseClusterRuleInfo, remove any) types.BaseMethodFault {
		return updateRules(&rules, []types.ClusterRuleSpec{
			{ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: operation, RemoveKey: remove}, Info: info},
		})
	}
	if fault := change(types.ArrayUpdateOperationAdd, rule("second", 0), nil); fault != nil {
		t.Fatal(fault)
	}
	if fault := change(types.ArrayUpdateOperationAdd, rule("second", 0), nil); fault == nil {
		t.Error("two rules have one name")
	}
	if fault := change(types.ArrayUpdateOperationEdit, rule("renamed", 2), nil); fault != nil {
		t.Error(fault)
	}
	if fault := change(types.ArrayUpdateOperationRemove, nil, int32(1)); fault != nil {
		t.Error(fault)
	}
	if info := rules[0].GetClusterRuleInfo(); len(rules) != 1 || info.Name != "renamed" || info.Key != 2 {
		t.Errorf("the rules are %v", rules)
	}
}
