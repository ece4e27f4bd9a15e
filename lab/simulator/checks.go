package main

import (
	"reflect"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// impossible is the typed fault for which a vCenter would not carry out the move now.
func (s *sddc) impossible(vm *simulator.VirtualMachine, source, target *simulator.HostSystem) types.BaseMethodFault {
	switch {
	case s.registry.Get(vm.Self) == nil:
		return &types.ManagedObjectNotFound{Obj: vm.Self}
	case vm.Config.Template:
		return &types.NotSupported{}
	case source.Runtime.ConnectionState != types.HostSystemConnectionStateConnected,
		target.Runtime.ConnectionState != types.HostSystemConnectionStateConnected:
		return &types.HostNotConnected{}
	case target.Runtime.InMaintenanceMode || s.isEntering(target.Self.Value):
		return &types.InvalidHostState{Host: &target.Self}
	case !target.Summary.Config.VmotionEnabled:
		return &types.VMotionNotConfigured{}
	}
	for _, datastore := range vm.Datastore {
		if !slices.Contains(target.Datastore, datastore) {
			return &types.CannotAccessVmConfig{Reason: types.LocalizedMethodFault{Fault: &types.InvalidDatastore{Datastore: &datastore}}}
		}
	}
	for _, network := range vm.Network {
		if !slices.Contains(target.Network, network) {
			return &types.CannotAccessNetwork{CannotAccessVmDevice: types.CannotAccessVmDevice{
				Device: "Network adapter 1", Backing: network.Value,
			}}
		}
	}
	if fault := s.attached(vm); fault != nil {
		return fault
	}
	if fault := s.ruled(vm, target); fault != nil {
		return fault
	}
	free := target.Hardware.MemorySize - int64(target.Summary.QuickStats.OverallMemoryUsage)<<20
	needed := int64(s.spec[vm.Self.Value].memoryUsed() * gib)
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn && needed > free {
		return &types.InsufficientMemoryResourcesFault{Unreserved: free, Requested: needed}
	}
	return nil
}

func (s *sddc) attached(vm *simulator.VirtualMachine) types.BaseMethodFault {
	for _, kind := range s.spec[vm.Self.Value].Devices {
		switch kind {
		case "passthrough", "cdrom_host", "usb_host":
			return &types.DisallowedMigrationDeviceAttached{
				Fault: types.LocalizedMethodFault{Fault: &types.DeviceNotSupported{
					VirtualHardwareCompatibilityIssue: types.VirtualHardwareCompatibilityIssue{}, Device: kind,
				}},
			}
		}
	}
	return nil
}

func (s *sddc) ruled(vm *simulator.VirtualMachine, target *simulator.HostSystem) types.BaseMethodFault {
	for _, rule := range s.config.Clusters[0].Rules {
		if rule.Kind == "vm_host" && rule.Mandatory && slices.Contains(rule.VMs, vm.Name) &&
			!slices.Contains(rule.Hosts, target.Name) {
			return &types.VmHostAffinityRuleViolation{VmName: vm.Name, HostName: target.Name}
		}
	}
	return nil
}

// newFault makes a fault by its class name; an unknown name is the caller's mistake and nil.
// References that the class demands point to about, since clients refuse empty ones.
func newFault(name string, about types.ManagedObjectReference) types.BaseMethodFault {
	kind, ok := types.TypeFunc()(name)
	if !ok || kind.Kind() != reflect.Struct {
		return nil
	}
	value := reflect.New(kind)
	for i := range kind.NumField() {
		if field := value.Elem().Field(i); field.Type() == reflect.TypeOf(about) {
			field.Set(reflect.ValueOf(about))
		}
	}
	fault, _ := value.Interface().(types.BaseMethodFault)
	return fault
}

func hostArgument(host *simulator.HostSystem) *types.HostEventArgument {
	return &types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Host: host.Self}
}

func (s *sddc) vmEvent(vm *simulator.VirtualMachine, host *simulator.HostSystem) types.VmEvent {
	return types.VmEvent{Event: types.Event{
		Vm:   &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self},
		Host: hostArgument(host),
		Ds: &types.DatastoreEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: s.config.Datastores[0].Name}, Datastore: s.cluster.Datastore[0],
		},
		ComputeResource: &types.ComputeResourceEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: s.cluster.Name}, ComputeResource: s.cluster.Self,
		},
		Datacenter: &types.DatacenterEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: s.config.Datacenter},
			Datacenter:          s.registry.Any("Datacenter").Reference(),
		},
	}}
}
