package main

import (
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// hardwareAlarm is the name of vCenter's own alarm for a failing fan, as in vSphere 8.
const hardwareAlarm = "Host hardware fan status"

// alarms sets the hardware alarm of hosts.
type alarms struct {
	inventory *inventory
	events    events

	mu sync.Mutex // held while the alarm is looked up or defined
}

// set gives a host's hardware alarm a colour, and posts an event for each of several times: real alarms flap.
func (a *alarms) set(host *simulator.HostSystem, to types.ManagedEntityStatus, times int) {
	alarm := a.definition()
	ctx := a.inventory.as("")
	ctx.WithLock(host, func() {
		states := []types.AlarmState{}
		if to != types.ManagedEntityStatusGreen {
			states = append(states, types.AlarmState{
				Key: alarm.Self.Value + "." + host.Self.Value, Entity: host.Self, Alarm: alarm.Self, OverallStatus: to,
				Time: time.Now(), Acknowledged: types.NewBool(false),
			})
		}
		ctx.Update(host, []types.PropertyChange{
			{Name: "triggeredAlarmState", Val: states}, {Name: "overallStatus", Val: to}, {Name: "summary.overallStatus", Val: to},
		})
	})
	entity := types.ManagedEntityEventArgument{EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Entity: host.Self}
	for range times {
		a.events.post(ctx, 0, &types.AlarmStatusChangedEvent{
			AlarmEvent: types.AlarmEvent{
				Event: a.events.ofHost(host).Event,
				Alarm: types.AlarmEventArgument{
					EntityEventArgument: types.EntityEventArgument{Name: alarm.Info.Name}, Alarm: alarm.Self,
				},
			},
			Source: entity, Entity: entity, From: "gray", To: string(to),
		})
	}
}

// definition is the hardware alarm, which is missing in the simulator's list.
func (a *alarms) definition() *simulator.Alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, alarm := range all[*simulator.Alarm](a.inventory, "Alarm") {
		if alarm.Info.Name == hardwareAlarm {
			return alarm
		}
	}
	alarm := &simulator.Alarm{}
	alarm.Info.Name, alarm.Info.SystemName = hardwareAlarm, "alarm.HostHardwareFanHealthAlarm"
	alarm.Info.Enabled = true
	alarm.Info.Entity = a.inventory.registry.Any("Folder").Reference()
	a.inventory.registry.Put(alarm)
	alarm.Info.Alarm = alarm.Self
	return alarm
}
