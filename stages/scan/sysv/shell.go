package sysv

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// maxCalls bounds the commands that are kept of one script.
const maxCalls = 200

// shell is what following a script brought to light.
type shell struct {
	shellwords.Script
	reads []hostpath.Path
	calls [][]shellwords.Word // commands that start daemons, not yet expanded
}

// follow takes a script from top to bottom without running it.
func follow(r *rootfs.Root, p hostpath.Path, text string) *shell {
	sh := &shell{}
	sh.Vars = map[string]string{"0": string(p)}
	sh.Source = func(file string) (string, bool) {
		p := hostpath.Clean(file)
		// The libraries of functions say nothing about the service.
		if !strings.HasPrefix(file, "/") || p.Within("/lib") || p.Within("/usr/lib") || p.Base() == "functions" {
			return "", false
		}
		data, err := r.ReadFile(p, maxFile)
		if err != nil {
			return "", false
		}
		sh.reads = append(sh.reads, p)
		return string(data), true
	}
	sh.Command = func(words []shellwords.Word) {
		if isStarter(words[0].Text) && len(sh.calls) < maxCalls {
			sh.calls = append(sh.calls, words)
		}
	}
	sh.Run(text)
	return sh
}

func isStarter(name string) bool {
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "start-stop-daemon", "daemon", "start_daemon", "su", "runuser", "sudo", "daemonize":
		return true
	}
	return false
}
