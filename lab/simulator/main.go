// Command simulator is the lab's simulated vCenter: govmomi's simulator, made to behave like a vCenter where that matters.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
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
	vcenter, err := build(config)
	if err != nil {
		return err
	}
	defer vcenter.guests.kill()
	if err := vcenter.guests.start(); err != nil {
		return err
	}
	caFile := filepath.Join(config.StateDir, "ca.pem")
	server, err := vcenter.listen(caFile)
	if err != nil {
		return err
	}
	defer server.Close()
	listener, err := net.Listen("tcp", listenAddress(config.Control.Listen))
	if err != nil {
		return err
	}
	for _, drs := range vcenter.drs {
		go drs.run(ctx)
	}
	go serveControl(listener, (&control{vcenter: vcenter, stop: stop}).handler())
	if err := announce(config, server.URL, listener.Addr().String(), caFile); err != nil {
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
func announce(config *Config, vcenter *url.URL, control, caFile string) error {
	port, err := strconv.Atoi(vcenter.Port())
	if err != nil {
		return err
	}
	data, err := json.Marshal(map[string]any{
		"vcenter": map[string]any{
			"host": vcenter.Hostname(), "port": port, "user": config.VCenter.User,
			"password": config.VCenter.Password, "ca_file": caFile,
		},
		"restricted": map[string]string{"user": config.Restricted.User, "password": config.Restricted.Password},
		"operator":   map[string]string{"user": config.Operator.User, "password": config.Operator.Password},
		"guest":      map[string]string{"user": config.GuestLogin.User, "password": config.GuestLogin.Password},
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
