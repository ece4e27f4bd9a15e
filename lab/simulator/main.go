// Command simulator is the lab's simulated vCenters: govmomi's simulator, made to behave like a vCenter where that matters.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	path := flag.String("config", "", "configuration file (JSON)")
	flag.Parse()
	if err := run(*path); err != nil {
		log.Fatal(err)
	}
}

func run(path string) error {
	config, err := readConfig(path)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	peers, err := buildAll(config)
	if err != nil {
		return err
	}
	for _, vcenter := range peers.all {
		defer vcenter.guests.kill()
		if err := vcenter.guests.start(); err != nil {
			return err
		}
	}
	if err := peers.listen(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listenAddress(config.Control.Listen))
	if err != nil {
		return err
	}
	for _, vcenter := range peers.all {
		defer vcenter.server.Close()
		for _, drs := range vcenter.drs {
			go drs.run(ctx)
		}
	}
	go serveControl(listener, controlHandler(peers, stop))
	if err := announce(config, peers, listener.Addr().String()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func listenAddress(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

// announce writes ready.json in one step: a reader never sees half of it.
func announce(config *Config, peers *peers, control string) error {
	first, err := peers.all[0].address(true)
	if err != nil {
		return err
	}
	others := map[string]any{}
	for _, each := range peers.all[1:] {
		address, err := each.address(false)
		if err != nil {
			return err
		}
		address["operator"], address["restricted"] = login(each.config.Operator), login(each.config.Restricted)
		others[each.config.VCenter.Name] = address
	}
	data, err := json.Marshal(map[string]any{
		"vcenter":    first,
		"restricted": login(config.Restricted),
		"operator":   login(config.Operator),
		"guest":      login(config.GuestLogin),
		"vcenters":   others,
		"control":    "http://" + control,
		"pid":        os.Getpid(),
	})
	if err != nil {
		return err
	}
	ready := filepath.Join(config.StateDir, "ready.json")
	if err := os.WriteFile(ready+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(ready+".new", ready)
}

func login(of Login) map[string]string {
	return map[string]string{"user": of.User, "password": of.Password}
}
