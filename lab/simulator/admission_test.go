package main

import (
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

func TestAdmissionControlKeepsItsShareFree(t *testing.T) {
	host := resources{cpu: 10_000, memory: 100_000}
	small, big := resources{cpu: reservedMHz, memory: 20_000}, resources{cpu: 4_000, memory: 90_000}
	on := types.ClusterDasConfigInfo{Enabled: types.NewBool(true), AdmissionControlEnabled: types.NewBool(true)}
	with := func(policy types.BaseClusterDasAdmissionControlPolicy) types.ClusterDasConfigInfo {
		das := on
		das.AdmissionControlPolicy = policy
		return das
	}
	percent := func(cpu, memory int32) types.ClusterDasConfigInfo {
		return with(&types.ClusterFailoverResourcesAdmissionControlPolicy{
			CpuFailoverResourcesPercent: cpu, MemoryFailoverResourcesPercent: memory,
		})
	}
	automatic := with(&types.ClusterFailoverResourcesAdmissionControlPolicy{FailoverLevel: 1, AutoComputePercentages: types.NewBool(true)})
	slots := with(&types.ClusterFailoverLevelAdmissionControlPolicy{FailoverLevel: 1})
	off := percent(90, 90)
	off.AdmissionControlEnabled = types.NewBool(false)
	for name, each := range map[string]struct {
		das   types.ClusterDasConfigInfo
		hosts int
		vms   []resources
		want  bool
	}{
		"as much as is configured":        {percent(0, 60), 1, []resources{small, small}, true},
		"less memory than is configured":  {percent(0, 61), 1, []resources{small, small}, false},
		"less CPU than is configured":     {percent(61, 0), 1, []resources{big}, false},
		"off":                             {off, 1, []resources{big}, true},
		"one of two hosts, automatically": {automatic, 2, []resources{small, small}, true},
		"of one host nothing is left":     {automatic, 1, []resources{small}, false},
		"a slot for each without a host":  {slots, 2, []resources{small, small, small, small, small}, true},
		"one VM too many":                 {slots, 2, []resources{small, small, small, small, small, small}, false},
		"one big VM makes slots big":      {slots, 2, []resources{small, big}, false},
		"the last host cannot fail":       {slots, 1, []resources{}, false},
		"no policy":                       {on, 1, []resources{big}, true},
	} {
		hosts := make([]resources, each.hosts)
		for i := range hosts {
			hosts[i] = host
		}
		if got := admits(each.das, hosts, each.vms); got != each.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
