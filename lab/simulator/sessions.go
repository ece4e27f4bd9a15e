package main

import (
	"maps"
	"slices"
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// sessions knows the keys of all sessions that made a call.
type sessions struct {
	inventory *inventory

	mu   sync.Mutex
	keys map[string]bool
}

func newSessions(inventory *inventory) *sessions {
	return &sessions{inventory: inventory, keys: map[string]bool{}}
}

func (s *sessions) note(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[key] = true
}

func (s *sessions) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := slices.Collect(maps.Keys(s.keys))
	s.keys = map[string]bool{}
	return keys
}

// expire ends all sessions one by one: in one call, a session that has logged out would save the others.
func (s *sessions) expire() {
	manager := s.inventory.registry.SessionManager()
	for _, key := range s.take() {
		manager.TerminateSession(s.inventory.as("lab"), &types.TerminateSession{This: manager.Self, SessionId: []string{key}})
	}
}
