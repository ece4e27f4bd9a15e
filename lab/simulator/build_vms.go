package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

func (b *builder) buildVMs(ctx *simulator.Context) error {
	attributes := map[string]int32{}
	for i, vm := range b.vms() {
		spec := &b.config.VMs[i]
		host := b.byName[spec.Host]
		if host == nil {
			return fmt.Errorf("VM %q: unknown host %q", spec.Name, spec.Host)
		}
		near := b.computes[b.hostSpec(spec.Host).Cluster]
		around := b.sites[near.spec.Datacenter]
		folder, pool := around.folders[spec.Folder], near.pools[spec.Pool]
		if folder == nil || pool == nil {
			return fmt.Errorf("VM %q: unknown folder %q or pool %q", spec.Name, spec.Folder, spec.Pool)
		}
		b.specs[vm.Self.Value] = spec
		identify(vm)
		b.size(vm, spec)
		b.report(vm, spec)
		vm.Runtime.Host, vm.Summary.Runtime.Host = &host.Self, &host.Self
		vm.ResourcePool = &pool.Self
		pool.Vm = append(pool.Vm, vm.Self)
		host.Vm = append(host.Vm, vm.Self)
		if old, ok := b.registry.Get(*vm.Parent).(*simulator.Folder); ok {
			b.registry.RemoveReference(ctx, old, &old.ChildEntity, vm.Self)
		}
		vm.Parent = &folder.Self
		folder.ChildEntity = append(folder.ChildEntity, vm.Self)
		vm.Datastore, vm.Network = nil, nil
		for _, name := range spec.Datastores {
			if datastore := around.datastores[name]; datastore != nil {
				vm.Datastore = append(vm.Datastore, datastore.Self)
				datastore.Vm = append(datastore.Vm, vm.Self)
			}
		}
		if len(vm.Datastore) > 0 {
			b.storeFiles(vm, spec, around.datastores)
		}
		for _, name := range spec.Networks {
			if network := around.networks[name]; network != nil {
				vm.Network = append(vm.Network, network.Self)
				network.Vm = append(network.Vm, vm.Self)
				card := adapter(len(vm.Network)-1, network, vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn)
				vm.Config.Hardware.Device = append(vm.Config.Hardware.Device, card)
			}
		}
		if err := b.attribute(ctx, vm, spec, attributes); err != nil {
			return err
		}
	}
	return nil
}

const diskKey = 2000 // of the first disk, as in a vCenter

// storeFiles gives the VM its files: its own on the first of its datastores, and those of its disks. The simulator looks the
// datastore of each file up by name whenever a VM is reconfigured.
func (b *builder) storeFiles(vm *simulator.VirtualMachine, spec *VM, datastores map[string]*simulator.Datastore) {
	home := b.registry.Get(vm.Datastore[0]).(*simulator.Datastore)
	folder := fmt.Sprintf("[%s] %s/", home.Name, vm.Name)
	own := folder + vm.Name
	vm.Config.Files = types.VirtualMachineFileInfo{
		VmPathName: own + ".vmx", LogDirectory: folder, SnapshotDirectory: folder, SuspendDirectory: folder,
	}
	vm.Summary.Config.VmPathName = own + ".vmx"
	ex := &types.VirtualMachineFileLayoutEx{Timestamp: time.Now()}
	add := func(name string, kind types.VirtualMachineFileLayoutExFileType, gigabytes float64) int32 {
		key, size := int32(len(ex.File)), int64(gigabytes*gib)
		ex.File = append(ex.File, types.VirtualMachineFileLayoutExFileInfo{
			Key: key, Name: name, Type: string(kind), Size: size, UniqueSize: size, Accessible: types.NewBool(true),
		})
		return key
	}
	add(own+".vmx", types.VirtualMachineFileLayoutExFileTypeConfig, 0)
	add(own+".nvram", types.VirtualMachineFileLayoutExFileTypeNvram, 0)
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		swap := spec.MemoryGB - spec.MemoryReservationGB
		add(own+".vswp", types.VirtualMachineFileLayoutExFileTypeSwap, swap)
	}
	layout := types.VirtualMachineFileLayout{}
	template := disks(vm)[0]
	vm.Config.Hardware.Device = slices.DeleteFunc(vm.Config.Hardware.Device, func(device types.BaseVirtualDevice) bool {
		_, is := device.(*types.VirtualDisk)
		return is
	})
	for i, disk := range spec.Disks {
		name := vm.Name
		if i > 0 {
			name = fmt.Sprintf("%s_%d", vm.Name, i)
		}
		datastore := datastores[disk.Datastore]
		path := fmt.Sprintf("[%s] %s/%s", datastore.Name, vm.Name, name)
		key := int32(diskKey + i)
		vm.Config.Hardware.Device = append(vm.Config.Hardware.Device, virtualDisk(template, disk, key, path+".vmdk", datastore))
		ex.Disk = append(ex.Disk, types.VirtualMachineFileLayoutExDiskLayout{
			Key: key, Chain: []types.VirtualMachineFileLayoutExDiskUnit{{FileKey: []int32{
				add(path+".vmdk", types.VirtualMachineFileLayoutExFileTypeDiskDescriptor, 0),
				add(path+"-flat.vmdk", types.VirtualMachineFileLayoutExFileTypeDiskExtent, disk.takesGB()),
			}}},
		})
		layout.Disk = append(layout.Disk, types.VirtualMachineFileLayoutDiskLayout{Key: key, DiskFile: []string{path + ".vmdk"}})
	}
	vm.LayoutEx, vm.Layout = ex, &layout
}

