package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	gib            = 1 << 30
	threadsPerCore = 2
)

// builder makes the managed objects of a topology out of the simulator's model.
type builder struct {
	*inventory
	sites    map[string]*site                 // by name of the data centre
	computes map[string]*compute              // by name of the cluster
	byName   map[string]*simulator.HostSystem // hosts
}

// build makes a vCenter with everything that the configuration names; it does not answer yet.
func build(config *Config) (*vcenter, error) {
	model := simulator.VPX()
	model.Datacenter, model.Cluster, model.Host = 1, 1, 0
	model.ClusterHost, model.Machine, model.Datastore = 1, min(1, len(config.VMs)), len(config.storePlaces())
	model.Portgroup, model.Pool = 0, 0
	if err := model.Create(); err != nil {
		return nil, err
	}
	inventory := &inventory{
		config: config, root: model.Service.Context.Context, registry: model.Map(), specs: map[string]*VM{},
		clusterSpecs: map[string]*Cluster{},
	}
	inventory.graphics = newGraphics(inventory)
	b := &builder{inventory: inventory, sites: map[string]*site{}, computes: map[string]*compute{}}
	if err := b.build(); err != nil {
		return nil, err
	}
	v := newVCenter(config, model.Service, inventory)
	v.install()
	return v, nil
}

func (b *builder) build() error {
	ctx := b.as(b.config.VCenter.User)
	b.copyModel()
	first := b.registry.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
	if err := b.buildSites(ctx); err != nil {
		return err
	}
	if err := b.buildClusters(ctx, first); err != nil {
		return err
	}
	if err := b.buildHosts(); err != nil {
		return err
	}
	if err := b.buildDatastores(ctx); err != nil {
		return err
	}
	b.buildNetworks(ctx)
	if err := b.buildVMs(ctx); err != nil {
		return err
	}
	for _, cluster := range b.clusters {
		b.buildRules(cluster)
	}
	b.describe()
	if unfitting := b.refreshLoad(); len(unfitting) > 0 {
		return fmt.Errorf("VM %q: the GPUs of its host have no room for its vGPUs", unfitting[0])
	}
	return nil
}

