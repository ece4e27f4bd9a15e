package main

import (
	"reflect"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/types"
)

// copyModel makes the hosts and VMs of the topology out of the one host and the one VM of the simulator's model. The model waits 20 ms
// for each object that it makes.
func (b *builder) copyModel() {
	cluster := b.registry.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
	ctx := b.as(b.config.VCenter.User)
	for range len(b.config.Hosts) - 1 {
		host := simulator.NewHostSystem(ctx, esx.HostSystem)
		host.Summary.Hardware.Uuid = uuid.NewString()
		host.Hardware.SystemInfo.Uuid = host.Summary.Hardware.Uuid
		host.Runtime.ConnectionState = types.HostSystemConnectionStateConnected
		b.registry.PutEntity(cluster, b.registry.NewEntity(host))
		host.Summary.Host, host.Config.Host = &host.Self, host.Self
	}
	if len(b.config.VMs) == 0 {
		return
	}
	first := b.vms()[0]
	for range len(b.config.VMs) - 1 {
		vm := &simulator.VirtualMachine{VirtualMachine: deepCopy(first.VirtualMachine), DataSets: map[string]*simulator.DataSet{}}
		vm.Config.Uuid, vm.Config.InstanceUuid = uuid.NewString(), uuid.NewString()
		vm.Summary.Config.Uuid, vm.Summary.Config.InstanceUuid = vm.Config.Uuid, vm.Config.InstanceUuid
		vm.RecentTask = nil
		b.registry.Put(b.registry.NewEntity(vm))
		vm.Summary.Vm = &vm.Self
	}
}

// deepCopy is a value with copies of everything that it points to.
func deepCopy[T any](value T) T {
	return copyOf(reflect.ValueOf(&value).Elem()).Interface().(T)
}

func copyOf(from reflect.Value) reflect.Value {
	to := reflect.New(from.Type()).Elem()
	switch from.Kind() {
	case reflect.Pointer:
		if from.IsNil() {
			return from
		}
		to.Set(reflect.New(from.Type().Elem()))
		to.Elem().Set(copyOf(from.Elem()))
	case reflect.Interface:
		if from.IsNil() {
			return from
		}
		to.Set(copyOf(from.Elem()))
	case reflect.Slice:
		if from.IsNil() {
			return from
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		for i := range from.Len() {
			to.Index(i).Set(copyOf(from.Index(i)))
		}
	case reflect.Struct:
		to.Set(from)
		for i := range from.NumField() {
			if to.Field(i).CanSet() { // the fields of a time cannot be set, and need no copy
				to.Field(i).Set(copyOf(from.Field(i)))
			}
		}
	default:
		return from
	}
	return to
}
