package main

import (
	"strconv"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// advice is a move that DRS recommends, and how the API shows it.
type advice struct {
	move           drsMove
	recommendation types.ClusterRecommendation
}

// reasonTexts explain the reasons of the lab's DRS to people.
var reasonTexts = map[types.RecommendationReasonCode]string{
	types.RecommendationReasonCodeHostMaint:          "Host is entering maintenance mode",
	types.RecommendationReasonCodeVmHostHardAffinity: "Fix a mandatory VM/host rule",
	types.RecommendationReasonCodeVmHostSoftAffinity: "Fix a VM/host rule that should be kept",
	types.RecommendationReasonCodeAntiAffin:          "Keep virtual machines apart",
	types.RecommendationReasonCodeJointAffin:         "Keep virtual machines together",
	types.RecommendationReasonCodeFairnessCpuAvg:     "Balance average CPU loads",
	types.RecommendationReasonCodeFairnessMemAvg:     "Balance average memory loads",
}

// recommend makes a recommendation. One that stands already keeps its key.
func (d *drs) recommend(cluster *drsCluster, move drsMove) advice {
	for _, each := range d.advice {
		if each.move == move {
			return each
		}
	}
	d.counter++
	key, now, target := strconv.Itoa(d.counter), time.Now(), d.cluster.Self
	return advice{move, types.ClusterRecommendation{
		Key: key, Type: string(types.RecommendationTypeV1), Time: now, Rating: move.rating,
		Reason: string(move.reason), ReasonText: reasonTexts[move.reason], Target: &target,
		Action: []types.BaseClusterAction{migrationOf(cluster, move, key, now)},
	}}
}

// migrationOf is a move as a recommendation shows it.
func migrationOf(cluster *drsCluster, move drsMove, key string, now time.Time) *types.ClusterMigrationAction {
	vm := vmReference(move.vm)
	size, from, to := cluster.vms[move.vm], cluster.hosts[move.source], cluster.hosts[move.target]
	migration := types.ClusterDrsMigration{
		Key: key, Time: now, Vm: vm, Source: hostReference(move.source), Destination: hostReference(move.target),
		CpuLoad: int32(size.cpu), MemoryLoad: int64(size.memory * gib),
		DestinationCpuLoad: int32(to.cpuReported), DestinationMemoryLoad: int64(to.memReported * gib),
	}
	if from != nil {
		migration.SourceCpuLoad, migration.SourceMemoryLoad = int32(from.cpuReported), int64(from.memReported*gib)
	}
	return &types.ClusterMigrationAction{
		ClusterAction: types.ClusterAction{Type: string(types.ActionTypeMigrationV1), Target: &vm}, DrsMigration: &migration,
	}
}

// standing are the recommendations that are still valid. The model then counts them as made.
func (d *drs) standing(cluster *drsCluster) []advice {
	var kept []advice
	for _, each := range d.advice {
		vm, source := cluster.vms[each.move.vm], cluster.hosts[each.move.source]
		if vm == nil || source == nil || vm.host != each.move.source || !vm.movable() ||
			vm.behaviour == types.DrsBehaviorFullyAutomated || !cluster.allowed(vm, each.move.target) {
			continue
		}
		if each.move.reason == types.RecommendationReasonCodeHostMaint && !source.entersMaintenance {
			continue
		}
		cluster.place(vm, each.move.target)
		kept = append(kept, each)
	}
	return kept
}

// publish shows the recommendations on the cluster. The caller holds the lock.
func (d *drs) publish(recommended []advice) {
	if len(recommended) == 0 && len(d.advice) == 0 {
		return
	}
	d.advice = recommended
	shown := make([]types.ClusterRecommendation, 0, len(recommended))
	for _, each := range recommended {
		shown = append(shown, each.recommendation)
	}
	ctx, cluster := d.inventory.as(""), d.cluster
	ctx.WithLock(cluster, func() { ctx.Update(cluster, []types.PropertyChange{{Name: "recommendation", Val: shown}}) })
}

// RefreshRecommendation makes DRS look at the cluster now. With full automation it also moves.
func (o *overrides) RefreshRecommendation(_ *simulator.Context, req *types.RefreshRecommendation) soap.HasFault {
	drs := o.vcenter.drs[req.This.Value]
	if drs == nil {
		return &methods.RefreshRecommendationBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})}
	}
	drs.pass()
	return &methods.RefreshRecommendationBody{Res: &types.RefreshRecommendationResponse{}}
}

// ApplyRecommendation starts the move of a recommendation.
func (o *overrides) ApplyRecommendation(ctx *simulator.Context, req *types.ApplyRecommendation) soap.HasFault {
	drs := o.vcenter.drs[req.This.Value]
	if drs == nil {
		return &methods.ApplyRecommendationBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: req.This})}
	}
	if fault := drs.apply(ctx.Session.UserName, req.Key); fault != nil {
		return &methods.ApplyRecommendationBody{Fault_: simulator.Fault("", fault)}
	}
	return &methods.ApplyRecommendationBody{Res: &types.ApplyRecommendationResponse{}}
}
