package main

import (
	"reflect"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// clusterConfig is the configuration of the clusters, as clients read and change it. A configuration never changes: a change
// makes a new one, so that nobody reads half of a change.
type clusterConfig struct {
	inventory *inventory
	tasks     *tasks

	queue sync.Mutex // held by the task whose turn it is: a cluster carries out one task after the other
	mu    sync.Mutex // held during a change
}

// pyVmomi names a reference in a field of any type, such as the key of an override to remove, ManagedObject. A vCenter accepts it.
func init() { types.Add("ManagedObject", reflect.TypeFor[types.ManagedObjectReference]()) }

func newClusterConfig(inventory *inventory, tasks *tasks) *clusterConfig {
	return &clusterConfig{inventory: inventory, tasks: tasks}
}

func (c *clusterConfig) current(cluster *simulator.ClusterComputeResource) *types.ClusterConfigInfoEx {
	return c.inventory.clusterConfiguration(cluster)
}

func (c *clusterConfig) set(cluster *simulator.ClusterComputeResource, config *types.ClusterConfigInfoEx) {
	ctx := c.inventory.as("")
	ctx.WithLock(cluster, func() {
		ctx.Update(cluster, []types.PropertyChange{
			{Name: "configurationEx", Val: config}, {Name: "configuration", Val: olderConfiguration(config)},
		})
	})
}

// olderConfiguration is the same for clients that read the property of vSphere 2.
func olderConfiguration(config *types.ClusterConfigInfoEx) types.ClusterConfigInfo {
	return types.ClusterConfigInfo{
		DasConfig: config.DasConfig, DasVmConfig: config.DasVmConfig, DrsConfig: config.DrsConfig,
		DrsVmConfig: config.DrsVmConfig, Rule: config.Rule,
	}
}

// answers reports whether the lab changes the cluster itself. It leaves vSAN to the simulator.
func (c *clusterConfig) answers(req *types.ReconfigureComputeResource_Task) bool {
	spec, ok := req.Spec.(*types.ClusterConfigSpecEx)
	return ok && spec.VsanConfig == nil && c.inventory.cluster(req.This) != nil
}

// ReconfigureComputeResourceTask changes the cluster: all of the specification, or nothing.
func (o *overrides) ReconfigureComputeResourceTask(
	ctx *simulator.Context, req *types.ReconfigureComputeResource_Task,
) soap.HasFault {
	task := o.reconfigure(ctx, req.This, "ReconfigureComputeResource_Task", "reconfigureEx", req.Spec.(*types.ClusterConfigSpecEx), req.Modify)
	return &methods.ReconfigureComputeResource_TaskBody{
		Res: &types.ReconfigureComputeResource_TaskResponse{Returnval: task},
	}
}

func (o *overrides) reconfigure(
	ctx *simulator.Context, this types.ManagedObjectReference, name, id string, spec *types.ClusterConfigSpecEx, modify bool,
) types.ManagedObjectReference {
	config := o.vcenter.cluster
	cluster := config.inventory.cluster(this)
	work := config.tasks.begin(ctx.Session.UserName, cluster, name, id)
	return work.runAtOnce(func() types.BaseMethodFault {
		config.queue.Lock()
		defer config.queue.Unlock()
		if fault := work.befall(); fault != nil {
			return fault
		}
		return config.change(cluster, spec, modify)
	})
}

// ReconfigureClusterTask is the older call for the same.
func (o *overrides) ReconfigureClusterTask(ctx *simulator.Context, req *types.ReconfigureCluster_Task) soap.HasFault {
	spec := &types.ClusterConfigSpecEx{
		DasConfig: req.Spec.DasConfig, DasVmConfigSpec: req.Spec.DasVmConfigSpec, DrsConfig: req.Spec.DrsConfig,
		DrsVmConfigSpec: req.Spec.DrsVmConfigSpec, RulesSpec: req.Spec.RulesSpec,
	}
	task := o.reconfigure(ctx, req.This, "ReconfigureCluster_Task", "reconfigure", spec, req.Modify)
	return &methods.ReconfigureCluster_TaskBody{Res: &types.ReconfigureCluster_TaskResponse{Returnval: task}}
}

func (c *clusterConfig) change(
	cluster *simulator.ClusterComputeResource, spec *types.ClusterConfigSpecEx, modify bool,
) types.BaseMethodFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, each := range spec.DrsVmConfigSpec {
		if each.Info != nil && !c.inventory.isIn(each.Info.Key, cluster) {
			return &types.InvalidArgument{InvalidProperty: "drsVmConfigSpec.info.key"}
		}
	}
	config, fault := reconfigured(*c.current(cluster), spec, modify)
	if fault == nil {
		c.set(cluster, config)
	}
	return fault
}

