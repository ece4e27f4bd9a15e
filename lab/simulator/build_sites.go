package main

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// site is a data centre, and what is in it by name. The root folder of VMs has the name "".
type site struct {
	datacenter *simulator.Datacenter
	folders    map[string]*simulator.Folder
	networks   map[string]*mo.Network
	datastores map[string]*simulator.Datastore
}

// compute is a cluster or the compute resource of a standalone host, and its resource pools by name. The root pool has the name "".
type compute struct {
	spec     *Cluster
	resource *mo.ComputeResource
	entity   mo.Entity                         // the managed object that resource belongs to
	cluster  *simulator.ClusterComputeResource // nil for a standalone host
	pools    map[string]*simulator.ResourcePool
}

// buildSites makes the data centres; the simulator's model has the first one.
func (b *builder) buildSites(ctx *simulator.Context) error {
	root := b.registry.Get(b.rootFolder()).(*simulator.Folder)
	for i, spec := range b.config.Datacenters {
		datacenter := b.registry.Any("Datacenter").(*simulator.Datacenter)
		if i > 0 {
			res := root.CreateDatacenter(ctx, &types.CreateDatacenter{This: root.Self, Name: spec.Name})
			if fault := res.Fault(); fault != nil {
				return fmt.Errorf("data centre %q: %s", spec.Name, fault.String)
			}
			for _, other := range all[*simulator.Datacenter](b.inventory, "Datacenter") {
				if other.Name == spec.Name {
					datacenter = other
				}
			}
		}
		datacenter.Name = spec.Name
		folders, err := b.buildFolders(datacenter, spec.Folders)
		if err != nil {
			return err
		}
		b.sites[spec.Name] = &site{
			datacenter: datacenter, folders: folders,
			networks: map[string]*mo.Network{}, datastores: map[string]*simulator.Datastore{},
		}
	}
	return nil
}

func (b *builder) buildFolders(dc *simulator.Datacenter, paths []string) (map[string]*simulator.Folder, error) {
	folders := map[string]*simulator.Folder{"": b.registry.Get(dc.VmFolder).(*simulator.Folder)}
	for _, path := range paths {
		parent, name := splitPath(path)
		above, ok := folders[parent]
		if !ok {
			return nil, fmt.Errorf("folder %q: list its parent %q before it", path, parent)
		}
		folder := &simulator.Folder{}
		folder.Name, folder.ChildType = escaped(name), above.ChildType
		b.registry.PutEntity(above, b.registry.NewEntity(folder))
		above.ChildEntity = append(above.ChildEntity, folder.Self)
		folders[path] = folder
	}
	return folders, nil
}

func splitPath(path string) (parent, name string) {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i], path[i+1:]
		}
	}
	return "", path
}

// buildClusters makes the clusters, the compute resources of standalone hosts, and all resource pools.
func (b *builder) buildClusters(ctx *simulator.Context, first *simulator.ClusterComputeResource) error {
	for i := range b.config.Clusters {
		spec := &b.config.Clusters[i]
		near := b.sites[spec.Datacenter]
		if near == nil {
			return fmt.Errorf("cluster %q: unknown data centre %q", spec.Name, spec.Datacenter)
		}
		made, err := b.buildCompute(ctx, spec, b.registry.Get(near.datacenter.HostFolder).(*simulator.Folder), first)
		if err != nil {
			return err
		}
		if made.cluster != nil {
			first = nil
		}
		made.resource.Name, made.resource.Host = spec.Name, nil
		made.resource.Datastore, made.resource.Network = nil, nil
		if made.pools, err = b.buildPools(ctx, made); err != nil {
			return err
		}
		b.computes[spec.Name] = made
	}
	return nil
}

