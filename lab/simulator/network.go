package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/containers/gvisor-tap-vsock/pkg/types"
	"github.com/containers/gvisor-tap-vsock/pkg/virtualnetwork"
	"golang.org/x/sys/unix"
)

const (
	subnet          = "10.99.0.0/24"
	gatewayAddress  = "10.99.0.1"
	gatewayMAC      = "5a:94:ef:e4:0c:dd"
	maxDialDuration = 20 * time.Second
)

// guestNetwork is what one QEMU VM is plugged into.
type guestNetwork interface {
	// netdev is what a new QEMU process is plugged into, beside one that has inUse.
	netdev(inUse string) string
	// lose begins or ends the time in which the VM stands still.
	lose(losing bool)
	// describe adds to the state of the VM.
	describe(state map[string]any)
}

// bridge is a bridge of the machine's kernel, with a tap for each of two QEMU processes. It needs no help to lose packets: what
// is sent to a VM that stands still waits at its tap, and is gone with the QEMU process there. A VM that continues at the
// same tap gets it.
type bridge struct{ taps []string }

func (b *bridge) netdev(inUse string) string {
	for _, tap := range b.taps {
		if device := "tap,id=net,script=no,downscript=no,ifname=" + tap; device != inUse {
			return device
		}
	}
	return ""
}

func (b *bridge) lose(bool) {}

func (b *bridge) describe(state map[string]any) { state["network"] = "bridge" }

// userSwitch is the network of one QEMU VM, without root: a switch that learns on which port a MAC address is, with a TCP/IP
// stack in this process, and forwards from the VM's address in the lab. As on a physical network, what is sent while the
// VM is on no port is lost, and its sender must send it again.
type userSwitch struct {
	network *virtualnetwork.VirtualNetwork
	inside  string // the VM's own address
	filters bool   // whether this process may drop packets of the controller

	mu     sync.Mutex
	losing bool
	socks  map[*net.TCPConn]struct{}
	heads  []*net.TCPListener
}

// newSwitch takes QEMU's connections from plugs, and forwards each port of address to the same port of the VM.
func newSwitch(plugs net.Listener, address string, spec *Live) (guestNetwork, error) {
	network, err := virtualnetwork.New(&types.Configuration{
		MTU: 1500, Subnet: subnet, GatewayIP: gatewayAddress, GatewayMacAddress: gatewayMAC,
		DHCPStaticLeases: map[string]string{spec.Inside: spec.MAC}, Protocol: types.QemuProtocol,
	})
	if err != nil {
		return nil, err
	}
	n := &userSwitch{network: network, inside: spec.Inside, losing: true, filters: true, socks: map[*net.TCPConn]struct{}{}}
	go n.plug(plugs)
	for _, port := range spec.Ports {
		head, err := listenPlainly(fmt.Sprintf("%s:%d", address, port))
		if err != nil {
			return nil, fmt.Errorf("%w; a real VM needs this port: stop the program that has it", err)
		}
		if errors.Is(drop(head, true), unix.EPERM) && n.filters {
			n.filters = false
			log.Print("packets to real VMs are lost behind the switch only: since Linux 6.18 a filter on TCP needs CAP_NET_ADMIN")
		}
		n.heads = append(n.heads, head)
		go n.accept(head, port)
	}
	return n, nil
}

// listenPlainly listens without multipath TCP, whose sockets take no filter.
func listenPlainly(address string) (*net.TCPListener, error) {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), "tcp4", address)
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

func (n *userSwitch) netdev(string) string {
	return "stream,id=net,server=off,addr.type=unix,addr.path=" + plugSocket
}

func (n *userSwitch) describe(state map[string]any) {
	state["network"], state["filters"] = "switch", n.filters
}

// plug connects QEMU processes to the switch.
func (n *userSwitch) plug(plugs net.Listener) {
	for {
		conn, err := plugs.Accept()
		if err != nil {
			return
		}
		go func() { _ = n.network.AcceptQemu(context.Background(), conn) }()
	}
}

// lose begins or ends the loss of packets in the controller's kernel: a connection waits until its sender sends again, and a
// new one is not accepted. Without filters only the packets behind the switch are lost, and this process sends them again.
func (n *userSwitch) lose(losing bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.losing = losing
	for _, head := range n.heads {
		_ = drop(head, losing)
	}
	for sock := range n.socks {
		_ = drop(sock, losing)
	}
}

// drop makes a socket lose every packet that arrives, or take them again. Before Linux 6.18 that needs no privilege.
func drop(socket syscall.Conn, losing bool) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if losing {
			nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
			program := &unix.SockFprog{Len: 1, Filter: &nothing[0]}
			failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program)
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if failed == unix.ENOENT { // it had none
			failed = nil
		}
	})
	if err != nil {
		return err
	}
	return failed
}

func (n *userSwitch) accept(head *net.TCPListener, port int) {
	for {
		client, err := head.AcceptTCP()
		if err != nil {
			return
		}
		n.mu.Lock()
		n.socks[client] = struct{}{}
		_ = drop(client, n.losing) // it inherited what the listener had
		n.mu.Unlock()
		go n.forward(client, port)
	}
}

// forward carries one connection to the VM. What ends it there ends it here the same way.
func (n *userSwitch) forward(client *net.TCPConn, port int) {
	defer func() {
		n.mu.Lock()
		delete(n.socks, client)
		n.mu.Unlock()
		client.Close()
	}()
	ctx, stop := context.WithTimeout(context.Background(), maxDialDuration)
	defer stop()
	server, err := n.network.DialContextTCP(ctx, fmt.Sprintf("%s:%d", n.inside, port))
	if err != nil {
		_ = client.SetLinger(0) // refused: the client sees a reset
		return
	}
	defer server.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := io.Copy(server, client); err != nil {
			server.Close()
			return
		}
		if half, ok := server.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	if _, err := io.Copy(client, server); err != nil {
		_ = client.SetLinger(0)
		return
	}
	_ = client.CloseWrite()
	<-sent
}
