package main

import (
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

const gib = 1 << 30

// sddc is the running simulation: the simulator's model and what the lab adds to it.
type sddc struct {
	config   *Config
	registry *simulator.Registry
	service  *simulator.Service
	cluster  *simulator.ClusterComputeResource
	slots    *slotQueue

	mu       sync.Mutex
	link     int                                     // vMotion bandwidth of a host, Mbit/s
	moving   map[string]int                          // moves that copy memory now, by host name
	spec     map[string]*VM                          // by VM MoID
	guests   map[string]*guestProcess                // by VM MoID
	busy     map[string]types.ManagedObjectReference // VM MoID -> its relocation task
	entering map[string]*operation                   // host MoID -> its running enter-maintenance task
	tasks    map[types.ManagedObjectReference]*operation
	faults   map[string][]string // VM MoID -> fault classes of its next relocations
	moves    []*MoveRecord
	calls    map[string]int
	sessions map[string]bool
	demanded map[string]map[string]bool // user -> privileges that calls of theirs demanded
	counter  int
}

func (s *sddc) context(user string) *simulator.Context {
	return &simulator.Context{
		Context: s.service.Context.Context,
		Map:     s.registry,
		Session: &simulator.Session{UserSession: types.UserSession{UserName: user}, Registry: simulator.NewRegistry()},
	}
}

func build(config *Config) (*sddc, error) {
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.Host = 1, 1, 0
	model.ClusterHost, model.Machine, model.Datastore = len(config.Hosts), len(config.VMs), len(config.Datastores)
	model.Portgroup, model.Pool = 0, 0
	if err := model.Create(); err != nil {
		return nil, err
	}
	s := &sddc{
		config: config, registry: model.Map(), service: model.Service, link: config.LinkMbit,
		moving: map[string]int{}, spec: map[string]*VM{}, guests: map[string]*guestProcess{},
		busy: map[string]types.ManagedObjectReference{}, entering: map[string]*operation{},
		tasks: map[types.ManagedObjectReference]*operation{}, faults: map[string][]string{},
		calls: map[string]int{}, sessions: map[string]bool{},
		demanded: map[string]map[string]bool{},
	}
	s.slots = newSlotQueue(s.budget)
	s.cluster = s.registry.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
	ctx := s.context(config.VCenter.User)
	datacenter := s.registry.Any("Datacenter").(*simulator.Datacenter)
	datacenter.Name = config.Datacenter
	s.cluster.Name = config.Clusters[0].Name
	hosts := s.buildHosts()
	datastores := s.buildDatastores(hosts)
	networks := s.buildNetworks(ctx, datacenter, hosts)
	folders, err := s.buildFolders(ctx, datacenter)
	if err != nil {
		return nil, err
	}
	pools, err := s.buildPools(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.buildVMs(ctx, hosts, datastores, networks, folders, pools); err != nil {
		return nil, err
	}
	s.buildRules()
	s.describe()
	s.refreshLoad()
	return s, nil
}

func (s *sddc) describe() {
	about := &s.content().About
	about.Name = "VMware vCenter Server (simulator)"
	about.FullName = "VMware vCenter Server 8.0.3 (liveml lab, govmomi simulator)"
	about.InstanceUuid = uuid.NewString()
	about.Version, about.Build, about.ApiVersion = "8.0.3", "24022515", "8.0.3.0"
}

func all[T mo.Reference](s *sddc, kind string) []T {
	var found []T
	for _, entity := range s.registry.All(kind) {
		if typed, ok := entity.(T); ok {
			found = append(found, typed)
		}
	}
	return found
}

func (s *sddc) buildHosts() map[string]*simulator.HostSystem {
	hosts := map[string]*simulator.HostSystem{}
	for i, host := range all[*simulator.HostSystem](s, "HostSystem") {
		spec := s.config.Hosts[i]
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
		config.Network = s.network(config.Network, spec)
		host.Config = &config
		host.Runtime.InMaintenanceMode = spec.Maintenance
		if spec.Connection != "" {
			host.Runtime.ConnectionState = types.HostSystemConnectionState(spec.Connection)
		}
		runtime := host.Runtime
		host.Summary.Runtime = &runtime
		hosts[spec.Name] = host
	}
	return hosts
}

func (s *sddc) network(base *types.HostNetworkInfo, spec Host) *types.HostNetworkInfo {
	link := spec.LinkMbit
	if link == 0 {
		link = s.config.LinkMbit
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

func (s *sddc) buildDatastores(hosts map[string]*simulator.HostSystem) map[string]*simulator.Datastore {
	found := map[string]*simulator.Datastore{}
	for i, datastore := range all[*simulator.Datastore](s, "Datastore") {
		spec := s.config.Datastores[i]
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
				mount := types.HostMountInfo{AccessMode: "readWrite", Accessible: types.NewBool(true), Mounted: types.NewBool(true)}
				datastore.Host = append(datastore.Host, types.DatastoreHostMount{Key: host.Self, MountInfo: mount})
			}
		}
		found[spec.Name] = datastore
	}
	s.cluster.Datastore = nil
	for _, datastore := range found {
		s.cluster.Datastore = append(s.cluster.Datastore, datastore.Self)
	}
	return found
}

func (s *sddc) buildNetworks(
	ctx *simulator.Context, datacenter *simulator.Datacenter, hosts map[string]*simulator.HostSystem,
) map[string]*mo.Network {
	folder := s.registry.Get(datacenter.NetworkFolder).(*simulator.Folder)
	for _, child := range append([]types.ManagedObjectReference{}, folder.ChildEntity...) {
		s.registry.RemoveReference(ctx, folder, &folder.ChildEntity, child)
		s.registry.Remove(ctx, child)
	}
	s.cluster.Network = nil
	found := map[string]*mo.Network{}
	for i, spec := range s.config.Networks {
		network := &mo.Network{}
		network.Self = types.ManagedObjectReference{Type: "Network", Value: fmt.Sprintf("network-%d", 9001+i)}
		network.Name = spec.Name
		network.Summary = &types.NetworkSummary{Network: &network.Self, Name: spec.Name, Accessible: true}
		network.ManagedEntity.Parent = &folder.Self
		s.registry.Put(network)
		folder.ChildEntity = append(folder.ChildEntity, network.Self)
		s.cluster.Network = append(s.cluster.Network, network.Self)
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

func (s *sddc) buildFolders(ctx *simulator.Context, dc *simulator.Datacenter) (map[string]*simulator.Folder, error) {
	folders := map[string]*simulator.Folder{"": s.registry.Get(dc.VmFolder).(*simulator.Folder)}
	for _, path := range s.config.Folders {
		parent, name := splitPath(path)
		above, ok := folders[parent]
		if !ok {
			return nil, fmt.Errorf("folder %q: its parent %q must be listed before it", path, parent)
		}
		folder := &simulator.Folder{}
		folder.Name, folder.ChildType = name, above.ChildType
		s.registry.PutEntity(above, s.registry.NewEntity(folder))
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

func (s *sddc) buildPools(ctx *simulator.Context) (map[string]*simulator.ResourcePool, error) {
	root := s.registry.Get(*s.cluster.ResourcePool).(*simulator.ResourcePool)
	root.Vm = nil
	pools := map[string]*simulator.ResourcePool{"": root}
	for _, name := range s.config.ResourcePools {
		spec := types.DefaultResourceConfigSpec()
		res := root.CreateResourcePool(ctx, &types.CreateResourcePool{This: root.Self, Name: name, Spec: spec})
		if fault := res.Fault(); fault != nil {
			return nil, fmt.Errorf("resource pool %q: %s", name, fault.String)
		}
	}
	for _, pool := range all[*simulator.ResourcePool](s, "ResourcePool") {
		if pool != root {
			pools[pool.Name] = pool
		}
	}
	return pools, nil
}

func (s *sddc) buildRules() {
	config := s.cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
	config.DrsConfig.Enabled = types.NewBool(s.config.Clusters[0].DRS)
	for i, rule := range s.config.Clusters[0].Rules {
		info := types.ClusterRuleInfo{
			Key: int32(i + 1), Name: rule.Name, Enabled: types.NewBool(rule.Enabled == nil || *rule.Enabled),
			Mandatory: types.NewBool(rule.Mandatory), RuleUuid: uuid.NewString(), Status: types.ManagedEntityStatusGreen,
		}
		vms := s.references(rule.VMs, "VirtualMachine")
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
					Host:             s.references(rule.Hosts, "HostSystem"),
				})
			config.Rule = append(config.Rule, &types.ClusterVmHostRuleInfo{
				ClusterRuleInfo: info, VmGroupName: rule.Name + " VMs", AffineHostGroupName: rule.Name + " hosts",
			})
		}
	}
}

func (s *sddc) references(names []string, kind string) []types.ManagedObjectReference {
	var found []types.ManagedObjectReference
	for _, name := range names {
		for _, entity := range s.registry.All(kind) {
			if entity.Entity().Name == name {
				found = append(found, entity.Reference())
			}
		}
	}
	return found
}

func (s *sddc) host(ref types.ManagedObjectReference) *simulator.HostSystem {
	host, _ := s.registry.Get(ref).(*simulator.HostSystem)
	return host
}

func (s *sddc) vm(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := s.registry.Get(ref).(*simulator.VirtualMachine)
	return vm
}

func (s *sddc) hostSpec(name string) *Host {
	for i := range s.config.Hosts {
		if s.config.Hosts[i].Name == name {
			return &s.config.Hosts[i]
		}
	}
	return &Host{}
}

func (s *sddc) linkOf(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if link := s.hostSpec(name).LinkMbit; link > 0 {
		return min(link, s.link)
	}
	return s.link
}

func (s *sddc) budget(name string) int {
	if s.linkOf(name) < 10000 {
		return slowBudget
	}
	return hostBudget
}
