package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// GPU is a graphics card of a host, which VMs share by vGPUs.
type GPU struct {
	Model    string  `json:"model"`
	MemoryGB float64 `json:"memory_gb"`
	VGPUMode string  `json:"vgpu_mode"` // sameSize or mixedSize
}

// defaultProfile is that of the device "vgpu"; "vgpu:PROFILE" names another one.
const defaultProfile = "grid_v100-16q"

// vgpuOf is the profile of a device of the topology; "" if it is not a vGPU.
func vgpuOf(device string) string {
	kind, profile, _ := strings.Cut(device, ":")
	switch {
	case kind != "vgpu":
		return ""
	case profile == "":
		return defaultProfile
	}
	return profile
}

// vgpus are the profiles of the VM's vGPUs.
func (v *VM) vgpus() []string {
	var found []string
	for _, device := range v.Devices {
		if profile := vgpuOf(device); profile != "" {
			found = append(found, profile)
		}
	}
	return found
}

var profileName = regexp.MustCompile(`^[a-z]+_([a-z]+[0-9]+).*-([0-9]+)[a-z]+$`)

// framebufferGB is the framebuffer of a profile in GB, as its name says.
func framebufferGB(profile string) float64 {
	if parts := profileName.FindStringSubmatch(profile); parts != nil {
		size, _ := strconv.ParseFloat(parts[2], 64)
		return max(size, 0.5) // "0q" is half a GB
	}
	return math.Inf(1)
}

// makes reports whether the card is of the model that the profile names.
func (g GPU) makes(profile string) bool {
	parts := profileName.FindStringSubmatch(profile)
	model := strings.ReplaceAll(strings.ToLower(g.Model), " ", "")
	return parts != nil && regexp.MustCompile(parts[1]+`(\D|$)`).MatchString(model)
}

// roomFor reports whether one more vGPU of a profile fits beside those that are on the card.
func (g GPU) roomFor(profile string, present []string) bool {
	size := framebufferGB(profile)
	if !g.makes(profile) {
		return false
	}
	if g.VGPUMode == "mixedSize" {
		used := size
		for _, each := range present {
			used += framebufferGB(each)
		}
		return used <= g.MemoryGB
	}
	others := slices.ContainsFunc(present, func(each string) bool { return each != profile })
	return !others && len(present) < int(g.MemoryGB/size)
}

// graphics are the cards of all hosts, and the card of each vGPU of each VM.
type graphics struct {
	inventory *inventory

	mu       sync.Mutex
	held     map[string]map[string][]int // cards of the VM's vGPUs, by host (MoID) and VM
	arriving map[string]string           // target of each VM that moves
	foreign  map[string][]string         // profiles of the VMs that come from another vCenter
}

// gpuUser is a VM with the profiles of its vGPUs. The key is its MoID; that of a VM of another vCenter is its instance UUID.
type gpuUser struct {
	key      string
	profiles []string
}

func newGraphics(inventory *inventory) *graphics {
	return &graphics{
		inventory: inventory, held: map[string]map[string][]int{}, arriving: map[string]string{}, foreign: map[string][]string{},
	}
}

// own is a VM of this vCenter.
func (g *graphics) own(vm *simulator.VirtualMachine) gpuUser {
	return gpuUser{vm.Self.Value, g.inventory.vmSpec(vm).vgpus()}
}

// profiles are those of a VM with cards. The caller holds the lock.
func (g *graphics) profiles(key string) []string {
	if found, ok := g.foreign[key]; ok {
		return found
	}
	if vm := g.inventory.vm(vmReference(key)); vm != nil {
		return g.inventory.vmSpec(vm).vgpus()
	}
	return nil
}

