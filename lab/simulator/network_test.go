package main

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// accepts reports whether a new connection is accepted soon.
func accepts(t *testing.T, address string) bool {
	t.Helper()
	conn, err := net.DialTimeout("tcp4", address, 200*time.Millisecond)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// dropped sets or removes the filter of a socket.
func dropped(t *testing.T, socket syscall.Conn, losing bool) {
	t.Helper()
	err := drop(socket, losing)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("since Linux 6.18 a filter on TCP needs CAP_NET_ADMIN")
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestALosingSocketAcceptsNothingUntilItTakesPacketsAgain(t *testing.T) {
	head, err := listenPlainly("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer head.Close()
	address := head.Addr().String()
	for _, losing := range []bool{false, true, false, false} {
		dropped(t, head, losing)
		if accepted := accepts(t, address); accepted == losing {
			t.Errorf("losing %v, and a connection is accepted: %v", losing, accepted)
		}
	}
}

func TestAConnectionThatLosesPacketsGetsThemWhenTheSenderSendsAgain(t *testing.T) {
	head, err := listenPlainly("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer head.Close()
	client, err := net.Dial("tcp4", head.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := head.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dropped(t, server, true)
	sent := time.Now()
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	lost := 100 * time.Millisecond
	_ = server.SetReadDeadline(sent.Add(lost))
	data := make([]byte, 1)
	if _, err := server.Read(data); err == nil {
		t.Fatal("the packet was not lost")
	}
	dropped(t, server, false)
	_ = server.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := server.Read(data); err != nil {
		t.Fatal(err)
	}
	if waited := time.Since(sent); waited < lost+20*time.Millisecond {
		t.Errorf("it came after %s, before its sender could know that it was lost", waited)
	}
}

func TestTheTargetGetsTheTapThatTheSourceDoesNotHave(t *testing.T) {
	b := &bridge{[]string{"tap0", "tap1"}}
	first := b.netdev("")
	second := b.netdev(first)
	if first == second || b.netdev(second) != first {
		t.Errorf("the taps are %s and %s", first, second)
	}
	if b.netdev(first) != second {
		t.Error("after a failed move the next target gets no tap that is free")
	}
}
