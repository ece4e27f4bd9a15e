package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	gib            = 1 << 30
	threadsPerCore = 2
)

// builder makes the managed objects of a topology out of the simulator's model.
type builder struct {
	*inventory
}

// build makes a vCenter with everything that the configuration names; it does not answer yet.
func build(config *Config) (*vcenter, error) {
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.Host = 1, 1, 0
	model.ClusterHost, model.Machine, model.Datastore = len(config.Hosts), len(config.VMs), len(config.Datastores)
	model.Portgroup, model.Pool = 0, 0
	if err := model.Create(); err != nil {
		return nil, err
	}
	inventory := &inventory{
		config: config, root: model.Service.Context.Context, registry: model.Map(), specs: map[string]*VM{},
	}
	inventory.cluster = inventory.registry.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
	if err := (&builder{inventory}).build(); err != nil {
		return nil, err
	}
	v := newVCenter(config, model.Service, inventory)
	v.install()
	return v, nil
}

func (b *builder) build() error {
	ctx := b.as(b.config.VCenter.User)
	datacenter := b.registry.Any("Datacenter").(*simulator.Datacenter)
	datacenter.Name = b.config.Datacenter
	b.cluster.Name = b.config.Clusters[0].Name
	hosts := b.buildHosts()
	datastores := b.buildDatastores(hosts)
	networks := b.buildNetworks(ctx, datacenter, hosts)
	folders, err := b.buildFolders(ctx, datacenter)
	if err != nil {
		return err
	}
	pools, err := b.buildPools(ctx)
	if err != nil {
		return err
	}
	if err := b.buildVMs(ctx, hosts, datastores, networks, folders, pools); err != nil {
		return err
	}
	b.buildRules()
	b.describe()
	b.refreshLoad()
	return nil
}

func (b *builder) describe() {
	about := &b.content().About
	about.Name = "VMware vCenter Server (simulator)"
	about.FullName = fmt.Sprintf("VMware vCenter Server 8.0.3 (%s)", strings.Join(b.movers(), "; "))
	about.InstanceUuid = uuid.NewString()
	about.Version, about.Build, about.ApiVersion = "8.0.3", "24022515", "8.0.3.0"
}

// movers names what moves VMs: the simulator, and the hypervisors of real VMs.
func (b *builder) movers() []string {
	names := []string{"liveml lab, govmomi simulator"}
	for _, vm := range b.config.VMs {
		if vm.Guest.Live != nil {
			names = append(names, fmt.Sprintf("%s by %s, live migration", vm.Name, vm.Guest.Live.Hypervisor))
		}
	}
	return names
}

func (b *builder) buildHosts() map[string]*simulator.HostSystem {
	hosts := map[string]*simulator.HostSystem{}
	for i, host := range b.hosts() {
		spec := b.config.Hosts[i]
		host.Name, host.Summary.Config.Name = spec.Name, spec.Name
		host.Vm, host.Datastore, host.Network = nil, nil, nil
		vmotion := spec.VMotion == nil || *spec.VMotion
		hardware := *host.Hardware
		hardware.MemorySize = int64(spec.MemoryGB * gib)
		hardware.CpuInfo.NumCpuCores = int16(spec.Cores)
		hardware.CpuInfo.Hz = int64(spec.MHz) * 1_000_000
		host.Hardware = &hardware
		summary := *host.Summary.Hardware
		summary.MemorySize, summary.NumCpuCores, summary.CpuMhz = hardware.MemorySize, int16(spec.Cores), int32(spec.MHz)
		summary.NumCpuThreads = int16(threadsPerCore * spec.Cores)
		hardware.CpuInfo.NumCpuThreads = summary.NumCpuThreads
		host.Summary.Hardware = &summary
		host.Summary.Config.VmotionEnabled = vmotion
		capability := *host.Capability
		capability.VmotionSupported = vmotion
		host.Capability = &capability
		config := *host.Config
		config.VsanHostConfig = &types.VsanHostConfigInfo{
			Enabled:         types.NewBool(true),
			FaultDomainInfo: &types.VsanHostFaultDomainInfo{Name: spec.FaultDomain},
		}
		if vmotion {
			config.Vmotion = &types.HostVMotionInfo{IpConfig: &types.HostIpConfig{IpAddress: fmt.Sprintf("192.0.2.%d", i+1)}}
		}
		config.Network = b.network(config.Network, spec)
		config.SharedPassthruGpuTypes = spec.VGPUProfiles
		product := *host.Summary.Config.Product
		product.Version = spec.ESXi
		host.Summary.Config.Product, config.Product = &product, product
		host.Config = &config
		host.Runtime.InMaintenanceMode = spec.Maintenance
		host.Runtime.InQuarantineMode = types.NewBool(spec.Quarantine)
		if spec.Connection != "" {
			host.Runtime.ConnectionState = types.HostSystemConnectionState(spec.Connection)
		}
		runtime := host.Runtime
		host.Summary.Runtime = &runtime
		hosts[spec.Name] = host
	}
	return hosts
}

