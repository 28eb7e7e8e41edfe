package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/stages"
)

// patience is how far sides are talked to. It is no part of the request: it
// decides about no result.
type patience struct {
	stall    time.Duration
	attempts int
}

func (p *patience) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.DurationVar(&p.stall, "stall", 0, "how long a store or registry may say nothing before a request has failed (default 2m0s)")
	f.IntVar(&p.attempts, "attempts", 0, "how often one request is tried before its fault is final (default 8 at a store, 6 at a registry)")
}

func (p patience) check() error {
	if p.stall < 0 || p.attempts < 0 {
		return errUsage{fmt.Errorf("--stall %s and --attempts %d: neither can be negative", p.stall, p.attempts)}
	}
	return nil
}

func (p patience) give(d *stages.Deps) {
	d.Stall, d.Attempts = p.stall, p.attempts
}

// checkFar refuses, before any work, far sides that are none. Its errors hold no
// credentials, also not those that somebody put into a URL.
func checkFar(r request) error {
	if r.Store != "" {
		if _, err := store.ParseSpec(r.Store); err != nil {
			return errUsage{fmt.Errorf("--store: %w", err)}
		}
	}
	if r.Registry != "" {
		if _, err := registry.Open(r.Registry, registry.Options{}); err != nil {
			return errUsage{fmt.Errorf("--registry: %w", err)}
		}
	}
	return nil
}
