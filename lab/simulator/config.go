package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// Login is a user of the simulated vCenter.
type Login struct {
	Name     string `json:"name"`
	User     string `json:"user"`
	Password string `json:"password"`
	Listen   string `json:"listen"`
	// Of the user. A permission of a group counts for its users.
	Groups []string `json:"groups"`
}

// Rule is a DRS rule: anti_affinity, affinity or vm_host.
type Rule struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind"`
	VMs       []string `json:"vms"`
	Hosts     []string `json:"hosts"`
	Mandatory bool     `json:"mandatory"`
	Enabled   *bool    `json:"enabled"`
}

// Datacenter is a data centre with its folders of VMs; a folder may be a path.
type Datacenter struct {
	Name    string   `json:"name"`
	Folders []string `json:"folders"`
}

// Cluster is a cluster of hosts, or the compute resource of a standalone host. No move breaks its mandatory VM-host rules; only DRS keeps the others.
type Cluster struct {
	Name              string            `json:"name"`
	Datacenter        string            `json:"datacenter"`
	Standalone        bool              `json:"standalone"` // it has the name of its one host
	ResourcePools     []string          `json:"resource_pools"`
	DRS               string            `json:"drs"`           // off, manual, partial or full
	DRSOverrides      map[string]string `json:"drs_overrides"` // by VM name: manual, partial, full or disabled
	DRSAllowOverrides bool              `json:"drs_allow_overrides"`
	DRSVmotionRate    int32             `json:"drs_vmotion_rate"`
	DRSInterval       float64           `json:"drs_interval"` // simulated seconds; 0: never
	DRSMovesVGPUs     bool              `json:"drs_moves_vgpus"`
	EVC               string            `json:"evc"` // key of its EVC mode; "" without EVC
	Rules             []Rule            `json:"rules"`
	// What HA keeps free for a failure; HA is on if one of them is set. At most one is.
	FailoverHosts   []string `json:"failover_hosts"`
	FailoverPercent int32    `json:"failover_percent"` // of processor and memory
	FailoverLevel   int32    `json:"failover_level"`   // hosts that may fail; the percentage follows from them
	FailoverSlots   int32    `json:"failover_slots"`   // hosts that may fail, counted in slots
}

// Attached is a datastore or network with the hosts that reach it ("*" means all; of a network, all of its data centre).
type Attached struct {
	Name       string   `json:"name"`
	Datacenter string   `json:"datacenter"` // of a network
	Hosts      []string `json:"hosts"`
	CapacityGB float64  `json:"capacity_gb"`
	FreeGB     float64  `json:"free_gb"`
	Local      bool     `json:"local"`
	Type       string   `json:"type"`
	DeadOn     []string `json:"dead_on"` // hosts that mount the datastore and cannot access it
	// The datastore cluster (StoragePod) in which the datastore is; "" for none.
	DatastoreCluster string  `json:"datastore_cluster"`
	LatencyMS        float64 `json:"latency_ms"` // that Storage DRS sees
	Maintenance      bool    `json:"maintenance"`
}

// Policy is a storage policy, and the names of the datastores that fit it.
type Policy struct {
	Name       string   `json:"name"`
	Datastores []string `json:"datastores"`
}

// Disk is a virtual disk. A thin one takes the space that is used, a thick one takes all of it.
type Disk struct {
	SizeGB      float64 `json:"size_gb"`
	UsedGB      float64 `json:"used_gb"`
	Thin        bool    `json:"thin"`
	Datastore   string  `json:"datastore"`
	MultiWriter bool    `json:"multi_writer"` // other VMs may write to it, too

	StoragePolicy string `json:"storage_policy"` // "" for none
}

// takesGB is the space that the disk takes on its datastore.
func (d Disk) takesGB() float64 {
	if d.Thin {
		return d.UsedGB
	}
	return d.SizeGB
}

