package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Look asks the other server, as whoever moves the databases, how those stand that
// were moved there, and changes nothing. It reads every row of them. The server on
// the files is not started.
func Look(ctx context.Context, order handoff.Transfer, o Options) (_ handoff.TransferStanding, err error) {
	out := handoff.TransferStanding{
		Version: 1, Workload: order.Workload, Source: order.Source, Server: net.JoinHostPort(order.Host, strconv.Itoa(int(order.Port))),
		Databases: []handoff.DatabaseStanding{},
	}
	dir, err := os.MkdirTemp(o.Scratch, "transfer-")
	if err != nil {
		return out, fmt.Errorf("a place for credentials: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m, err := newEngine(order, dir, o)
	if err != nil {
		return out, err
	}
	if _, err := m.command(); err != nil { // for its files with credentials
		return out, err
	}
	if out.To, err = m.version(ctx, beyond); err != nil {
		return out, err
	}
	if out.TLS, err = encryption(ctx, m, order); err != nil {
		return out, err
	}
	noted, err := m.noted(ctx)
	if err != nil {
		return out, err
	}
	all, err := m.databases(ctx, beyond)
	if err != nil {
		return out, err
	}
	for _, name := range noted {
		if isAccount(name) {
			continue
		}
		d, err := lookAt(ctx, m, name, slices.Contains(all, name))
		if err != nil {
			return out, fmt.Errorf("database %s: %w", name, err)
		}
		out.Databases = append(out.Databases, d)
	}
	for _, name := range all {
		if !slices.Contains(noted, name) {
			out.Others = append(out.Others, name)
		}
	}
	return out, nil
}

// lookAt compares a database with what was noted when it was moved.
func lookAt(ctx context.Context, m engine, name string, there bool) (handoff.DatabaseStanding, error) {
	k, err := m.mark(ctx, name)
	if err != nil {
		return handoff.DatabaseStanding{}, err
	}
	out := handoff.DatabaseStanding{Name: name, Source: k.source, Moved: k.state == done, There: there}
	if !there {
		out.Written = out.Moved
		return out, nil
	}
	p, sum, err := stateBeyond(ctx, m, name)
	if err != nil {
		return out, err
	}
	out.Tables, out.Written = p.tables, k.sum != "" && sum != k.sum
	return out, nil
}