func virtualDisk(
	template *types.VirtualDisk, disk Disk, key int32, path string, datastore *simulator.Datastore,
) *types.VirtualDisk {
	made := *template
	made.Key, made.UnitNumber = key, types.NewInt32(key-diskKey)
	label := fmt.Sprintf("Hard disk %d", key-diskKey+1)
	made.DeviceInfo = &types.Description{Label: label, Summary: fmt.Sprintf("%.0f KB", disk.SizeGB*gib/1024)}
	made.CapacityInBytes, made.CapacityInKB = int64(disk.SizeGB*gib), int64(disk.SizeGB*gib/1024)
	backing := &types.VirtualDiskFlatVer2BackingInfo{
		DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(disk.Thin), Uuid: uuid.NewString(),
	}
	backing.FileName, backing.Datastore = path, &datastore.Self
	if disk.MultiWriter {
		backing.Sharing = multiWriter
	}
	made.Backing = backing
	return &made
}

// identify gives the VM UUIDs of its own: the simulator gives the first VM of every vCenter the same ones.
func identify(vm *simulator.VirtualMachine) {
	instance, bios := uuid.NewString(), uuid.NewString()
	vm.Config.InstanceUuid, vm.Summary.Config.InstanceUuid = instance, instance
	vm.Config.Uuid, vm.Summary.Config.Uuid = bios, bios
}

func (b *builder) size(vm *simulator.VirtualMachine, spec *VM) {
	name := escaped(spec.Name)
	vm.Name, vm.Config.Name, vm.Summary.Config.Name = name, name, name
	megabytes := int32(spec.MemoryGB * 1024)
	vm.Config.Hardware.MemoryMB, vm.Summary.Config.MemorySizeMB = megabytes, megabytes
	vm.Config.Hardware.NumCPU, vm.Summary.Config.NumCpu = int32(spec.CPUs), int32(spec.CPUs)
	reservation := int64(spec.MemoryReservationGB * 1024)
	vm.Config.MemoryAllocation = &types.ResourceAllocationInfo{Reservation: &reservation}
	vm.Config.CpuAllocation = &types.ResourceAllocationInfo{Reservation: types.NewInt64(int64(spec.CPUReservationMHz))}
	vm.Config.Template, vm.Summary.Config.Template = spec.Template, spec.Template
	if len(spec.CPUAffinity) > 0 {
		vm.Config.CpuAffinity = &types.VirtualMachineAffinityInfo{AffinitySet: spec.CPUAffinity}
	}
	if spec.ManagedBy != "" {
		vm.Config.ManagedBy = &types.ManagedByInfo{ExtensionKey: spec.ManagedBy, Type: "instance"}
	}
	vm.Config.Version = fmt.Sprintf("vmx-%d", spec.HardwareVersion)
	vm.Runtime.MinRequiredEVCModeKey = spec.EVC
	vm.Runtime.FeatureRequirement = nil
	for _, feature := range spec.CPUFeatures {
		vm.Runtime.FeatureRequirement = append(vm.Runtime.FeatureRequirement, types.VirtualMachineFeatureRequirement{
			Key: feature, FeatureName: feature, Value: "Bool:Min:1",
		})
	}
	vm.DisabledMethod = append(vm.DisabledMethod, spec.DisabledMethods...)
	b.power(vm, map[string]types.VirtualMachinePowerState{
		"": "poweredOn", "on": "poweredOn", "off": "poweredOff", "suspended": "suspended",
	}[spec.Power])
	vm.Config.Hardware.Device = slices.DeleteFunc(vm.Config.Hardware.Device, isRemovable)
	for i, kind := range spec.Devices {
		if device := device(kind, int32(13000+i)); device != nil {
			vm.Config.Hardware.Device = append(vm.Config.Hardware.Device, device)
		}
	}
}

// isRemovable reports the drives and adapters that the simulator attaches to every VM; the topology names the ones to have.
func isRemovable(device types.BaseVirtualDevice) bool {
	switch device.(type) {
	case *types.VirtualCdrom, *types.VirtualFloppy, types.BaseVirtualEthernetCard:
		return true
	}
	return false
}

func (b *builder) power(vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) {
	vm.Runtime.PowerState, vm.Summary.Runtime.PowerState = state, state
	// The simulator leaves these enumerations empty; strict clients fail to read them.
	vm.Runtime.FaultToleranceState, vm.Summary.Runtime.FaultToleranceState = "notConfigured", "notConfigured"
	vm.Runtime.RecordReplayState, vm.Summary.Runtime.RecordReplayState = "inactive", "inactive"
}