// Host is an ESXi host; memory_used_gb and cpu_used_mhz are its load without the VMs.
type Host struct {
	Name         string   `json:"name"`
	Cluster      string   `json:"cluster"`
	FaultDomain  string   `json:"fault_domain"`
	Cores        int      `json:"cores"`
	MHz          int      `json:"mhz"`
	MemoryGB     float64  `json:"memory_gb"`
	CPUUsedMHz   int      `json:"cpu_used_mhz"`
	MemoryUsedGB float64  `json:"memory_used_gb"`
	LinkMbit     int      `json:"link_mbit"`
	Connection   string   `json:"connection"`
	Maintenance  bool     `json:"maintenance"`
	VMotion      *bool    `json:"vmotion"`
	ESXi         string   `json:"esxi"`
	Quarantine   bool     `json:"quarantine"`
	VGPUProfiles []string `json:"vgpu_profiles"`
	CPUFeatures  []string `json:"cpu_features"` // that it offers to VMs, such as cpuid.avx512f
	EVCMax       string   `json:"evc_max"`      // key of the highest EVC mode that it supports; "" is not known
	Standby      bool     `json:"standby"`      // powered down by power management
	GPUs         []GPU    `json:"gpus"`
	// How ESXi chooses a card: performance (the least used one) or consolidation.
	VGPUAssignment string `json:"vgpu_assignment"`
	// What the host expects of vMotions, by vGPU profile: bandwidth (Mbit/s) and stun (s).
	StunEstimates map[string][][2]int64 `json:"stun_estimates"`
}

// Guest is what runs in a VM: an address that VMware Tools report, and perhaps a real process or a real VM.
type Guest struct {
	Address     string            `json:"address"`
	Hostname    string            `json:"hostname"`
	Command     []string          `json:"command"`
	Env         map[string]string `json:"env"`
	Log         string            `json:"log"`
	Nice        int               `json:"nice"`
	StunSeconds *float64          `json:"stun_seconds"`
	Live        *Live             `json:"live"`
}

// Live is a real VM under QEMU.
type Live struct {
	Hypervisor string   `json:"hypervisor"` // its name and version
	Command    []string `json:"command"`    // of the QEMU process, without what differs on the two sides of a migration
	Folder     string   `json:"folder"`     // of sockets and logs; QEMU runs in it
	State      string   `json:"state"`      // file with the kept state from which the VM starts; it boots without
	Inside     string   `json:"inside"`     // the IP address that the VM itself has
	MAC        string   `json:"mac"`
	Ports      []int    `json:"ports"` // that answer on the VM's address in the lab
	Taps       []string `json:"taps"`  // of the bridge that the VM is on; it is on a switch of its own without
}

// VM is a virtual machine.
type VM struct {
	Name                string            `json:"name"`
	Host                string            `json:"host"`
	Folder              string            `json:"folder"`
	Pool                string            `json:"pool"`
	MemoryGB            float64           `json:"memory_gb"`
	MemoryReservationGB float64           `json:"memory_reservation_gb"`
	CPUs                int               `json:"cpus"`
	CPUUsedMHz          int               `json:"cpu_used_mhz"`
	CPUReservationMHz   int               `json:"cpu_reservation_mhz"`
	MemoryUsedGB        float64           `json:"memory_used_gb"`
	Power               string            `json:"power"`
	Template            bool              `json:"template"`
	Datastores          []string          `json:"datastores"`
	Disks               []Disk            `json:"disks"`
	StoragePolicy       string            `json:"storage_policy"` // of its own files; "" for none
	Networks            []string          `json:"networks"`
	Devices             []string          `json:"devices"`
	DisabledMethods     []string          `json:"disabled_methods"`
	Attributes          map[string]string `json:"attributes"`
	CPUAffinity         []int32           `json:"cpu_affinity"`
	ManagedBy           string            `json:"managed_by"`
	HardwareVersion     int               `json:"hardware_version"`
	CPUFeatures         []string          `json:"cpu_features"` // that it has used since it was powered on
	EVC                 string            `json:"evc"`          // key of the EVC mode that it needs since it was powered on
	VGPUUsedGB          *float64          `json:"vgpu_used_gb"` // framebuffer in use of each vGPU; all of it if it is not set
	Guest               Guest             `json:"guest"`
	Tools               *bool             `json:"tools"`
}