func (b *builder) describe() {
	about := &b.content().About
	about.Name = "VMware vCenter Server (simulator)"
	version := b.config.Version
	if version == "" {
		version = defaultVersion
	}
	about.FullName = fmt.Sprintf("VMware vCenter Server %s (%s)", version, strings.Join(b.movers(), "; "))
	about.InstanceUuid = uuid.NewString()
	about.Version, about.Build, about.ApiVersion = version, "24022515", version+".0"
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

// evcOf is the EVC mode of a cluster.
func (b *builder) evcOf(cluster string) string {
	for _, spec := range b.config.Clusters {
		if spec.Name == cluster {
			return spec.EVC
		}
	}
	return ""
}

func (b *builder) buildHosts() error {
	b.byName = map[string]*simulator.HostSystem{}
	for i, host := range b.hosts() {
		spec := b.config.Hosts[i]
		near := b.computes[spec.Cluster]
		if near == nil {
			return fmt.Errorf("host %q: unknown cluster %q", spec.Name, spec.Cluster)
		}
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
		config.Network = b.network(config.Network, spec, i)
		config.SharedPassthruGpuTypes = spec.VGPUProfiles
		config.GraphicsConfig = &types.HostGraphicsConfig{
			HostDefaultGraphicsType:        string(types.HostGraphicsConfigGraphicsTypeSharedDirect),
			SharedPassthruAssignmentPolicy: cmp.Or(spec.VGPUAssignment, "performance"),
		}
		config.FeatureCapability = nil
		for _, feature := range spec.CPUFeatures {
			config.FeatureCapability = append(config.FeatureCapability, types.HostFeatureCapability{
				Key: feature, FeatureName: feature, Value: "1",
			})
		}
		host.Summary.MaxEVCModeKey, host.Summary.CurrentEVCModeKey = spec.EVCMax, b.evcOf(spec.Cluster)
		product := *host.Summary.Config.Product
		product.Version = spec.ESXi
		host.Summary.Config.Product, config.Product = &product, product
		host.Config = &config
		host.Runtime.InMaintenanceMode = spec.Maintenance
		host.Runtime.InQuarantineMode = types.NewBool(spec.Quarantine)
		host.Runtime.StandbyMode = string(types.HostStandbyModeNone)
		if spec.Standby {
			host.Runtime.StandbyMode, host.Runtime.PowerState = string(types.HostStandbyModeIn), types.HostSystemPowerStateStandBy
		}
		if spec.Connection != "" {
			host.Runtime.ConnectionState = types.HostSystemConnectionState(spec.Connection)
		}
		runtime := host.Runtime
		host.Summary.Runtime = &runtime
		b.byName[spec.Name] = host
		b.join(host, near)
	}
	return nil
}

// network is the network of the host with that index: its NIC, its address for management, and its DNS name.
func (b *builder) network(base *types.HostNetworkInfo, spec Host, index int) *types.HostNetworkInfo {
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
	address := fmt.Sprintf("10.2.%d.%d", index/250, index%250+11)
	network.Vnic = []types.HostVirtualNic{{
		Device: "vmk0", Key: "key-vim.host.VirtualNic-vmk0", Portgroup: "Management Network",
		Spec: types.HostVirtualNicSpec{Ip: &types.HostIpConfig{IpAddress: address, SubnetMask: "255.255.0.0"}},
	}}
	name, domain, _ := strings.Cut(spec.Name, ".")
	network.DnsConfig = &types.HostDnsConfig{HostName: name, DomainName: domain}
	return &network
}

// availability is the configuration of HA of a cluster.
func (b *builder) availability(spec *Cluster) types.ClusterDasConfigInfo {
	policy := b.admissionPolicy(spec)
	on := policy != nil
	return types.ClusterDasConfigInfo{
		Enabled: types.NewBool(on), AdmissionControlEnabled: types.NewBool(on), AdmissionControlPolicy: policy,
	}
}

// admissionPolicy says what HA keeps free; nil for nothing.
func (b *builder) admissionPolicy(spec *Cluster) types.BaseClusterDasAdmissionControlPolicy {
	switch {
	case len(spec.FailoverHosts) > 0:
		policy := &types.ClusterFailoverHostAdmissionControlPolicy{}
		for _, host := range b.hosts() {
			if slices.Contains(spec.FailoverHosts, host.Name) {
				policy.FailoverHosts = append(policy.FailoverHosts, host.Self)
			}
		}
		return policy
	case spec.FailoverPercent > 0:
		return &types.ClusterFailoverResourcesAdmissionControlPolicy{
			CpuFailoverResourcesPercent: spec.FailoverPercent, MemoryFailoverResourcesPercent: spec.FailoverPercent,
			AutoComputePercentages: types.NewBool(false),
		}
	case spec.FailoverLevel > 0:
		hosts := 0
		for _, host := range b.config.Hosts {
			if host.Cluster == spec.Name {
				hosts++
			}
		}
		percent := 100 * spec.FailoverLevel / int32(max(1, hosts))
		return &types.ClusterFailoverResourcesAdmissionControlPolicy{
			CpuFailoverResourcesPercent: percent, MemoryFailoverResourcesPercent: percent,
			FailoverLevel: spec.FailoverLevel, AutoComputePercentages: types.NewBool(true),
		}
	case spec.FailoverSlots > 0:
		return &types.ClusterFailoverLevelAdmissionControlPolicy{FailoverLevel: spec.FailoverSlots}
	}
	return nil
}

func (b *builder) buildRules(cluster *simulator.ClusterComputeResource) {
	config, spec := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx), b.clusterSpecs[cluster.Self.Value]
	config.DrsConfig, config.DrsVmConfig = b.automation(spec)
	config.DasConfig = b.availability(spec)
	withServicesOff(config)
	for i, rule := range spec.Rules {
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
	cluster.Configuration = olderConfiguration(config)
}

func (b *builder) references(names []string, kind string) []types.ManagedObjectReference {
	var found []types.ManagedObjectReference
	for _, name := range names {
		for _, entity := range b.registry.All(kind) {
			if entity.Entity().Name == escaped(name) {
				found = append(found, entity.Reference())
			}
		}
	}
	return found
}
