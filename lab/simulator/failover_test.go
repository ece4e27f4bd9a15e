package main

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// failing has three hosts; esx-01 has a VM on shared storage, one on a datastore of its own, and one that is powered off.
func failing(t *testing.T, ha bool) *vcenter {
	t.Helper()
	config := &Config{
		TimeScale: 0.002, LinkMbit: 10_000, TaskSeconds: 600, Datacenters: []Datacenter{{Name: "dc"}},
		Clusters: []Cluster{{Name: "cluster", Datacenter: "dc"}},
		Datastores: []Attached{
			{Name: "ds", CapacityGB: 10, FreeGB: 5, Hosts: []string{"*"}}, {Name: "own", CapacityGB: 10, FreeGB: 5, Hosts: []string{"esx-01"}},
		},
		Networks: []Attached{{Name: "net", Datacenter: "dc", Hosts: []string{"*"}}},
	}
	for _, name := range []string{"esx-01", "esx-02", "esx-03"} {
		config.Hosts = append(config.Hosts, Host{Name: name, Cluster: "cluster", Cores: 4, MHz: 2000, MemoryGB: 16})
	}
	for name, datastore := range map[string]string{"shared": "ds", "local": "own", "off": "ds"} {
		config.VMs = append(config.VMs, VM{
			Name: name, Host: "esx-01", MemoryGB: 1, CPUs: 1, Datastores: []string{datastore}, Networks: []string{"net"},
		})
	}
	if ha {
		config.Clusters[0].FailoverLevel = 1
	}
	v, err := build(config)
	if err != nil {
		t.Fatal(err)
	}
	v.failover.show(v.inventory.findVM("off"), "", types.VirtualMachinePowerStatePoweredOff)
	return v
}

// about are the types of the events of a VM or a host, the oldest first.
func (v *vcenter) about(ref types.ManagedObjectReference) (kinds []string) {
	manager := v.inventory.registry.EventManager()
	ctx := v.inventory.as("somebody")
	filter := types.EventFilterSpec{Entity: &types.EventFilterSpecByEntity{Entity: ref, Recursion: types.EventFilterSpecRecursionOptionSelf}}
	body := manager.QueryEvents(ctx, &types.QueryEvents{This: manager.Self, Filter: filter}).(*methods.QueryEventsBody)
	events := body.Res.Returnval
	slices.SortFunc(events, func(a, b types.BaseEvent) int { return int(a.GetEvent().Key - b.GetEvent().Key) })
	for _, event := range events {
		if other, isOther := event.(*types.EventEx); isOther {
			kinds = append(kinds, other.EventTypeId)
		} else {
			kinds = append(kinds, reflect.TypeOf(event).Elem().Name())
		}
	}
	return kinds
}

func (v *vcenter) becomes(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(soon); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, soon)
		}
	}
}

func (v *vcenter) runsOn(name, host string) func() bool {
	return func() bool {
		view := v.inventory.view(v.inventory.findVM(name))
		return v.inventory.nameOf(view.host) == host && view.power == types.VirtualMachinePowerStatePoweredOn &&
			view.connection == types.VirtualMachineConnectionStateConnected
	}
}

func TestHAStartsTheVMsOfAFailedHostElsewhereAndTheOthersWhenItIsBack(t *testing.T) {
	v := failing(t, true)
	host, shared := v.inventory.findHost("esx-01"), v.inventory.findVM("shared")
	booted := *shared.Runtime.BootTime
	if !v.failover.fail(host) {
		t.Fatal("the host does not fail")
	}
	if v.failover.fail(host) {
		t.Error("a host that is down fails again")
	}
	if view := v.inventory.view(shared); view.connection != types.VirtualMachineConnectionStateDisconnected {
		t.Errorf("the VM is %s", view.connection)
	}
	if _, fault := v.maintenance.enter("somebody", host.Self, 0); faultName(fault) != "HostNotConnected" {
		t.Errorf("a host that is down enters maintenance mode: %v", fault)
	}
	v.becomes(t, "HA starts the VM elsewhere", func() bool { return v.runsOn("shared", "esx-02")() || v.runsOn("shared", "esx-03")() })
	if !shared.Runtime.BootTime.After(booted) {
		t.Error("the VM has its old time of boot")
	}
	v.becomes(t, "HA has no host for the other VM", func() bool {
		return slices.Contains(v.about(v.inventory.findVM("local").Self), "VmFailoverFailed")
	})
	v.failover.boot(host)
	v.becomes(t, "HA starts the other VM on its host", v.runsOn("local", "esx-01"))
	v.becomes(t, "both are recorded", func() bool { return len(v.failover.recorded()) == 2 })
	v.becomes(t, "the failover is over", func() bool { return !v.failover.isGoingOn(host) })
	if view := v.inventory.view(v.inventory.findVM("off")); view.power != types.VirtualMachinePowerStatePoweredOff {
		t.Errorf("a VM that was off is %s", view.power)
	}
	wanted := []string{"VmDisconnectedEvent", "VmPoweredOnEvent", "com.vmware.vc.ha.VmRestartedByHAEvent"}
	if found := v.about(shared.Self); !slices.Equal(found[len(found)-3:], wanted) {
		t.Errorf("the events of the VM are %v", found)
	}
	wanted = []string{"HostConnectionLostEvent", "com.vmware.vc.HA.DasHostFailedEvent", "HostConnectedEvent"}
	found := slices.DeleteFunc(v.about(host.Self), func(kind string) bool { return !slices.Contains(wanted, kind) })
	if !slices.Equal(found, wanted) {
		t.Errorf("the events of the host are %v", found)
	}
}

func TestWithoutHATheVMsOfAFailedHostStayThereAndOff(t *testing.T) {
	v := failing(t, false)
	v.failover.fail(v.inventory.findHost("esx-01"))
	time.Sleep(v.clock.scaled(2 * declaredAfter))
	v.failover.boot(v.inventory.findHost("esx-01"))
	view := v.inventory.view(v.inventory.findVM("shared"))
	if v.inventory.nameOf(view.host) != "esx-01" || view.power != types.VirtualMachinePowerStatePoweredOff {
		t.Errorf("the VM is %s on %s", view.power, v.inventory.nameOf(view.host))
	}
}

func TestAMoveEndsWhenOneOfItsHostsFails(t *testing.T) {
	for _, down := range []string{"esx-01", "esx-02"} {
		v := failing(t, false)
		v.clock.scale, v.moves.clock.scale = 0.1, 0.1
		record := v.cross(t, "shared", types.VirtualMachineRelocateSpec{Host: &v.inventory.findHost("esx-02").Self})
		v.becomes(t, "the move runs", func() bool { return v.moves.recorded()[0].Result == "running" })
		v.failover.fail(v.inventory.findHost(down))
		if fault := v.ended(t, record); fault != "HostCommunication" {
			t.Errorf("%s fails: the move ends with %q", down, fault)
		}
		if view := v.inventory.view(v.inventory.findVM("shared")); v.inventory.nameOf(view.host) != "esx-01" {
			t.Errorf("%s fails: the VM is on %s", down, v.inventory.nameOf(view.host))
		}
	}
}