// discard removes the overrides of a VM that has left for another cluster.
func (c *clusterConfig) discard(vm types.ManagedObjectReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cluster := range c.inventory.clusters {
		if c.inventory.isIn(vm, cluster) {
			continue
		}
		config := *c.current(cluster)
		config.DrsVmConfig = slices.DeleteFunc(slices.Clone(config.DrsVmConfig), func(override types.ClusterDrsVmConfigInfo) bool {
			return override.Key == vm
		})
		if len(config.DrsVmConfig) < len(c.current(cluster).DrsVmConfig) {
			c.set(cluster, &config)
		}
	}
}

// remove deletes a VM that is gone from everything that names it. A rule for which no VM is left is gone, too.
func (c *clusterConfig) remove(vm types.ManagedObjectReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cluster := range c.inventory.clusters {
		if config, named := without(*c.current(cluster), vm); named {
			c.set(cluster, &config)
		}
	}
}

// without is the configuration without a VM, and whether that is a change.
func without(config types.ClusterConfigInfoEx, vm types.ManagedObjectReference) (types.ClusterConfigInfoEx, bool) {
	before := len(config.DrsVmConfig) + len(config.DasVmConfig) + len(config.VmOrchestration)
	config.DrsVmConfig = slices.DeleteFunc(slices.Clone(config.DrsVmConfig), func(each types.ClusterDrsVmConfigInfo) bool { return each.Key == vm })
	config.DasVmConfig = slices.DeleteFunc(slices.Clone(config.DasVmConfig), func(each types.ClusterDasVmConfigInfo) bool { return each.Key == vm })
	config.VmOrchestration = slices.DeleteFunc(slices.Clone(config.VmOrchestration), func(each types.ClusterVmOrchestrationInfo) bool { return each.Vm == vm })
	named := len(config.DrsVmConfig)+len(config.DasVmConfig)+len(config.VmOrchestration) < before
	left := func(vms []types.ManagedObjectReference) []types.ManagedObjectReference {
		named = named || slices.Contains(vms, vm)
		return slices.DeleteFunc(slices.Clone(vms), func(each types.ManagedObjectReference) bool { return each == vm })
	}
	var rules []types.BaseClusterRuleInfo
	for _, rule := range config.Rule {
		switch known := rule.(type) {
		case *types.ClusterAntiAffinityRuleSpec:
			changed := *known
			changed.Vm, rule = left(known.Vm), &changed
			if len(changed.Vm) == 0 {
				continue
			}
		case *types.ClusterAffinityRuleSpec:
			changed := *known
			changed.Vm, rule = left(known.Vm), &changed
			if len(changed.Vm) == 0 {
				continue
			}
		}
		rules = append(rules, rule)
	}
	config.Rule, config.Group = rules, slices.Clone(config.Group)
	for i, group := range config.Group {
		if known, ok := group.(*types.ClusterVmGroup); ok {
			changed := *known
			changed.Vm, config.Group[i] = left(known.Vm), &changed
		}
	}
	return config, named
}

// withServicesOff says of the services that the lab does not have that they are off. A vCenter always says it, so clients rely on it.
func withServicesOff(config *types.ClusterConfigInfoEx) {
	off := types.NewBool(false)
	config.ProactiveDrsConfig = &types.ClusterProactiveDrsConfigInfo{Enabled: off}
	config.DpmConfigInfo = &types.ClusterDpmConfigInfo{
		Enabled: off, DefaultDpmBehavior: types.DpmBehaviorAutomated, HostPowerActionRate: defaultVmotionRate,
	}
	config.VsanConfigInfo = &types.VsanClusterConfigInfo{
		Enabled: off, DefaultConfig: &types.VsanClusterConfigInfoHostDefaultInfo{AutoClaimStorage: off},
	}
}

