// Command daemon is a service with state: it counts its starts in the file that
// its argument names, and waits to be ended.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	data, err := os.ReadFile(os.Args[1])
	n := 0
	if err == nil {
		n, err = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	if err == nil {
		err = os.WriteFile(os.Args[1], fmt.Appendln(nil, n+1), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "daemon:", err)
		os.Exit(1)
	}
	fmt.Println("start", n+1)
	<-ended
}
