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
	var missing []types.ManagedObjectReference
	req.Spec.ObjectSet = slices.DeleteFunc(req.Spec.ObjectSet, func(spec types.ObjectSpec) bool {
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
	if body, ok := answer.(*methods.CreateFilterBody); ok && body.Res != nil && len(missing) > 0 {
		o.vcenter.missing.note(req.This, body.Res.Returnval, missing)
	}
	return answer
}

// missing are objects that filters asked for and that do not exist, by collector, until its client knows.
type missing struct {
	mu      sync.Mutex
	updates map[types.ManagedObjectReference][]types.PropertyFilterUpdate
}

func newMissing() *missing {
	return &missing{updates: map[types.ManagedObjectReference][]types.PropertyFilterUpdate{}}
}

func (m *missing) note(collector, filter types.ManagedObjectReference, objects []types.ManagedObjectReference) {
	update := types.PropertyFilterUpdate{Filter: filter}
	for _, object := range objects {
		fault := types.LocalizedMethodFault{Fault: &types.ManagedObjectNotFound{Obj: object}, LocalizedMessage: "ManagedObjectNotFound"}
		update.MissingSet = append(update.MissingSet, types.MissingObject{Obj: object, Fault: fault})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updates[collector] = append(m.updates[collector], update)
}

func (m *missing) take(collector types.ManagedObjectReference) []types.PropertyFilterUpdate {
	m.mu.Lock()
	defer m.mu.Unlock()
	updates := m.updates[collector]
	delete(m.updates, collector)
	return updates
}

// WaitForUpdatesEx is the simulator's, and reports which objects are missing.
func (o *overrides) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) soap.HasFault {
	collector, fault := collectorOf(ctx, req.This)
	if fault != nil {
		return &methods.WaitForUpdatesExBody{Fault_: fault}
	}
	updates := o.vcenter.missing.take(req.This)
	if len(updates) > 0 {
		now := int32(0)
		req.Options = &types.WaitOptions{MaxWaitSeconds: &now}
	}
	answer := collector.WaitForUpdatesEx(ctx, req)
	if body, ok := answer.(*methods.WaitForUpdatesExBody); ok && body.Res != nil && len(updates) > 0 {
		if body.Res.Returnval == nil {
			body.Res.Returnval = &types.UpdateSet{Version: req.Version}
		}
		body.Res.Returnval.FilterSet = append(body.Res.Returnval.FilterSet, updates...)
	}
	return answer
}
