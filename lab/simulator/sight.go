package main

import (
	"slices"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// sight is what clients may not read: of some objects some properties. The property collector answers them in missingSet, as a
// vCenter does for a user with System.View who has no System.Read.
type sight struct {
	mu     sync.Mutex
	hidden map[types.ManagedObjectReference]map[string]types.BaseMethodFault
}

func newSight() *sight {
	return &sight{hidden: map[types.ManagedObjectReference]map[string]types.BaseMethodFault{}}
}

// hide hides properties of an object; without a fault they are shown again.
func (s *sight) hide(ref types.ManagedObjectReference, paths []string, fault types.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hidden[ref] == nil {
		s.hidden[ref] = map[string]types.BaseMethodFault{}
	}
	for _, path := range paths {
		if fault == nil {
			delete(s.hidden[ref], path)
		} else {
			s.hidden[ref][path] = fault
		}
	}
}

// dim moves hidden properties of an answer to its missingSet.
func (s *sight) dim(objects []types.ObjectContent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range objects {
		hidden, object := s.hidden[objects[i].Obj], &objects[i]
		if len(hidden) == 0 {
			continue
		}
		object.PropSet = slices.DeleteFunc(slices.Clone(object.PropSet), func(property types.DynamicProperty) bool {
			fault := hidden[property.Name]
			if fault == nil {
				return false
			}
			object.MissingSet = append(object.MissingSet, types.MissingProperty{
				Path: property.Name, Fault: types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultName(fault)},
			})
			return true
		})
	}
}

// collectorOf finds a collector of the session; an earlier session's collectors ended with it.
func collectorOf(ctx *simulator.Context, ref types.ManagedObjectReference) (*simulator.PropertyCollector, *soap.Fault) {
	collector, ok := ctx.Session.Get(ref).(*simulator.PropertyCollector)
	if !ok {
		return nil, simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
	}
	return collector, nil
}

// FindByUuid finds VMs. That of the simulator takes the lab's own objects for VMs.
func (o *overrides) FindByUuid(_ *simulator.Context, req *types.FindByUuid) soap.HasFault {
	body := &methods.FindByUuidBody{Res: &types.FindByUuidResponse{}}
	if !req.VmSearch {
		body.Fault_ = simulator.Fault("", &types.NotSupported{})
		return body
	}
	if vm := o.vcenter.inventory.withUUID(req.Uuid, req.InstanceUuid != nil && *req.InstanceUuid); vm != nil {
		body.Res.Returnval = &vm.Self
	}
	return body
}

// RetrievePropertiesEx is the simulator's, without what may not be read.
func (o *overrides) RetrievePropertiesEx(ctx *simulator.Context, req *types.RetrievePropertiesEx) soap.HasFault {
	collector, fault := collectorOf(ctx, req.This)
	if fault != nil {
		return &methods.RetrievePropertiesExBody{Fault_: fault}
	}
	answer := collector.RetrievePropertiesEx(ctx, req)
	if body, ok := answer.(*methods.RetrievePropertiesExBody); ok && body.Res != nil && body.Res.Returnval != nil {
		o.vcenter.sight.dim(body.Res.Returnval.Objects)
	}
	return answer
}

// ContinueRetrievePropertiesEx is the next page of the same.
func (o *overrides) ContinueRetrievePropertiesEx(ctx *simulator.Context, req *types.ContinueRetrievePropertiesEx) soap.HasFault {
	collector, fault := collectorOf(ctx, req.This)
	if fault != nil {
		return &methods.ContinueRetrievePropertiesExBody{Fault_: fault}
	}
	answer := collector.ContinueRetrievePropertiesEx(ctx, req)
	if body, ok := answer.(*methods.ContinueRetrievePropertiesExBody); ok && body.Res != nil {
		o.vcenter.sight.dim(body.Res.Returnval.Objects)
	}
	return answer
}

