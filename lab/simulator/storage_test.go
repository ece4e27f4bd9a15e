package main

import (
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// storageVCenter has two hosts with a local datastore each, a shared one, and a VM with two disks on the first host.
func storageVCenter(t *testing.T) *vcenter {
	t.Helper()
	v, err := build(&Config{
		TimeScale: 0.001, LinkMbit: 10_000, StorageMBs: 1000, Datacenters: []Datacenter{{Name: "dc"}},
		Clusters: []Cluster{{Name: "cluster", Datacenter: "dc"}},
		Datastores: []Attached{
			{Name: "local-1", CapacityGB: 100, FreeGB: 50, Hosts: []string{"esx-01"}},
			{Name: "local-2", CapacityGB: 100, FreeGB: 50, Hosts: []string{"esx-02"}},
			{Name: "shared", CapacityGB: 100, FreeGB: 30, Hosts: []string{"*"}, DatastoreCluster: "pod"},
			{Name: "closed", CapacityGB: 100, FreeGB: 100, Hosts: []string{"*"}, Maintenance: true},
		},
		Networks: []Attached{{Name: "net", Datacenter: "dc", Hosts: []string{"*"}}},
		Hosts: []Host{
			{Name: "esx-01", Cluster: "cluster", Cores: 4, MHz: 2000, MemoryGB: 16}, {Name: "esx-02", Cluster: "cluster", Cores: 4, MHz: 2000, MemoryGB: 16},
		},
		VMs: []VM{{
			Name: "vm-01", Host: "esx-01", MemoryGB: 1, MemoryReservationGB: 1, CPUs: 1, Networks: []string{"net"},
			Datastores: []string{"local-1", "shared"},
			Disks: []Disk{
				{SizeGB: 40, UsedGB: 10, Thin: true, Datastore: "local-1"}, {SizeGB: 5, Datastore: "shared", MultiWriter: true},
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *vcenter) relocateAndWait(t *testing.T, spec types.VirtualMachineRelocateSpec) string {
	t.Helper()
	task, fault := v.moves.start(starter{user: "somebody"}, v.inventory.findVM("vm-01").Self, spec)
	if fault != nil {
		return faultName(fault)
	}
	for end := time.Now().Add(soon); ; time.Sleep(time.Millisecond) {
		record := v.moves.recorded()[len(v.moves.recorded())-1]
		if record.Finished != nil {
			if record.Error != nil {
				return *record.Error
			}
			return ""
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not end", task.Value)
		}
	}
}

func (v *vcenter) free(name string) float64 {
	return float64(v.storage.named(name).Summary.FreeSpace) / gib
}

func to(v *vcenter, host, home string, disks map[int32]string) types.VirtualMachineRelocateSpec {
	spec := types.VirtualMachineRelocateSpec{}
	if found := v.inventory.findHost(host); found != nil {
		spec.Host = &found.Self
	}
	if home != "" {
		spec.Datastore = &v.storage.named(home).Self
	}
	for key, name := range disks {
		spec.Disk = append(spec.Disk, types.VirtualMachineRelocateSpecDiskLocator{
			DiskId: key, Datastore: v.storage.named(name).Self,
		})
	}
	return spec
}

func TestAMoveWithoutStorageFailsIfTheTargetDoesNotReachADatastore(t *testing.T) {
	v := storageVCenter(t)
	if fault := v.relocateAndWait(t, to(v, "esx-02", "", nil)); fault != "CannotAccessVmConfig" {
		t.Errorf("the fault is %q", fault)
	}
}

func TestEachPartGoesWhereTheSpecSays(t *testing.T) {
	v := storageVCenter(t)
	if fault := v.relocateAndWait(t, to(v, "esx-02", "local-2", map[int32]string{2000: "shared", 2001: "shared"})); fault != "" {
		t.Fatalf("the move fails: %s", fault)
	}
	vm := v.inventory.findVM("vm-01")
	where := (&control{vcenter: v}).storageOf(vm)
	if where["files"] != "local-2" || where["Hard disk 1"] != "shared" || where["Hard disk 2"] != "shared" {
		t.Errorf("the parts are on %v", where)
	}
	if host := v.inventory.host(*vm.Runtime.Host); host.Name != "esx-02" {
		t.Errorf("the VM is on %s", host.Name)
	}
	if len(vm.Datastore) != 2 || len(v.storage.named("local-1").Vm) != 0 || len(v.storage.named("local-2").Vm) != 1 {
		t.Errorf("the VM lists %v", vm.Datastore)
	}
	if v.free("local-1") != 60 || v.free("shared") != 20 || v.free("local-2") != 50 {
		t.Errorf("free are %v, %v and %v", v.free("local-1"), v.free("shared"), v.free("local-2"))
	}
}

func TestADiskThatIsNotNamedFollowsTheVMsFiles(t *testing.T) {
	v := storageVCenter(t)
	if fault := v.relocateAndWait(t, to(v, "esx-02", "shared", nil)); fault != "" {
		t.Fatalf("the move fails: %s", fault)
	}
	if where := (&control{vcenter: v}).storageOf(v.inventory.findVM("vm-01")); where["Hard disk 1"] != "shared" {
		t.Errorf("the parts are on %v", where)
	}
}

func TestStorageThatCannotMoveIsRefusedAndTakesNoSpace(t *testing.T) {
	for _, c := range []struct {
		fault, host, home string
		disks             map[int32]string
		free              float64
	}{
		{"InvalidDatastore", "", "local-2", map[int32]string{2000: "local-2", 2001: "shared"}, 30},
		{"InsufficientStorageSpace", "", "shared", nil, 3},
		{"InvalidDatastoreState", "", "closed", map[int32]string{2000: "closed", 2001: "shared"}, 30},
		{"MultiWriterNotSupported", "", "local-1", nil, 30},
		{"InvalidArgument", "", "", map[int32]string{7: "shared"}, 30},
	} {
		v := storageVCenter(t)
		v.storage.setFree(v.inventory.as("lab"), v.storage.named("shared"), func(int64) int64 { return int64(c.free * gib) })
		before := (&control{vcenter: v}).storageOf(v.inventory.findVM("vm-01"))
		if fault := v.relocateAndWait(t, to(v, c.host, c.home, c.disks)); fault != c.fault {
			t.Errorf("the fault of %s %v is %q, not %s", c.home, c.disks, fault, c.fault)
		}
		after := (&control{vcenter: v}).storageOf(v.inventory.findVM("vm-01"))
		if after["files"] != before["files"] || v.free("shared") != c.free || v.free("local-2") != 50 || v.free("closed") != 100 {
			t.Errorf("after %s the parts are on %v", c.fault, after)
		}
	}
}

func TestADatastoreClusterHoldsItsDatastores(t *testing.T) {
	v := storageVCenter(t)
	pod, ok := v.inventory.registry.Get(*v.storage.named("shared").Parent).(*simulator.StoragePod)
	if !ok || pod.Name != "pod" || len(pod.ChildEntity) != 1 {
		t.Error("the datastore is not in its cluster")
	}
}

func TestStorageDRSRecommendsTheFastestDatastoreWithRoom(t *testing.T) {
	v := storageVCenter(t)
	v.config.Datastores[0].LatencyMS = 5
	pod := v.storage.pod(v.storage.named("shared").Parent)
	pod.ChildEntity = append(pod.ChildEntity, v.storage.named("local-1").Self, v.storage.named("closed").Self)
	vm, host := v.inventory.findVM("vm-01"), v.inventory.findHost("esx-01")
	if best, fault := v.storage.bestIn(pod, vm, host); best == nil || best.Name != "shared" {
		t.Errorf("it recommends %v (%v)", best, fault)
	}
	v.storage.setFree(v.inventory.as("lab"), v.storage.named("shared"), func(int64) int64 { return 0 })
	if best, _ := v.storage.bestIn(pod, vm, host); best == nil || best.Name != "local-1" {
		t.Errorf("without room on the fastest one it recommends %v", best)
	}
	if best, fault := v.storage.bestIn(pod, vm, v.inventory.findHost("esx-02")); best != nil || fault == nil {
		t.Errorf("where nothing fits it recommends %v", best)
	}
}

func TestAStorageMoveTakesHalfOfAHost(t *testing.T) {
	v := storageVCenter(t)
	plan, fault := v.moves.relocation(v.inventory.findVM("vm-01").Self, to(v, "", "shared", nil))
	if fault != nil {
		t.Fatal(faultName(fault))
	}
	taken, _ := v.moves.cost(plan)
	if taken[hostSlots("esx-01")] != 4 || taken[datastoreSlots("shared")] != 16 || taken[networkSlots("esx-01")] != 0 {
		t.Errorf("it takes %v", taken)
	}
}
