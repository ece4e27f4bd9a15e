package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// hardwareAlarm is the name of vCenter's own alarm for a failing fan, as in vSphere 8.
const hardwareAlarm = "Host hardware fan status"

// raiseAlarm sets a host's hardware alarm to a colour, and posts so many events about it: alarms flap.
func (s *sddc) raiseAlarm(name string, body request) error {
	host, err := s.findHost(name)
	if err != nil {
		return err
	}
	to := types.ManagedEntityStatus(body.Alarm)
	if to != types.ManagedEntityStatusGreen && to != types.ManagedEntityStatusYellow && to != types.ManagedEntityStatusRed {
		return fmt.Errorf("alarm is %q, not green, yellow or red", body.Alarm)
	}
	alarm := s.alarmDefinition()
	ctx := s.context("")
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
	for range max(1, body.Times) {
		s.post(ctx, 0, &types.AlarmStatusChangedEvent{
			AlarmEvent: types.AlarmEvent{
				Event: s.hostEvent(host).Event,
				Alarm: types.AlarmEventArgument{
					EntityEventArgument: types.EntityEventArgument{Name: alarm.Info.Name}, Alarm: alarm.Self,
				},
			},
			Source: entity, Entity: entity, From: "gray", To: string(to),
		})
	}
	return nil
}

// alarmDefinition is the hardware alarm, which the simulator's list lacks.
func (s *sddc) alarmDefinition() *simulator.Alarm {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, alarm := range all[*simulator.Alarm](s, "Alarm") {
		if alarm.Info.Name == hardwareAlarm {
			return alarm
		}
	}
	alarm := &simulator.Alarm{}
	alarm.Info.Name, alarm.Info.SystemName = hardwareAlarm, "alarm.HostHardwareFanHealthAlarm"
	alarm.Info.Enabled = true
	alarm.Info.Entity = s.registry.Any("Folder").Reference()
	s.registry.Put(alarm)
	alarm.Info.Alarm = alarm.Self
	return alarm
}

// plainEventTypes takes the prefix from event types in a filter: a vCenter knows both spellings, the simulator one.
func plainEventTypes(body any) {
	filtered, ok := body.(*types.CreateCollectorForEvents)
	if !ok {
		return
	}
	for i, id := range filtered.Filter.EventTypeId {
		filtered.Filter.EventTypeId[i] = strings.TrimPrefix(id, "vim.event.")
	}
}