func (b *builder) network(base *types.HostNetworkInfo, spec Host) *types.HostNetworkInfo {
	link := spec.LinkMbit
	if link == 0 {
		link = b.config.LinkMbit
	}
	network := types.HostNetworkInfo{}
	if base != nil {
		network = *base
	}
	network.Pnic = []types.PhysicalNic{{
		Device: "vmnic0", Key: "key-vim.host.PhysicalNic-vmnic0", Pci: "0000:0b:00.0", Mac: "00:50:56:00:00:01",
		LinkSpeed: &types.PhysicalNicLinkInfo{SpeedMb: int32(link), Duplex: true},
	}}
	return &network
}

func (b *builder) buildDatastores(hosts map[string]*simulator.HostSystem) map[string]*simulator.Datastore {
	found := map[string]*simulator.Datastore{}
	for i, datastore := range all[*simulator.Datastore](b.inventory, "Datastore") {
		spec := b.config.Datastores[i]
		datastore.Name, datastore.Summary.Name = spec.Name, spec.Name
		datastore.Info.GetDatastoreInfo().Name = spec.Name
		datastore.Summary.Capacity = int64(spec.CapacityGB * gib)
		datastore.Summary.FreeSpace = int64(spec.FreeGB * gib)
		datastore.Summary.Accessible = true
		datastore.Summary.MultipleHostAccess = types.NewBool(!spec.Local)
		if spec.Type != "" {
			datastore.Summary.Type = spec.Type
		}
		datastore.Vm, datastore.Host = nil, nil
		for name, host := range hosts {
			if reaches(spec.Hosts, name) {
				host.Datastore = append(host.Datastore, datastore.Self)
				alive := !reaches(spec.DeadOn, name)
				mount := types.HostMountInfo{AccessMode: "readWrite", Accessible: types.NewBool(alive), Mounted: types.NewBool(true)}
				datastore.Host = append(datastore.Host, types.DatastoreHostMount{Key: host.Self, MountInfo: mount})
			}
		}
		found[spec.Name] = datastore
	}
	b.cluster.Datastore = nil
	for _, datastore := range found {
		b.cluster.Datastore = append(b.cluster.Datastore, datastore.Self)
	}
	return found
}

func (b *builder) buildNetworks(
	ctx *simulator.Context, datacenter *simulator.Datacenter, hosts map[string]*simulator.HostSystem,
) map[string]*mo.Network {
	folder := b.registry.Get(datacenter.NetworkFolder).(*simulator.Folder)
	for _, child := range append([]types.ManagedObjectReference{}, folder.ChildEntity...) {
		b.registry.RemoveReference(ctx, folder, &folder.ChildEntity, child)
		b.registry.Remove(ctx, child)
	}
	b.cluster.Network = nil
	found := map[string]*mo.Network{}
	for i, spec := range b.config.Networks {
		network := &mo.Network{}
		network.Self = types.ManagedObjectReference{Type: "Network", Value: fmt.Sprintf("network-%d", 9001+i)}
		network.Name = spec.Name
		network.Summary = &types.NetworkSummary{Network: &network.Self, Name: spec.Name, Accessible: true}
		network.ManagedEntity.Parent = &folder.Self
		b.registry.Put(network)
		folder.ChildEntity = append(folder.ChildEntity, network.Self)
		b.cluster.Network = append(b.cluster.Network, network.Self)
		for name, host := range hosts {
			if reaches(spec.Hosts, name) {
				network.Host = append(network.Host, host.Self)
				host.Network = append(host.Network, network.Self)
			}
		}
		found[spec.Name] = network
	}
	return found
}