// cards are the cards for the vGPUs of a VM on a host; false if it does not have room. Without cards in the topology there is
// room. The caller holds the lock.
func (g *graphics) cards(host *simulator.HostSystem, user gpuUser) ([]int, bool) {
	spec := g.inventory.hostSpec(host.Name)
	present := make([][]string, len(spec.GPUs))
	for key, cards := range g.held[host.Self.Value] {
		if key == user.key {
			continue
		}
		for i, profile := range g.profiles(key) {
			present[cards[i]] = append(present[cards[i]], profile)
		}
	}
	var chosen []int
	for _, profile := range user.profiles {
		best := -1
		for i, card := range spec.GPUs {
			more := best >= 0 && len(present[i]) > len(present[best])
			less := best >= 0 && len(present[i]) < len(present[best])
			better := best < 0 || less && spec.VGPUAssignment != "consolidation" || more && spec.VGPUAssignment == "consolidation"
			if card.roomFor(profile, present[i]) && better {
				best = i
			}
		}
		if best < 0 {
			return nil, false
		}
		present[best] = append(present[best], profile)
		chosen = append(chosen, best)
	}
	return chosen, true
}

// concerns reports whether a VM with vGPUs is or would be on cards of the host.
func (g *graphics) concerns(host *simulator.HostSystem, user gpuUser) bool {
	return len(user.profiles) > 0 && len(g.inventory.hostSpec(host.Name).GPUs) > 0
}

// obstacle is the fault of a host that has no room for the vGPUs of a VM.
func (g *graphics) obstacle(host *simulator.HostSystem, user gpuUser) types.BaseMethodFault {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, own := g.held[host.Self.Value][user.key]; own || !g.concerns(host, user) {
		return nil
	}
	if _, room := g.cards(host, user); !room {
		return &types.InsufficientGraphicsResourcesFault{}
	}
	return nil
}

// claim reserves the cards of the target for a VM that moves.
func (g *graphics) claim(host *simulator.HostSystem, user gpuUser) types.BaseMethodFault {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.concerns(host, user) {
		return nil
	}
	cards, room := g.cards(host, user)
	if !room {
		return &types.InsufficientGraphicsResourcesFault{}
	}
	if g.inventory.vm(vmReference(user.key)) == nil {
		g.foreign[user.key] = user.profiles
	}
	g.hold(host.Self.Value, user.key, cards)
	g.arriving[user.key] = host.Self.Value
	return nil
}

// ended is the end of a move: what was reserved belongs to the VM if it has arrived, and is free otherwise.
func (g *graphics) ended(user gpuUser) {
	g.release(user)
	g.refresh()
}

// release ends the reservation of a VM. One of another vCenter has a new MoID here, under which it gets its cards.
func (g *graphics) release(user gpuUser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	host := g.arriving[user.key]
	delete(g.arriving, user.key)
	if _, ok := g.foreign[user.key]; ok {
		delete(g.held[host], user.key)
		delete(g.foreign, user.key)
	}
}

func (g *graphics) hold(host, vm string, cards []int) {
	if g.held[host] == nil {
		g.held[host] = map[string][]int{}
	}
	g.held[host][vm] = cards
}

// refresh gives cards to the VMs that have come to a host, takes those of the VMs that have left it, and shows which VMs are on
// which card. It returns the VMs that do not fit.
func (g *graphics) refresh() (unfitting []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := map[string]*simulator.VirtualMachine{}
	for _, vm := range g.inventory.vms() {
		if vm.Runtime.Host != nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			at[vm.Self.Value] = vm
		}
	}
	for _, host := range g.inventory.hosts() {
		if len(g.inventory.hostSpec(host.Name).GPUs) == 0 {
			continue
		}
		key := host.Self.Value
		for vm := range g.held[key] {
			if g.arriving[vm] != key && (at[vm] == nil || at[vm].Runtime.Host.Value != key) {
				delete(g.held[key], vm)
			}
		}
		for _, vm := range g.inventory.vms() {
			if at[vm.Self.Value] == nil || vm.Runtime.Host.Value != key || g.held[key][vm.Self.Value] != nil || !g.concerns(host, g.own(vm)) {
				continue
			}
			if cards, room := g.cards(host, g.own(vm)); room {
				g.hold(key, vm.Self.Value, cards)
			} else {
				unfitting = append(unfitting, vm.Name)
			}
		}
		g.show(host, at)
	}
	return unfitting
}

