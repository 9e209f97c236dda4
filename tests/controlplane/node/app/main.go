// Command app is the only program in the images of the test node. Its first argument selects the mode:
//
//	app                    waits for SIGTERM, so it is also the program of the pause image
//	app serve ADDR         answers GET /?p=PATH,… with the content of these files, until SIGTERM
//	app stubborn ADDR      the same, but ignores SIGTERM: only SIGKILL ends it
//	app once               ends at once
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	mode := "pause"
	if len(os.Args) > 1 {
		mode = os.Args[1]
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	switch mode {
	case "once":
		return
	case "serve", "stubborn":
		go serve(os.Args[2])
	}
	for s := range signals {
		if s == syscall.SIGCHLD {
			reap()
		} else if mode != "stubborn" {
			return
		}
	}
}

func serve(address string) {
	err := http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, path := range strings.Split(r.URL.Query().Get("p"), ",") {
			if path == "" {
				continue
			}
			content, err := os.ReadFile(path)
			if err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
				return
			}
			fmt.Fprintf(w, "%s", content)
		}
	}))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// reap collects exited child processes. The first process of a pod inherits the children of other ended processes.
func reap() {
	for {
		if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
			return
		}
	}
}