// reconfigured is the configuration after a change. Without modify, what the specification does not set is reset.
func reconfigured(
	config types.ClusterConfigInfoEx, spec *types.ClusterConfigSpecEx, modify bool,
) (*types.ClusterConfigInfoEx, types.BaseMethodFault) {
	if !modify {
		config.DrsConfig, config.DasConfig = standardDRS(), types.ClusterDasConfigInfo{Enabled: types.NewBool(false)}
		config.DrsVmConfig, config.DasVmConfig, config.Rule, config.Group, config.VmOrchestration = nil, nil, nil, nil, nil
	}
	if spec.DrsConfig != nil {
		if rate := spec.DrsConfig.VmotionRate; rate < 0 || rate > 5 {
			return nil, &types.InvalidArgument{InvalidProperty: "drsConfig.vmotionRate"}
		}
		options := mergedOptions(config.DrsConfig.Option, spec.DrsConfig.Option)
		config.DrsConfig = overlaid(config.DrsConfig, *spec.DrsConfig)
		config.DrsConfig.Option = options
	}
	if spec.DasConfig != nil {
		config.DasConfig = overlaid(config.DasConfig, *spec.DasConfig)
	}
	if spec.ProactiveDrsConfig != nil {
		config.ProactiveDrsConfig = spec.ProactiveDrsConfig
	}
	if spec.DpmConfig != nil {
		config.DpmConfigInfo = spec.DpmConfig
	}
	faults := []types.BaseMethodFault{
		updated(&config.DrsVmConfig, overrideChanges(spec), func(info types.ClusterDrsVmConfigInfo) any { return info.Key },
			overlaid[types.ClusterDrsVmConfigInfo]),
		updated(&config.DasVmConfig, availabilityChanges(spec), func(info types.ClusterDasVmConfigInfo) any { return info.Key },
			overlaidAvailability),
		updated(&config.VmOrchestration, orchestrationChanges(spec),
			func(info types.ClusterVmOrchestrationInfo) any { return info.Vm }, overlaid[types.ClusterVmOrchestrationInfo]),
		updated(&config.Group, groupChanges(spec), func(info types.BaseClusterGroupInfo) any { return info.GetClusterGroupInfo().Name },
			func(_, group types.BaseClusterGroupInfo) types.BaseClusterGroupInfo { return group }),
		updateRules(&config.Rule, spec.RulesSpec),
	}
	for _, fault := range faults {
		if fault != nil {
			return nil, fault
		}
	}
	return &config, nil
}

// overlaid is the base with every field that is set in the other one.
func overlaid[T any](base, other T) T {
	to, from := reflect.ValueOf(&base).Elem(), reflect.ValueOf(other)
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return base
}

func overlaidAvailability(base, other types.ClusterDasVmConfigInfo) types.ClusterDasVmConfigInfo {
	merged := overlaid(base, other)
	if base.DasSettings != nil && other.DasSettings != nil {
		settings := overlaid(*base.DasSettings, *other.DasSettings)
		merged.DasSettings = &settings
	}
	return merged
}

// mergedOptions replaces advanced options of the same key.
func mergedOptions(old, given []types.BaseOptionValue) []types.BaseOptionValue {
	merged := slices.Clone(old)
	for _, option := range given {
		merged = slices.DeleteFunc(merged, func(other types.BaseOptionValue) bool {
			return other.GetOptionValue().Key == option.GetOptionValue().Key
		})
		merged = append(merged, option)
	}
	return merged
}

// itemChange is one change of a list: an item that is added or edited, or the key of one that is removed.
type itemChange[T any] struct {
	types.ArrayUpdateSpec
	item *T
}

func overrideChanges(spec *types.ClusterConfigSpecEx) (changes []itemChange[types.ClusterDrsVmConfigInfo]) {
	for _, each := range spec.DrsVmConfigSpec {
		changes = append(changes, itemChange[types.ClusterDrsVmConfigInfo]{each.ArrayUpdateSpec, each.Info})
	}
	return changes
}

func availabilityChanges(spec *types.ClusterConfigSpecEx) (changes []itemChange[types.ClusterDasVmConfigInfo]) {
	for _, each := range spec.DasVmConfigSpec {
		changes = append(changes, itemChange[types.ClusterDasVmConfigInfo]{each.ArrayUpdateSpec, each.Info})
	}
	return changes
}

func orchestrationChanges(spec *types.ClusterConfigSpecEx) (changes []itemChange[types.ClusterVmOrchestrationInfo]) {
	for _, each := range spec.VmOrchestrationSpec {
		changes = append(changes, itemChange[types.ClusterVmOrchestrationInfo]{each.ArrayUpdateSpec, each.Info})
	}
	return changes
}

func groupChanges(spec *types.ClusterConfigSpecEx) (changes []itemChange[types.BaseClusterGroupInfo]) {
	for _, each := range spec.GroupSpec {
		change := itemChange[types.BaseClusterGroupInfo]{ArrayUpdateSpec: each.ArrayUpdateSpec}
		if each.Info != nil {
			change.item = &each.Info
		}
		changes = append(changes, change)
	}
	return changes
}

