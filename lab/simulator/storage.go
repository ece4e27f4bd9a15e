package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// ownFiles is the key of the part of a VM that is not a disk: its configuration, swap and log files.
const ownFiles int32 = 0

// layout is the datastore of each part of a VM: of its own files, and of each disk by its device key.
type layout map[int32]types.ManagedObjectReference

// storage knows where the parts of VMs are, and keeps the free space of datastores.
type storage struct {
	inventory *inventory

	mu sync.Mutex // held while space is claimed
}

func (s *storage) datastore(ref types.ManagedObjectReference) *simulator.Datastore {
	datastore, _ := s.inventory.registry.Get(ref).(*simulator.Datastore)
	return datastore
}

func (s *storage) named(name string) *simulator.Datastore {
	for _, datastore := range all[*simulator.Datastore](s.inventory, "Datastore") {
		if datastore.Name == name {
			return datastore
		}
	}
	return nil
}

// disks are the VM's virtual disks; the caller holds its lock, or nobody else has the VM yet.
func disks(vm *simulator.VirtualMachine) []*types.VirtualDisk {
	var found []*types.VirtualDisk
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			found = append(found, disk)
		}
	}
	return found
}

// layout is where the VM's parts are now.
func (s *storage) layout(vm *simulator.VirtualMachine) layout {
	found := layout{}
	s.inventory.as("").WithLock(vm, func() {
		name := datastoreOf(vm.Config.Files.VmPathName)
		for _, ref := range vm.Datastore {
			if home := s.datastore(ref); home != nil && home.Name == name {
				found[ownFiles] = ref
			}
		}
		for _, disk := range disks(vm) {
			if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
				if datastore := backing.GetVirtualDeviceFileBackingInfo().Datastore; datastore != nil {
					found[disk.Key] = *datastore
				}
			}
		}
	})
	return found
}

// datastoreOf is the datastore's name in a path such as "[vsan] vm-01/vm-01.vmx".
func datastoreOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "["), "] ")
	return name
}

// wanted is where a RelocateSpec puts the VM's parts: a disk that the spec does not name follows the VM's own files.
func (s *storage) wanted(
	now layout, home *types.ManagedObjectReference, disks []types.VirtualMachineRelocateSpecDiskLocator,
) (layout, types.BaseMethodFault) {
	wanted := maps.Clone(now)
	if home != nil {
		for key := range wanted {
			wanted[key] = *home
		}
	}
	for _, disk := range disks {
		if _, known := now[disk.DiskId]; !known || disk.DiskId == ownFiles {
			return nil, &types.InvalidArgument{InvalidProperty: "spec.disk.diskId"}
		}
		wanted[disk.DiskId] = disk.Datastore
	}
	for key, ref := range wanted {
		if ref != now[key] && s.datastore(ref) == nil {
			return nil, &types.ManagedObjectNotFound{Obj: ref}
		}
	}
	return wanted, nil
}

// transfers names the parts that move, and their datastores.
func (s *storage) transfers(plan relocation) map[string]Transfer {
	found := map[string]Transfer{}
	for part, ref := range plan.from {
		if to := plan.wanted[part]; s.moves(plan, part) {
			found[s.partName(plan.vm, part)] = Transfer{s.datastore(ref).Name, plan.storage(s).datastore(to).Name}
		}
	}
	return found
}

// partName is the label of a disk, or "files".
func (s *storage) partName(vm *simulator.VirtualMachine, part int32) string {
	name := "files"
	s.inventory.as("").WithLock(vm, func() {
		for _, disk := range disks(vm) {
			if disk.Key == part {
				name = disk.DeviceInfo.GetDescription().Label
			}
		}
	})
	return name
}

