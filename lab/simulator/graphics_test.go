package main

import (
	"math"
	"slices"
	"testing"
)

func TestACardHasRoomForAsMuchAsItsModePermits(t *testing.T) {
	v100 := GPU{Model: "NVIDIA Tesla V100", MemoryGB: 16, VGPUMode: "sameSize"}
	mixed := GPU{Model: "NVIDIA L40S", MemoryGB: 48, VGPUMode: "mixedSize"}
	for _, each := range []struct {
		card    GPU
		profile string
		present []string
		room    bool
	}{
		{v100, "grid_v100-16q", nil, true},
		{v100, "grid_v100-8q", []string{"grid_v100-8q"}, true},
		{v100, "grid_v100-8q", []string{"grid_v100-8q", "grid_v100-8q"}, false},
		{v100, "grid_v100-4q", []string{"grid_v100-8q"}, false}, // other sizes
		{v100, "grid_v100-8c", []string{"grid_v100-8q"}, false}, // and other kinds of the same size
		{v100, "grid_t4-8q", nil, false},
		{GPU{Model: "NVIDIA A100", MemoryGB: 80}, "nvidia_a10-4q", nil, false},
		{v100, "grid_v100-32q", nil, false},
		{mixed, "nvidia_l40s-24c", []string{"nvidia_l40s-16c", "nvidia_l40s-8c"}, true},
		{mixed, "nvidia_l40s-24c", []string{"nvidia_l40s-16c", "nvidia_l40s-12c"}, false},
	} {
		if room := each.card.roomFor(each.profile, each.present); room != each.room {
			t.Errorf("%s beside %v on %v: %v", each.profile, each.present, each.card, room)
		}
	}
}

func TestTheStunFollowsThePublishedTable(t *testing.T) {
	half := 8.0
	for _, each := range []struct {
		vm   VM
		mbit int
		want float64
	}{
		{VM{Devices: []string{"vgpu"}}, 10_000, 22},
		{VM{Devices: []string{"vgpu"}, VGPUUsedGB: &half}, 10_000, 12},
		{VM{Devices: []string{"vgpu:grid_t4-4q", "cdrom_iso", "vgpu:grid_t4-4q"}}, 25_000, 12},
		{VM{Devices: []string{"vgpu:grid_t4-4q"}}, 1_000, 60},
		{VM{Devices: []string{"vgpu:nvidia_a100-4-20c"}}, 10_000, 26.25},
		{VM{Devices: []string{"vgpu:nvidia_h100-64c"}}, 10_000, 78},
		{VM{}, 10_000, 0},
	} {
		if stun := vgpuStun(&each.vm, each.mbit); math.Abs(stun-each.want) > 0.01 {
			t.Errorf("%v over %d Mbit/s: %v s", each.vm.Devices, each.mbit, stun)
		}
	}
	if !slices.Equal((&VM{Devices: []string{"vgpu", "cdrom_iso", "vgpu:p"}}).vgpus(), []string{defaultProfile, "p"}) {
		t.Error("vgpu has a default profile")
	}
}