// updated replaces a list by one with the changes. An item that is added must be new, one that is edited or removed must exist.
func updated[T any](list *[]T, changes []itemChange[T], key func(T) any, edited func(old, given T) T) types.BaseMethodFault {
	next := slices.Clone(*list)
	for _, change := range changes {
		wanted := any(change.RemoveKey)
		if change.Operation != types.ArrayUpdateOperationRemove {
			if change.item == nil {
				return &types.InvalidArgument{InvalidProperty: "info"}
			}
			wanted = key(*change.item)
		}
		at := slices.IndexFunc(next, func(item T) bool { return key(item) == wanted })
		if (at < 0) != (change.Operation == types.ArrayUpdateOperationAdd) {
			return &types.InvalidArgument{InvalidProperty: "operation"}
		}
		switch change.Operation {
		case types.ArrayUpdateOperationAdd:
			next = append(next, *change.item)
		case types.ArrayUpdateOperationEdit:
			next[at] = edited(next[at], *change.item)
		case types.ArrayUpdateOperationRemove:
			next = slices.Delete(next, at, at+1)
		}
	}
	*list = next
	return nil
}

// updateRules changes the rules. vCenter chooses the key of a new rule. An edited rule is found by its key, or by its name if
// the client gives no key.
func updateRules(list *[]types.BaseClusterRuleInfo, specs []types.ClusterRuleSpec) types.BaseMethodFault {
	next := slices.Clone(*list)
	for _, spec := range specs {
		var given *types.ClusterRuleInfo
		if spec.Info != nil {
			given = spec.Info.GetClusterRuleInfo()
		} else if spec.Operation != types.ArrayUpdateOperationRemove {
			return &types.InvalidArgument{InvalidProperty: "rulesSpec.info"}
		}
		at := slices.IndexFunc(next, func(rule types.BaseClusterRuleInfo) bool {
			info := rule.GetClusterRuleInfo()
			switch {
			case spec.Operation == types.ArrayUpdateOperationRemove:
				return spec.RemoveKey == any(info.Key)
			case spec.Operation == types.ArrayUpdateOperationEdit && given.Key != 0:
				return info.Key == given.Key
			}
			return info.Name == given.Name
		})
		if (at < 0) != (spec.Operation == types.ArrayUpdateOperationAdd) {
			return &types.InvalidArgument{InvalidProperty: "rulesSpec"}
		}
		switch spec.Operation {
		case types.ArrayUpdateOperationAdd:
			given.Key, given.RuleUuid = nextRuleKey(next), uuid.NewString()
			next = append(next, spec.Info)
		case types.ArrayUpdateOperationEdit:
			old := next[at].GetClusterRuleInfo()
			given.Key, given.RuleUuid = old.Key, old.RuleUuid
			next[at] = spec.Info
		case types.ArrayUpdateOperationRemove:
			next = slices.Delete(next, at, at+1)
		}
	}
	*list = next
	return nil
}

func nextRuleKey(rules []types.BaseClusterRuleInfo) int32 {
	highest := int32(0)
	for _, rule := range rules {
		highest = max(highest, rule.GetClusterRuleInfo().Key)
	}
	return highest + 1
}

// Reference makes it a handler of the registry.
func (c *clusterConfig) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabClusterConfig", Value: "lab-cluster-config"}
}

// PutObject belongs to the interface.
func (c *clusterConfig) PutObject(*simulator.Context, mo.Reference) {}

// UpdateObject belongs to the interface.
func (c *clusterConfig) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject deletes a VM, later: its caller may hold the lock of the cluster.
func (c *clusterConfig) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type == "VirtualMachine" {
		go c.remove(ref)
	}
}

// GetResourceUsage sums up the hosts and the datastores of a cluster.
func (o *overrides) GetResourceUsage(ctx *simulator.Context, req *types.GetResourceUsage) soap.HasFault {
	inventory := o.vcenter.inventory
	cluster := inventory.cluster(req.This)
	var usage types.ClusterResourceUsageSummary
	for _, host := range inventory.hostsOf(cluster) {
		ctx.WithLock(host, func() {
			hardware, quick := host.Summary.Hardware, host.Summary.QuickStats
			usage.CpuCapacityMHz += hardware.CpuMhz * int32(hardware.NumCpuCores)
			usage.CpuUsedMHz += quick.OverallCpuUsage
			usage.MemCapacityMB += int32(hardware.MemorySize >> 20)
			usage.MemUsedMB += quick.OverallMemoryUsage
		})
	}
	for _, ref := range cluster.Datastore {
		if datastore, ok := inventory.registry.Get(ref).(*simulator.Datastore); ok {
			ctx.WithLock(datastore, func() {
				usage.StorageCapacityMB += datastore.Summary.Capacity >> 20
				usage.StorageUsedMB += (datastore.Summary.Capacity - datastore.Summary.FreeSpace) >> 20
			})
		}
	}
	return &methods.GetResourceUsageBody{Res: &types.GetResourceUsageResponse{Returnval: usage}}
}