// size is the space that a part takes on its datastore, in bytes.
func (s *storage) size(vm *simulator.VirtualMachine, part int32) int64 {
	var size int64
	s.inventory.as("").WithLock(vm, func() {
		files := map[int32]int64{}
		for _, file := range vm.LayoutEx.File {
			files[file.Key] = file.Size
		}
		for _, disk := range vm.LayoutEx.Disk {
			for _, unit := range disk.Chain {
				for _, key := range unit.FileKey {
					if disk.Key == part {
						size += files[key]
					}
					delete(files, key)
				}
			}
		}
		if part == ownFiles {
			for _, rest := range files {
				size += rest
			}
		}
	})
	return size
}

// moves reports whether a part is copied to another location. A location that several data centres reach has an object in each.
func (s *storage) moves(plan relocation, part int32) bool {
	from, to := s.datastore(plan.from[part]), plan.storage(s).datastore(plan.wanted[part])
	return from != to && (from == nil || to == nil || from.Summary.Url != to.Summary.Url)
}

// movesFiles reports whether any part is.
func (s *storage) movesFiles(plan relocation) bool {
	for part := range plan.wanted {
		if s.moves(plan, part) {
			return true
		}
	}
	return false
}

// transferOf is what each datastore gets when the VM's parts move, in bytes; what leaves counts at the end of the move.
func (s *storage) transferOf(plan relocation) (arriving, leaving map[types.ManagedObjectReference]int64) {
	arriving, leaving = map[types.ManagedObjectReference]int64{}, map[types.ManagedObjectReference]int64{}
	for part, ref := range plan.wanted {
		if s.moves(plan, part) {
			size := s.size(plan.vm, part)
			arriving[ref] += size
			leaving[plan.from[part]] += size
		}
	}
	return arriving, leaving
}

// obstacle is the fault of a datastore that cannot take what arrives on it, seen from the host.
func (s *storage) obstacle(host *simulator.HostSystem, arriving map[types.ManagedObjectReference]int64) types.BaseMethodFault {
	for ref, size := range arriving {
		datastore := s.datastore(ref)
		switch {
		case datastore == nil:
			return &types.ManagedObjectNotFound{Obj: ref}
		case !s.reaches(host, ref):
			return &types.InvalidDatastore{Datastore: &ref, Name: datastore.Name}
		case datastore.Summary.MaintenanceMode != "" && datastore.Summary.MaintenanceMode != normalMode:
			return &types.InvalidDatastoreState{DatastoreName: datastore.Name}
		case datastore.Summary.FreeSpace < size:
			return &types.InsufficientStorageSpace{}
		}
	}
	return nil
}

// claim takes the space of what arrives, or reports why that is impossible now.
func (s *storage) claim(
	ctx *simulator.Context, host *simulator.HostSystem, arriving map[types.ManagedObjectReference]int64,
) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fault := s.obstacle(host, arriving); fault != nil {
		return fault
	}
	s.take(ctx, arriving, 1)
	return nil
}

// reaches reports whether a host mounts a datastore and can access it.
func (s *storage) reaches(host *simulator.HostSystem, ref types.ManagedObjectReference) bool {
	datastore := s.datastore(ref)
	return datastore != nil && slices.ContainsFunc(datastore.Host, func(mount types.DatastoreHostMount) bool {
		return mount.Key == host.Self && mount.MountInfo.Accessible != nil && *mount.MountInfo.Accessible
	})
}

// take lowers the free space of datastores; with the sign -1 it raises it.
func (s *storage) take(ctx *simulator.Context, sizes map[types.ManagedObjectReference]int64, sign int64) {
	for ref, size := range sizes {
		if datastore := s.datastore(ref); datastore != nil {
			for _, same := range all[*simulator.Datastore](s.inventory, "Datastore") {
				if same.Summary.Url == datastore.Summary.Url {
					s.setFree(ctx, same, func(free int64) int64 { return free - sign*size })
				}
			}
		}
	}
}

