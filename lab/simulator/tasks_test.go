package main

import (
	"slices"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func smallVCenter(t *testing.T) *vcenter {
	t.Helper()
	v, err := build(&Config{
		TimeScale: 0.01, LinkMbit: 10_000, TaskSeconds: 600, Datacenters: []Datacenter{{Name: "dc"}},
		Clusters:   []Cluster{{Name: "cluster", Datacenter: "dc"}},
		Datastores: []Attached{{Name: "ds", CapacityGB: 10, FreeGB: 5, Hosts: []string{"*"}}},
		Networks:   []Attached{{Name: "net", Datacenter: "dc", Hosts: []string{"*"}}},
		Hosts:      []Host{{Name: "esx-01", Cluster: "cluster", Cores: 4, MHz: 2000, MemoryGB: 16}},
		VMs:        []VM{{Name: "vm-01", Host: "esx-01", MemoryGB: 1, CPUs: 1, Datastores: []string{"ds"}, Networks: []string{"net"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAPanicFailsTheTaskAndNotTheLab(t *testing.T) {
	v := smallVCenter(t)
	o := v.tasks.begin("somebody", v.inventory.findHost("esx-01"), "EnterMaintenanceMode_Task", "enterMaintenanceMode")
	o.run(func() types.BaseMethodFault { panic("broken") })
	if o.task.Info.State != types.TaskInfoStateError {
		t.Errorf("the task is in state %s, not error", o.task.Info.State)
	}
	if v.tasks.find(o.task.Self) != nil {
		t.Error("the task still counts as running")
	}
}

func TestAPanicInATaskOfTheSimulatorFailsThatTask(t *testing.T) {
	v := smallVCenter(t)
	host := v.inventory.findHost("esx-01")
	task := simulator.CreateTask(host, "broken", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { panic("broken") })
	task.Run(v.inventory.as("somebody"))
	task.Wait()
	if task.Info.State != types.TaskInfoStateError {
		t.Errorf("the task is in state %s, not error", task.Info.State)
	}
}

func TestATaskThatHasEndedExpires(t *testing.T) {
	v := smallVCenter(t)
	v.tasks.lifetime = 20 * time.Millisecond
	host := v.inventory.findHost("esx-01")
	ended := v.tasks.begin("somebody", host, "EnterMaintenanceMode_Task", "enterMaintenanceMode")
	running := v.tasks.begin("somebody", host, "EnterMaintenanceMode_Task", "enterMaintenanceMode")
	own := simulator.CreateTask(host, "own", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, nil })
	own.Run(v.inventory.as("somebody"))
	ended.run(func() types.BaseMethodFault { return nil })
	listed := func() []types.ManagedObjectReference {
		var found []types.ManagedObjectReference
		v.inventory.as("").WithLock(host, func() { found = slices.Clone(host.RecentTask) })
		return found
	}
	for _, each := range []*simulator.Task{ended.task, own} {
		deadline := time.Now().Add(5 * time.Second)
		for v.inventory.registry.Get(each.Self) != nil || slices.Contains(listed(), each.Self) {
			if time.Now().After(deadline) {
				t.Fatalf("%s has not expired", each.Info.DescriptionId)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	if v.inventory.registry.Get(running.task.Self) == nil || !slices.Contains(listed(), running.task.Self) {
		t.Error("the task that runs has expired, too")
	}
}

func TestFilesOfAVMAreOnItsDatastore(t *testing.T) {
	vm := smallVCenter(t).inventory.findVM("vm-01")
	if path := vm.Config.Files.VmPathName; path[:5] != "[ds] " {
		t.Errorf("the configuration of the VM is %s, not on [ds]", path)
	}
}
