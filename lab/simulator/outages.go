package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

const (
	maxOutageSeconds = 3600
	// How a connection fails: 503 before the call is carried out; a call that is carried out and whose answer is lost; no answer
	// for as long as the outage lasts; a call whose answer is lost and that is carried out later.
	unavailable = "unavailable"
	lost        = "lost"
	silent      = "silent"
	late        = "late"
)

var soapCall = regexp.MustCompile(`<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)`)

// failure is what happens to calls: for a time, or a number of times to one call.
type failure struct {
	how   string
	call  string // "" means every call
	until time.Time
	times int           // 0: until then
	after time.Duration // until a call that is late is carried out
}

// outages breaks connections between the clients and the vCenter, as proxies, networks and restarts do.
type outages struct {
	mu     sync.Mutex
	active []*failure
}

func (o *outages) add(f *failure) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.active = append(o.active, f)
}

// take returns the failure that this call meets; nil if it meets none.
func (o *outages) take(call string) *failure {
	o.mu.Lock()
	defer o.mu.Unlock()
	now, kept := time.Now(), o.active[:0]
	var met *failure
	for _, each := range o.active {
		over := each.times == 0 && now.After(each.until)
		if !over && met == nil && (each.call == "" || each.call == call) {
			met = each
			if each.times > 0 {
				each.times--
				over = each.times == 0
			}
		}
		if !over {
			kept = append(kept, each)
		}
	}
	o.active = kept
	return met
}

// last reports whether no call is answered now.
func (o *outages) last() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.ContainsFunc(o.active, func(each *failure) bool {
		return each.call == "" && each.times == 0 && time.Now().Before(each.until)
	})
}

// between puts the outages in front of the vCenter.
func (o *outages) between(vcenter http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		call := ""
		if found := soapCall.FindSubmatch(body); found != nil {
			call = string(found[1])
		}
		met := o.take(call)
		switch {
		case met == nil:
			vcenter.ServeHTTP(w, r)
		case met.how == unavailable:
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		case met.how == lost:
			vcenter.ServeHTTP(&nowhere{http.Header{}}, r)
			panic(http.ErrAbortHandler) // closes the connection without an answer
		case met.how == late:
			again := r.Clone(context.WithoutCancel(r.Context()))
			again.Body = io.NopCloser(bytes.NewReader(body))
			time.AfterFunc(met.after, func() { carryOut(vcenter, again) })
			panic(http.ErrAbortHandler)
		default:
			select {
			case <-r.Context().Done():
			case <-time.After(time.Until(met.until)):
			}
			panic(http.ErrAbortHandler)
		}
	})
}

// carryOut carries out a call whose client does not wait for the answer any more.
func carryOut(vcenter http.Handler, r *http.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			log.Printf("panic in a call that was late: %v\n%s", cause, debug.Stack())
		}
	}()
	vcenter.ServeHTTP(&nowhere{http.Header{}}, r)
}

// nowhere takes an answer that the client never gets.
type nowhere struct{ header http.Header }

// Header belongs to the interface.
func (n *nowhere) Header() http.Header { return n.header }

// Write belongs to the interface.
func (n *nowhere) Write(data []byte) (int, error) { return len(data), nil }

// WriteHeader belongs to the interface.
func (n *nowhere) WriteHeader(int) {}

// kill is a vCenter that dies: what it keeps in memory is gone, and nobody listens on its port until it is started again. The hosts
// continue the moves.
func (v *vcenter) kill(duration time.Duration) {
	address := v.server.Listener.Addr().String()
	v.dead.Store(true)
	_ = v.server.Listener.Close()
	v.sessions.expire()
	v.tasks.discard()
	go v.server.CloseClientConnections()
	time.AfterFunc(duration, func() { v.listenAgain(address) })
}

// listenAgain opens the port; somebody else may have it for a moment.
func (v *vcenter) listenAgain(address string) {
	for {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			v.server.Listener = listener
			v.dead.Store(false)
			log.Printf("vCenter, started again, has ended: %v", v.server.Config.Serve(tls.NewListener(listener, v.server.TLS)))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// isUp reports whether clients get answers now.
func (v *vcenter) isUp() bool { return !v.dead.Load() && !v.outages.last() }

// restart ends what a vCenter keeps in memory: its sessions with their collectors, views and filters, and its tasks. The hosts
// continue the moves. For some time it answers 503.
func (v *vcenter) restart(duration time.Duration) {
	v.outages.add(&failure{how: unavailable, until: time.Now().Add(duration)})
	v.sessions.expire()
	v.tasks.discard()
}