// show sets what the host says about its cards.
func (g *graphics) show(host *simulator.HostSystem, at map[string]*simulator.VirtualMachine) {
	spec := g.inventory.hostSpec(host.Name)
	infos := make([]types.HostGraphicsInfo, len(spec.GPUs))
	for i, card := range spec.GPUs {
		infos[i] = types.HostGraphicsInfo{
			DeviceName: card.Model, VendorName: "NVIDIA", PciId: fmt.Sprintf("0000:%02x:00.0", 0x3b+i),
			GraphicsType: string(types.HostGraphicsInfoGraphicsTypeSharedDirect), VgpuMode: card.VGPUMode,
			MemorySizeInKB: int64(card.MemoryGB * gib / 1024),
		}
	}
	for _, vm := range g.inventory.vms() {
		if at[vm.Self.Value] == nil || vm.Runtime.Host.Value != host.Self.Value {
			continue
		}
		for _, card := range slices.Compact(slices.Sorted(slices.Values(g.held[host.Self.Value][vm.Self.Value]))) {
			infos[card].Vm = append(infos[card].Vm, vm.Self)
		}
	}
	ctx := g.inventory.as("")
	ctx.WithLock(host, func() {
		ctx.Update(host, []types.PropertyChange{{Name: "config.graphicsInfo", Val: infos}})
	})
}

// published are expected stuns of a vMotion in seconds over 10 GbE, by the framebuffer in use in GB (vSphere 7.0 documentation, V100).
var published = [][2]float64{{0, 0}, {1, 2}, {2, 4}, {4, 6}, {8, 12}, {16, 22}, {32, 39}}

// vgpuStun is how long the vGPUs of a VM make it stand still over a link; 0 without one.
func vgpuStun(spec *VM, mbit int) float64 {
	total := 0.0
	for _, profile := range spec.vgpus() {
		used := framebufferGB(profile)
		if spec.VGPUUsedGB != nil {
			used = min(used, *spec.VGPUUsedGB)
		}
		total += publishedStun(used)
	}
	return total * max(1, slowLinkMbit/float64(mbit))
}

func publishedStun(gigabytes float64) float64 {
	for i := 1; i < len(published); i++ {
		low, high := published[i-1], published[i]
		if gigabytes <= high[0] {
			return low[1] + (high[1]-low[1])*(gigabytes-low[0])/(high[0]-low[0])
		}
	}
	last := published[len(published)-1]
	return last[1] * gigabytes / last[0]
}

// QueryConfigTarget answers with the vGPU profiles of one host, and with the stuns that the host expects if the topology has them.
func (o *overrides) QueryConfigTarget(_ *simulator.Context, req *types.QueryConfigTarget) soap.HasFault {
	body := &methods.QueryConfigTargetBody{}
	if req.Host == nil || o.vcenter.inventory.host(*req.Host) == nil {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "host"})
		return body
	}
	host := o.vcenter.inventory.host(*req.Host)
	spec, target := o.vcenter.inventory.hostSpec(host.Name), &types.ConfigTarget{NumCpuCores: int32(host.Summary.Hardware.NumCpuCores)}
	for _, profile := range spec.VGPUProfiles {
		info := types.VirtualMachineVgpuProfileInfo{
			ProfileName: profile, ProfileSharing: "timeSliced", ProfileClass: "compute", DeviceVendorId: 0x1db410de,
		}
		if size := framebufferGB(profile); !math.IsInf(size, 1) {
			info.FbSizeInGib = int64(size)
		}
		for _, each := range spec.StunEstimates[profile] {
			info.StunTimeEstimates = append(info.StunTimeEstimates, types.VirtualMachineVMotionStunTimeInfo{
				MigrationBW: each[0], StunTime: each[1],
			})
		}
		target.VgpuProfileInfo = append(target.VgpuProfileInfo, info)
	}
	body.Res = &types.QueryConfigTargetResponse{Returnval: target}
	return body
}