// memoryUsed is the VM's consumed memory in GB.
func (v *VM) memoryUsed() float64 {
	if v.MemoryUsedGB > 0 {
		return v.MemoryUsedGB
	}
	return v.MemoryGB
}

// hasTools reports whether VMware Tools run in the VM.
func (v *VM) hasTools() bool { return v.Tools == nil || *v.Tools }

// WAN is the line between a vCenter's site and the site of the first vCenter.
type WAN struct {
	Mbit      int     `json:"mbit"`
	LatencyMS float64 `json:"latency_ms"` // of a round trip
}

// Config is the whole simulated SDDC of one vCenter. That of the first one has those of the others.
type Config struct {
	StateDir    string       `json:"state_dir"`
	TimeScale   float64      `json:"time_scale"`
	VCenter     Login        `json:"vcenter"`
	Restricted  Login        `json:"restricted"`
	Operator    Login        `json:"operator"`
	Control     Login        `json:"control"`
	GuestLogin  Login        `json:"guest_login"`
	LinkMbit    int          `json:"link_mbit"`
	StorageMBs  int          `json:"storage_mb_s"` // at which a disk is copied, in MB/s
	Language    string       `json:"language"`     // of the texts of faults: en or de
	TaskSeconds float64      `json:"task_seconds"` // simulated, for which a task that has ended can be read
	Version     string       `json:"version"`      // of the vCenter
	Certificate string       `json:"certificate"`  // valid or expired
	WAN         *WAN         `json:"wan"`          // nil for the first vCenter
	VCenters    []*Config    `json:"vcenters"`
	Datacenters []Datacenter `json:"datacenters"`
	Clusters    []Cluster    `json:"clusters"`
	Datastores  []Attached   `json:"datastores"`
	Networks    []Attached   `json:"networks"`
	// The policy service answers unless it is false.
	PolicyService   *bool    `json:"policy_service"`
	StoragePolicies []Policy `json:"storage_policies"`
	StorageDRS      []string `json:"storage_drs"` // datastore clusters that have it enabled

	Hosts []Host `json:"hosts"`
	VMs   []VM   `json:"vms"`
}

func readConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := &Config{TimeScale: 1, LinkMbit: 10000, StorageMBs: 1000, Language: "en", Version: defaultVersion, TaskSeconds: 600}
	if err := json.Unmarshal(data, config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, each := range config.all() {
		if err := each.check(); err != nil {
			return nil, fmt.Errorf("vCenter %s: %w", each.VCenter.Name, err)
		}
	}
	return config, nil
}

const defaultVersion = "8.0.3"

// all are the configurations of all vCenters.
func (c *Config) all() []*Config { return append([]*Config{c}, c.VCenters...) }

func (c *Config) check() error {
	switch {
	case len(c.Datacenters) == 0 || len(c.Clusters) == 0:
		return fmt.Errorf("there are no data centres or no clusters; add one of each")
	case len(c.Hosts) == 0:
		return fmt.Errorf("there are no hosts; add one")
	case len(c.Datastores) == 0 || len(c.Networks) == 0:
		return fmt.Errorf("there are no datastores or no networks; add one of each")
	case c.TimeScale <= 0:
		return fmt.Errorf("time_scale must be above 0")
	}
	return nil
}

// reaches reports whether a list of names holds the name or "*".
func reaches(hosts []string, name string) bool {
	for _, host := range hosts {
		if host == "*" || host == name {
			return true
		}
	}
	return false
}