func (b *builder) report(vm *simulator.VirtualMachine, spec *VM) {
	quick := &vm.Summary.QuickStats
	quick.OverallCpuUsage = int32(spec.CPUUsedMHz)
	quick.HostMemoryUsage = int32(spec.memoryUsed() * 1024)
	quick.GuestMemoryUsage = quick.HostMemoryUsage
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return
	}
	booted := time.Now().Add(-72 * time.Hour)
	vm.Runtime.BootTime = &booted
	if spec.Guest.Address == "" || !spec.hasTools() {
		return
	}
	vm.Guest.GuestOperationsReady = types.NewBool(true)
	vm.Guest.IpAddress, vm.Guest.HostName = spec.Guest.Address, spec.Guest.Hostname
	vm.Guest.ToolsRunningStatus = string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	vm.Guest.Net = []types.GuestNicInfo{{Connected: true, IpAddress: []string{spec.Guest.Address}}}
	vm.Summary.Guest.IpAddress, vm.Summary.Guest.HostName = spec.Guest.Address, spec.Guest.Hostname
}

func (b *builder) attribute(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *VM, known map[string]int32) error {
	manager := b.registry.CustomFieldsManager()
	for name, value := range spec.Attributes {
		if _, ok := known[name]; !ok {
			res := addAttribute(ctx, manager, &types.AddCustomFieldDef{Name: name, MoType: "VirtualMachine"})
			if fault := res.Fault(); fault != nil {
				return fmt.Errorf("attribute %q: %s", name, fault.String)
			}
			for _, field := range manager.Field {
				known[field.Name] = field.Key
			}
		}
		manager.SetField(ctx, &types.SetField{Entity: vm.Self, Key: known[name], Value: value})
	}
	return nil
}

// deviceLabels are what a vCenter calls the devices in a VM's settings.
var deviceLabels = map[string]string{
	"passthrough": "PCI device 0", "cdrom_host": "CD/DVD drive 1", "cdrom_iso": "CD/DVD drive 1", "usb_host": "USB 1", "usb_remote": "USB 1",
	"serial_uri": "Serial port 1", "serial_proxy": "Serial port 1", "scsi_host": "SCSI device 1", "shared_bus": "SCSI controller 1",
}

func device(kind string, key int32) types.BaseVirtualDevice {
	connected := &types.VirtualDeviceConnectInfo{Connected: true, StartConnected: true}
	label := cmp.Or(deviceLabels[kind], kind)
	base := types.VirtualDevice{Key: key, DeviceInfo: &types.Description{Label: label, Summary: kind}, Connectable: connected}
	if profile := vgpuOf(kind); profile != "" {
		base.Backing = &types.VirtualPCIPassthroughVmiopBackingInfo{Vgpu: profile}
		return &types.VirtualPCIPassthrough{VirtualDevice: base}
	}
	switch kind {
	case "passthrough":
		base.Backing = &types.VirtualPCIPassthroughDeviceBackingInfo{Id: "0000:3b:00.0", DeviceId: "1db4", SystemId: "lab", VendorId: 0x10de}
		return &types.VirtualPCIPassthrough{VirtualDevice: base}
	case "cdrom_host":
		base.Backing = &types.VirtualCdromAtapiBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "/dev/cdrom"},
		}
		return &types.VirtualCdrom{VirtualDevice: base}
	case "cdrom_iso":
		return &types.VirtualCdrom{VirtualDevice: base}
	case "usb_host":
		base.Backing = &types.VirtualUSBUSBBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "path:1/0"},
		}
		return &types.VirtualUSB{VirtualDevice: base, Connected: true}
	case "usb_remote":
		base.Backing = &types.VirtualUSBRemoteHostBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "path:1/1"}, Hostname: "esx-01",
		}
		return &types.VirtualUSB{VirtualDevice: base, Connected: true}
	case "serial_uri":
		base.Backing = &types.VirtualSerialPortURIBackingInfo{
			VirtualDeviceURIBackingInfo: types.VirtualDeviceURIBackingInfo{ServiceURI: "telnet://:7001", Direction: "server"},
		}
		return &types.VirtualSerialPort{VirtualDevice: base}
	case "serial_proxy":
		base.Backing = &types.VirtualSerialPortURIBackingInfo{
			VirtualDeviceURIBackingInfo: types.VirtualDeviceURIBackingInfo{
				ServiceURI: "vspc", Direction: "client", ProxyURI: "telnet://vspc.lab:13370",
			},
		}
		return &types.VirtualSerialPort{VirtualDevice: base}
	case "scsi_host":
		base.Backing = &types.VirtualSCSIPassthroughDeviceBackingInfo{
			VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "/vmfs/devices/tape0"},
		}
		return &types.VirtualSCSIPassthrough{VirtualDevice: base}
	case "shared_bus":
		return &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
			VirtualController: types.VirtualController{VirtualDevice: base}, SharedBus: types.VirtualSCSISharingVirtualSharing,
		}}
	}
	return nil
}