// buildCompute makes one compute resource in a folder; first is a cluster of the model that nobody has taken yet.
func (b *builder) buildCompute(
	ctx *simulator.Context, spec *Cluster, folder *simulator.Folder, first *simulator.ClusterComputeResource,
) (*compute, error) {
	if spec.Standalone {
		resource := &mo.ComputeResource{
			Summary: &types.ComputeResourceSummary{},
			ConfigurationEx: &types.ComputeResourceConfigInfo{
				VmSwapPlacement: string(types.VirtualMachineConfigInfoSwapPlacementTypeVmDirectory),
			},
		}
		b.registry.PutEntity(folder, b.registry.NewEntity(resource))
		folder.ChildEntity = append(folder.ChildEntity, resource.Self)
		pool := simulator.NewResourcePool(ctx)
		b.registry.PutEntity(resource, b.registry.NewEntity(pool))
		resource.ResourcePool, pool.Owner = &pool.Self, resource.Self
		return &compute{spec: spec, resource: resource, entity: resource}, nil
	}
	cluster := first
	if cluster == nil {
		made, fault := simulator.CreateClusterComputeResource(ctx, folder, spec.Name, types.ClusterConfigSpecEx{})
		if fault != nil {
			return nil, fmt.Errorf("cluster %q: %s", spec.Name, faultName(fault))
		}
		cluster = made
	} else if *cluster.Parent != folder.Self {
		old := b.registry.Get(*cluster.Parent).(*simulator.Folder)
		b.registry.RemoveReference(ctx, old, &old.ChildEntity, cluster.Self)
		folder.ChildEntity = append(folder.ChildEntity, cluster.Self)
		cluster.Parent = &folder.Self
	}
	b.clusters = append(b.clusters, cluster)
	b.clusterSpecs[cluster.Self.Value] = spec
	return &compute{spec: spec, resource: &cluster.ComputeResource, entity: cluster, cluster: cluster}, nil
}

// buildPools makes the resource pools of a cluster. A name may be a path, whose parents come before it.
func (b *builder) buildPools(ctx *simulator.Context, near *compute) (map[string]*simulator.ResourcePool, error) {
	root := b.registry.Get(*near.resource.ResourcePool).(*simulator.ResourcePool)
	root.Vm = nil
	pools := map[string]*simulator.ResourcePool{"": root}
	for _, name := range near.spec.ResourcePools {
		above, own := path.Split(name)
		parent, known := pools[strings.TrimSuffix(above, "/")]
		if !known {
			return nil, fmt.Errorf("resource pool %q: its parent is not listed before it", name)
		}
		request := &types.CreateResourcePool{This: parent.Self, Name: own, Spec: types.DefaultResourceConfigSpec()}
		made, ok := parent.CreateResourcePool(ctx, request).(*methods.CreateResourcePoolBody)
		if !ok || made.Fault() != nil {
			return nil, fmt.Errorf("resource pool %q: %v", name, made.Fault())
		}
		pools[name] = b.registry.Get(made.Res.Returnval).(*simulator.ResourcePool)
	}
	return pools, nil
}

// join puts a host of the model, which are all in one cluster, into its compute resource.
func (b *builder) join(host *simulator.HostSystem, near *compute) {
	self := near.entity.Reference()
	host.Parent = &self
	near.resource.Host = append(near.resource.Host, host.Self)
	summary := near.resource.Summary.GetComputeResourceSummary()
	if len(near.resource.Host) == 1 {
		*summary = types.ComputeResourceSummary{OverallStatus: types.ManagedEntityStatusGreen}
	}
	hardware := host.Summary.Hardware
	capacity := int32(hardware.NumCpuCores) * hardware.CpuMhz
	summary.TotalCpu, summary.EffectiveCpu = summary.TotalCpu+capacity, summary.EffectiveCpu+capacity
	summary.TotalMemory += hardware.MemorySize
	summary.EffectiveMemory += hardware.MemorySize >> 20
	summary.NumCpuCores += hardware.NumCpuCores
	summary.NumCpuThreads += hardware.NumCpuThreads
	summary.NumHosts, summary.NumEffectiveHosts = summary.NumHosts+1, summary.NumEffectiveHosts+1
}

// storePlaces are the datastores to make, with the name of their data centre: vCenter has one object per data centre for each
// shared location.
func (c *Config) storePlaces() []storePlace {
	var places []storePlace
	for i := range c.Datastores {
		spec, found := &c.Datastores[i], false
		for _, datacenter := range c.Datacenters {
			if c.reachesSite(spec, datacenter.Name) {
				places, found = append(places, storePlace{spec, datacenter.Name}), true
			}
		}
		if !found {
			places = append(places, storePlace{spec, c.Datacenters[0].Name})
		}
	}
	return places
}