func (s *storage) setFree(ctx *simulator.Context, datastore *simulator.Datastore, change func(int64) int64) {
	ctx.WithLock(datastore, func() {
		free := min(datastore.Summary.Capacity, max(0, change(datastore.Summary.FreeSpace)))
		datastore.Info.GetDatastoreInfo().FreeSpace = free
		ctx.Update(datastore, []types.PropertyChange{{Name: "summary.freeSpace", Val: free}})
	})
}

// place changes the datastores of the VM's parts, in every list and path that names them.
func (s *storage) place(ctx *simulator.Context, plan relocation) {
	vm := plan.vm
	if s.inventory.vm(vm.Self) == nil {
		return
	}
	var before, after []types.ManagedObjectReference
	ctx.WithLock(vm, func() {
		before, after = slices.Clone(vm.Datastore), plan.datastores()
		for part, ref := range plan.wanted {
			if ref != plan.from[part] {
				putFiles(vm, part, s.datastore(ref))
			}
		}
		ctx.Update(vm, []types.PropertyChange{
			{Name: "datastore", Val: after}, {Name: "config.files", Val: vm.Config.Files},
			{Name: "config.hardware.device", Val: vm.Config.Hardware.Device}, {Name: "layoutEx", Val: vm.LayoutEx},
			{Name: "summary.config.vmPathName", Val: vm.Summary.Config.VmPathName},
		})
	})
	for _, ref := range before {
		if datastore := s.datastore(ref); datastore != nil && !slices.Contains(after, ref) {
			ctx.WithLock(datastore, func() { s.inventory.registry.RemoveReference(ctx, datastore, &datastore.Vm, vm.Self) })
		}
	}
	for _, ref := range after {
		if datastore := s.datastore(ref); datastore != nil && !slices.Contains(before, ref) {
			ctx.WithLock(datastore, func() { s.inventory.registry.AppendReference(ctx, datastore, &datastore.Vm, vm.Self) })
		}
	}
}

// putFiles changes the datastore in the paths of one part. Nobody changes what older references to the lists point to.
func putFiles(vm *simulator.VirtualMachine, part int32, datastore *simulator.Datastore) {
	moved := func(path string) string {
		if _, inside, ok := strings.Cut(path, "] "); ok {
			return fmt.Sprintf("[%s] %s", datastore.Name, inside)
		}
		return path
	}
	inChains := map[int32]int32{}
	for _, disk := range vm.LayoutEx.Disk {
		for _, unit := range disk.Chain {
			for _, key := range unit.FileKey {
				inChains[key] = disk.Key
			}
		}
	}
	layoutEx := *vm.LayoutEx
	layoutEx.File = slices.Clone(layoutEx.File)
	for i, file := range layoutEx.File {
		if inChains[file.Key] == part {
			layoutEx.File[i].Name = moved(file.Name)
		}
	}
	vm.LayoutEx = &layoutEx
	if part == ownFiles {
		files := &vm.Config.Files
		for _, path := range []*string{
			&files.VmPathName, &files.LogDirectory, &files.SnapshotDirectory, &files.SuspendDirectory, &vm.Summary.Config.VmPathName,
		} {
			*path = moved(*path)
		}
		return
	}
	devices := slices.Clone(vm.Config.Hardware.Device)
	for i, device := range devices {
		disk, ok := device.(*types.VirtualDisk)
		if !ok || disk.Key != part {
			continue
		}
		if flat, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo); ok {
			backing, changed := *flat, *disk
			backing.Datastore, backing.FileName = &datastore.Self, moved(flat.FileName)
			changed.Backing = &backing
			devices[i] = &changed
		}
	}
	vm.Config.Hardware.Device = devices
	for i := range vm.Layout.Disk {
		if vm.Layout.Disk[i].Key == part {
			for j := range vm.Layout.Disk[i].DiskFile {
				vm.Layout.Disk[i].DiskFile[j] = moved(vm.Layout.Disk[i].DiskFile[j])
			}
		}
	}
}

const normalMode = string(types.DatastoreSummaryMaintenanceModeStateNormal)