// CreateFilter rejects a filter with an object that does not exist, unless the filter asks for a report of missing objects
// (PropertyFilterSpec.reportMissingObjectsInResults). The simulator takes every filter, and fails later.
func (o *overrides) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) soap.HasFault {
	collector, fault := collectorOf(ctx, req.This)
	if fault != nil {
		return &methods.CreateFilterBody{Fault_: fault}
	}
	var missing, all []types.ManagedObjectReference
	req.Spec.ObjectSet = slices.DeleteFunc(req.Spec.ObjectSet, func(spec types.ObjectSpec) bool {
		all = append(all, spec.Obj)
		if ctx.Session.Get(spec.Obj) == nil {
			missing = append(missing, spec.Obj)
			return true
		}
		return false
	})
	told := req.Spec.ReportMissingObjectsInResults != nil && *req.Spec.ReportMissingObjectsInResults
	if len(missing) > 0 && !told {
		return &methods.CreateFilterBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: missing[0]})}
	}
	// An object that is deleted later leaves the filter; the simulator would let the whole filter fail.
	req.Spec.ReportMissingObjectsInResults = types.NewBool(true)
	answer := collector.CreateFilter(ctx, req)
	if body, ok := answer.(*methods.CreateFilterBody); ok && body.Res != nil {
		o.vcenter.missing.note(req.This, body.Res.Returnval, all)
	}
	return answer
}

// missing are the objects that filters asked for and of which their clients have heard nothing yet, by collector and filter. One of
// them may be gone before the first update.
type missing struct {
	mu     sync.Mutex
	silent map[types.ManagedObjectReference]map[types.ManagedObjectReference][]types.ManagedObjectReference
}

func newMissing() *missing {
	return &missing{silent: map[types.ManagedObjectReference]map[types.ManagedObjectReference][]types.ManagedObjectReference{}}
}

func (m *missing) note(collector, filter types.ManagedObjectReference, objects []types.ManagedObjectReference) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.silent[collector] == nil {
		m.silent[collector] = map[types.ManagedObjectReference][]types.ManagedObjectReference{}
	}
	m.silent[collector][filter] = objects
}

// take are the updates about objects that do not exist, each once.
func (m *missing) take(ctx *simulator.Context, collector types.ManagedObjectReference) (updates []types.PropertyFilterUpdate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for filter, objects := range m.silent[collector] {
		if ctx.Session.Get(filter) == nil {
			delete(m.silent[collector], filter)
			continue
		}
		update := types.PropertyFilterUpdate{Filter: filter}
		m.silent[collector][filter] = slices.DeleteFunc(objects, func(object types.ManagedObjectReference) bool {
			if ctx.Session.Get(object) != nil {
				return false
			}
			fault := types.LocalizedMethodFault{Fault: &types.ManagedObjectNotFound{Obj: object}, LocalizedMessage: "ManagedObjectNotFound"}
			update.MissingSet = append(update.MissingSet, types.MissingObject{Obj: object, Fault: fault})
			return true
		})
		if len(update.MissingSet) > 0 {
			updates = append(updates, update)
		}
	}
	return updates
}

// heard notes that the client knows these objects.
func (m *missing) heard(collector types.ManagedObjectReference, updates []types.PropertyFilterUpdate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.silent[collector] == nil {
		return
	}
	for _, update := range updates {
		m.silent[collector][update.Filter] = slices.DeleteFunc(m.silent[collector][update.Filter], func(object types.ManagedObjectReference) bool {
			return slices.ContainsFunc(update.ObjectSet, func(each types.ObjectUpdate) bool { return each.Obj == object })
		})
	}
}

// WaitForUpdatesEx is the simulator's, and reports which objects are missing.
func (o *overrides) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	collector, fault := collectorOf(ctx, req.This)
	if fault != nil {
		return &methods.WaitForUpdatesExBody{Fault_: fault}
	}
	updates := o.vcenter.missing.take(ctx, req.This)
	if len(updates) > 0 {
		now := int32(0)
		req.Options = &types.WaitOptions{MaxWaitSeconds: &now}
	}
	answer := collector.WaitForUpdatesEx(ctx, req)
	body, ok := answer.(*methods.WaitForUpdatesExBody)
	if !ok || body.Res == nil {
		return answer
	}
	if body.Res.Returnval == nil && len(updates) > 0 {
		body.Res.Returnval = &types.UpdateSet{Version: req.Version}
	}
	if body.Res.Returnval != nil {
		o.vcenter.missing.heard(req.This, body.Res.Returnval.FilterSet)
		body.Res.Returnval.FilterSet = append(body.Res.Returnval.FilterSet, updates...)
	}
	return answer
}