type storePlace struct {
	spec       *Attached
	datacenter string
}

// siteOf is the name of the data centre of a host.
func (c *Config) siteOf(host *Host) string {
	for i := range c.Clusters {
		if c.Clusters[i].Name == host.Cluster {
			return c.Clusters[i].Datacenter
		}
	}
	return ""
}

// reachesSite reports whether a host of the data centre reaches the datastore.
func (c *Config) reachesSite(spec *Attached, datacenter string) bool {
	for i := range c.Hosts {
		if c.siteOf(&c.Hosts[i]) == datacenter && reaches(spec.Hosts, c.Hosts[i].Name) {
			return true
		}
	}
	return false
}

func (b *builder) buildDatastores(ctx *simulator.Context) error {
	first := map[string]*simulator.Datastore{}
	places := b.config.storePlaces()
	for i, datastore := range all[*simulator.Datastore](b.inventory, "Datastore") {
		spec, near := places[i].spec, b.sites[places[i].datacenter]
		b.store(ctx, datastore, near)
		if twin := first[spec.Name]; twin != nil {
			// The simulator keeps the files of both in one folder, so that they are one location.
			datastore.Summary.Url = twin.Summary.Url
			datastore.Info.GetDatastoreInfo().Url = twin.Info.GetDatastoreInfo().Url
		} else {
			first[spec.Name] = datastore
		}
		describeStore(datastore, spec)
		if spec.DatastoreCluster != "" {
			if err := b.intoPod(ctx, datastore, spec.DatastoreCluster); err != nil {
				return err
			}
		}
		datastore.Vm, datastore.Host = nil, nil
		for j := range b.config.Hosts {
			host := &b.config.Hosts[j]
			if b.config.siteOf(host) == places[i].datacenter && reaches(spec.Hosts, host.Name) {
				b.mount(datastore, spec, b.byName[host.Name], b.computes[host.Cluster])
			}
		}
	}
	return nil
}

// intoPod puts a datastore into a datastore cluster of its folder, and makes the cluster if it is not there yet.
func (b *builder) intoPod(ctx *simulator.Context, datastore *simulator.Datastore, name string) error {
	folder := b.registry.Get(*datastore.Parent).(*simulator.Folder)
	var pod *simulator.StoragePod
	for _, ref := range folder.ChildEntity {
		if known, ok := b.registry.Get(ref).(*simulator.StoragePod); ok && known.Name == name {
			pod = known
		}
	}
	if pod == nil {
		body := folder.CreateStoragePod(ctx, &types.CreateStoragePod{This: folder.Self, Name: name})
		if fault := body.Fault(); fault != nil {
			return fmt.Errorf("datastore cluster %q: %s", name, fault.String)
		}
		made := body.(*methods.CreateStoragePodBody).Res.Returnval
		pod = b.registry.Get(made).(*simulator.StoragePod)
	}
	b.registry.RemoveReference(ctx, folder, &folder.ChildEntity, datastore.Self)
	pod.ChildEntity = append(pod.ChildEntity, datastore.Self)
	datastore.Parent = &pod.Self
	pod.Summary.Name = name
	pod.PodStorageDrsEntry = &types.PodStorageDrsEntry{StorageDrsConfig: types.StorageDrsConfigInfo{PodConfig: types.StorageDrsPodConfigInfo{
		Enabled: slices.Contains(b.config.StorageDRS, name), DefaultVmBehavior: "manual",
	}}}
	pod.Summary.Capacity += datastore.Summary.Capacity
	pod.Summary.FreeSpace += datastore.Summary.FreeSpace
	return nil
}