func (b *builder) buildFolders(ctx *simulator.Context, dc *simulator.Datacenter) (map[string]*simulator.Folder, error) {
	folders := map[string]*simulator.Folder{"": b.registry.Get(dc.VmFolder).(*simulator.Folder)}
	for _, path := range b.config.Folders {
		parent, name := splitPath(path)
		above, ok := folders[parent]
		if !ok {
			return nil, fmt.Errorf("folder %q: list its parent %q before it", path, parent)
		}
		folder := &simulator.Folder{}
		folder.Name, folder.ChildType = name, above.ChildType
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

func (b *builder) buildPools(ctx *simulator.Context) (map[string]*simulator.ResourcePool, error) {
	root := b.registry.Get(*b.cluster.ResourcePool).(*simulator.ResourcePool)
	root.Vm = nil
	pools := map[string]*simulator.ResourcePool{"": root}
	for _, name := range b.config.ResourcePools {
		spec := types.DefaultResourceConfigSpec()
		res := root.CreateResourcePool(ctx, &types.CreateResourcePool{This: root.Self, Name: name, Spec: spec})
		if fault := res.Fault(); fault != nil {
			return nil, fmt.Errorf("resource pool %q: %s", name, fault.String)
		}
	}
	for _, pool := range all[*simulator.ResourcePool](b.inventory, "ResourcePool") {
		if pool != root {
			pools[pool.Name] = pool
		}
	}
	return pools, nil
}

// availability is the configuration of HA, with its dedicated failover hosts.
func (b *builder) availability() types.ClusterDasConfigInfo {
	names := b.config.Clusters[0].FailoverHosts
	info := types.ClusterDasConfigInfo{Enabled: types.NewBool(len(names) > 0), AdmissionControlEnabled: types.NewBool(len(names) > 0)}
	if len(names) > 0 {
		policy := &types.ClusterFailoverHostAdmissionControlPolicy{}
		for _, host := range b.hosts() {
			if slices.Contains(names, host.Name) {
				policy.FailoverHosts = append(policy.FailoverHosts, host.Self)
			}
		}
		info.AdmissionControlPolicy = policy
	}
	return info
}

func (b *builder) buildRules() {
	config := b.cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
	config.DrsConfig, config.DrsVmConfig = b.automation()
	config.DasConfig = b.availability()
	for i, rule := range b.config.Clusters[0].Rules {
		info := types.ClusterRuleInfo{
			Key: int32(i + 1), Name: rule.Name, Enabled: types.NewBool(rule.Enabled == nil || *rule.Enabled),
			Mandatory: types.NewBool(rule.Mandatory), RuleUuid: uuid.NewString(), Status: types.ManagedEntityStatusGreen,
		}
		vms := b.references(rule.VMs, "VirtualMachine")
		switch rule.Kind {
		case "anti_affinity":
			config.Rule = append(config.Rule, &types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: info, Vm: vms})
		case "affinity":
			config.Rule = append(config.Rule, &types.ClusterAffinityRuleSpec{ClusterRuleInfo: info, Vm: vms})
		case "vm_host":
			group := types.ClusterGroupInfo{Name: rule.Name + " VMs"}
			config.Group = append(config.Group,
				&types.ClusterVmGroup{ClusterGroupInfo: group, Vm: vms},
				&types.ClusterHostGroup{
					ClusterGroupInfo: types.ClusterGroupInfo{Name: rule.Name + " hosts"},
					Host:             b.references(rule.Hosts, "HostSystem"),
				})
			config.Rule = append(config.Rule, &types.ClusterVmHostRuleInfo{
				ClusterRuleInfo: info, VmGroupName: rule.Name + " VMs", AffineHostGroupName: rule.Name + " hosts",
			})
		}
	}
	b.cluster.Configuration = olderConfiguration(config)
}

func (b *builder) references(names []string, kind string) []types.ManagedObjectReference {
	var found []types.ManagedObjectReference
	for _, name := range names {
		for _, entity := range b.registry.All(kind) {
			if entity.Entity().Name == name {
				found = append(found, entity.Reference())
			}
		}
	}
	return found
}