// store puts a datastore of the model, which are all in one data centre, into its own.
func (b *builder) store(ctx *simulator.Context, datastore *simulator.Datastore, near *site) {
	folder := b.registry.Get(near.datacenter.DatastoreFolder).(*simulator.Folder)
	if old := b.registry.Get(*datastore.Parent).(*simulator.Folder); old != folder {
		b.registry.RemoveReference(ctx, old, &old.ChildEntity, datastore.Self)
		for _, other := range b.sites {
			b.registry.RemoveReference(ctx, other.datacenter, &other.datacenter.Datastore, datastore.Self)
		}
		folder.ChildEntity = append(folder.ChildEntity, datastore.Self)
		near.datacenter.Datastore = append(near.datacenter.Datastore, datastore.Self)
		datastore.Parent = &folder.Self
	}
}

func describeStore(datastore *simulator.Datastore, spec *Attached) {
	datastore.Name, datastore.Summary.Name = spec.Name, spec.Name
	datastore.Info.GetDatastoreInfo().Name = spec.Name
	datastore.Summary.Capacity = int64(spec.CapacityGB * gib)
	datastore.Summary.FreeSpace = int64(spec.FreeGB * gib)
	datastore.Info.GetDatastoreInfo().FreeSpace = datastore.Summary.FreeSpace
	datastore.Summary.MaintenanceMode = normalMode
	if spec.Maintenance {
		datastore.Summary.MaintenanceMode = string(types.DatastoreSummaryMaintenanceModeStateInMaintenance)
	}
	datastore.Summary.Accessible = true
	datastore.Summary.MultipleHostAccess = types.NewBool(!spec.Local)
	if spec.Type != "" {
		datastore.Summary.Type = spec.Type
	}
}

// mount lets a host reach a datastore.
func (b *builder) mount(datastore *simulator.Datastore, spec *Attached, host *simulator.HostSystem, near *compute) {
	b.sites[near.spec.Datacenter].datastores[spec.Name] = datastore
	host.Datastore = append(host.Datastore, datastore.Self)
	alive := !reaches(spec.DeadOn, host.Name)
	info := types.HostMountInfo{AccessMode: "readWrite", Accessible: types.NewBool(alive), Mounted: types.NewBool(true)}
	datastore.Host = append(datastore.Host, types.DatastoreHostMount{Key: host.Self, MountInfo: info})
	near.resource.Datastore = added(near.resource.Datastore, datastore.Self)
}

func (b *builder) buildNetworks(ctx *simulator.Context) {
	for _, near := range b.sites {
		folder := b.registry.Get(near.datacenter.NetworkFolder).(*simulator.Folder)
		for _, child := range append([]types.ManagedObjectReference{}, folder.ChildEntity...) {
			b.registry.RemoveReference(ctx, folder, &folder.ChildEntity, child)
			b.registry.Remove(ctx, child)
		}
		near.datacenter.Network = nil
	}
	for i, spec := range b.config.Networks {
		near := b.sites[spec.Datacenter]
		folder := b.registry.Get(near.datacenter.NetworkFolder).(*simulator.Folder)
		network := &mo.Network{}
		network.Self = types.ManagedObjectReference{Type: "Network", Value: fmt.Sprintf("network-%d", 9001+i)}
		network.Name = spec.Name
		network.Summary = &types.NetworkSummary{Network: &network.Self, Name: spec.Name, Accessible: true}
		network.ManagedEntity.Parent = &folder.Self
		b.registry.Put(network)
		folder.ChildEntity = append(folder.ChildEntity, network.Self)
		near.datacenter.Network = append(near.datacenter.Network, network.Self)
		for j := range b.config.Hosts {
			host := &b.config.Hosts[j]
			if b.config.siteOf(host) == spec.Datacenter && reaches(spec.Hosts, host.Name) {
				network.Host = append(network.Host, b.byName[host.Name].Self)
				b.byName[host.Name].Network = append(b.byName[host.Name].Network, network.Self)
				resource := b.computes[host.Cluster].resource
				resource.Network = added(resource.Network, network.Self)
			}
		}
		near.networks[spec.Name] = network
	}
}

// added is the list with the reference in it once.
func added(list []types.ManagedObjectReference, ref types.ManagedObjectReference) []types.ManagedObjectReference {
	for _, known := range list {
		if known == ref {
			return list
		}
	}
	return append(list, ref)
}
