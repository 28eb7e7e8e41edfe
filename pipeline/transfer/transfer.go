package transfer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Options say how.
type Options struct {
	// Password is that of the administrator of the other server.
	Password string
	// CA is a file with the certificates (PEM) by which the other server is known,
	// for [handoff.TLSVerify].
	CA string
	// Scratch is a directory for sockets and credentials; "" is that of the system.
	Scratch string
	Log     *slog.Logger
}

// notes is the name of the database in the other server that says what was begun
// and what is done there.
const notes = "statelift"

// engine is what the kinds of servers do differently. Its methods are called in
// the order of the interface.
type engine interface {
	// command is that of the server on the files, with what it needs in its
	// private directory.
	command() ([]string, error)
	// ends is the signal by which that server ends in good order.
	ends() syscall.Signal
	// answers asks the server on the files.
	answers(ctx context.Context) error
	version(ctx context.Context, s side) (string, error)
	// encryption is the protocol by which the other server is reached, "" for none.
	encryption(ctx context.Context) (string, error)
	databases(ctx context.Context, s side) ([]string, error)
	// makeNotes makes the place of the marks, when there is none.
	makeNotes(ctx context.Context) error
	mark(ctx context.Context, item string) (mark, error)
	// noted are the items with a mark.
	noted(ctx context.Context) ([]string, error)
	setMark(ctx context.Context, item string, m mark) error
	// moveAccounts brings users and roles with their grants. One that is there and
	// differs is a *pipeline.Blocked, unless it is as an earlier run made it, see
	// [accountItem].
	moveAccounts(ctx context.Context) (names []string, err error)
	// standing tells how a database of the other server is.
	standing(ctx context.Context, database string) (standing, error)
	drop(ctx context.Context, database string) error
	restore(ctx context.Context, database string, there bool) (sum string, size int64, err error)
	// proof reads a database on one side.
	proof(ctx context.Context, s side, database string) (proof, error)
	// finish brings what must not run before the comparison: events.
	finish(ctx context.Context, database string) error
	// definitions are the text of all that a database has but rows.
	definitions(ctx context.Context, s side, database string) (string, error)
	compareAccounts(ctx context.Context) (differences []string, err error)
	// notes are what is not moved, and why.
	notes() []string
	// close undoes what was made in the server on the files.
	close(ctx context.Context) error
}

type side int

const (
	files  side = iota // the server on the files
	beyond             // the other server
)

// standing is how a database is before anything is restored into it.
type standing int

const (
	absent standing = iota
	empty
	occupied
)

// proof is what is compared of a database.
type proof struct {
	tables    []handoff.TableProof
	sequences []string
	// rounded are sums, by table, in which numbers count as the dump writes them.
	rounded map[string]string
}

// mark is what a run noted about a database, or about an account.
type mark struct {
	state  string // "", begun, differs, done
	source string
	// sum is over what the other server had when both were compared, see
	// [stateSum]. With begun, it is of an earlier restore that may be there still;
	// "" says that what is there is of this run alone.
	sum string
}

const (
	begun   = "begun"
	differs = "differs" // restored as a whole, and not the same
	done    = "done"    // restored and proved
)

// accountPrefix begins the items of the marks for accounts; no database has such a
// name.
const accountPrefix = "\x01"

// accountItem is the item for an account or a role, short enough for any name. Its
// mark has the sum of what was made; without a sum, that is not finished.
func accountItem(name string) string { return accountPrefix + sumOf(name)[:40] }

func isAccount(item string) bool { return strings.HasPrefix(item, accountPrefix) }

// foreignAccount is for an account that this lift has not made, or that others have
// changed.
func foreignAccount(host, what string) error {
	return &pipeline.Blocked{Question: fmt.Sprintf(
		"the server at %s has %s already, and it is another one, or changed since a run made it. Choose: give it there the password and the rights that it has on the host, drop or rename it there, or name another server in statelift.yaml", host, what)}
}

// Run moves everything that the order names. What cannot be restored without
// overwriting something is a *pipeline.Blocked; differences are in the receipt,
// which is not proved then.
func Run(ctx context.Context, order handoff.Transfer, o Options) (_ handoff.TransferReceipt, err error) {
	dir, err := os.MkdirTemp(o.Scratch, "transfer-")
	if err != nil {
		return handoff.TransferReceipt{}, fmt.Errorf("a place for the socket: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := &mover{order: order, log: o.Log}
	if m.engine, err = newEngine(order, dir, o); err != nil {
		return handoff.TransferReceipt{}, err
	}
	argv, err := m.command()
	if err != nil {
		return handoff.TransferReceipt{}, err
	}
	srv, err := startServer(argv, dir, m.ends())
	if err != nil {
		return handoff.TransferReceipt{}, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	if err := srv.await(ctx, m.answers); err != nil {
		return handoff.TransferReceipt{}, err
	}
	defer func() { err = errors.Join(err, m.close(context.WithoutCancel(ctx))) }()
	return m.move(ctx)
}

// encryption asks the other server how it is reached; where that must be encrypted,
// and old client programs took it for a wish, it is an error when it is not.
func encryption(ctx context.Context, m engine, order handoff.Transfer) (string, error) {
	protocol, err := m.encryption(ctx)
	if err == nil && protocol == "" && (order.TLS == handoff.TLSRequire || order.TLS == handoff.TLSVerify) {
		err = fmt.Errorf("the server at %s says that the connection is not encrypted, and tls: %s wants it", order.Host, order.TLS)
	}
	return protocol, err
}

func newEngine(order handoff.Transfer, dir string, o Options) (engine, error) {
	switch order.Engine {
	case "mariadb":
		return newMariaDB(order, dir, o), nil
	case "postgresql":
		return newPostgres(order, dir, o), nil
	}
	return nil, fmt.Errorf("there is no way to move a database of %q", order.Engine)
}

type mover struct {
	engine
	order   handoff.Transfer
	log     *slog.Logger
	receipt handoff.TransferReceipt
}

func (m *mover) move(ctx context.Context) (handoff.TransferReceipt, error) {
	m.receipt = handoff.TransferReceipt{
		Version: 1, Workload: m.order.Workload, Source: m.order.Source, Engine: m.order.Engine,
		Server:    net.JoinHostPort(m.order.Host, strconv.Itoa(int(m.order.Port))),
		Databases: []handoff.DatabaseProof{}, Accounts: []string{}, Differences: []string{},
	}
	var err error
	if m.receipt.From, err = m.version(ctx, files); err != nil {
		return m.receipt, err
	}
	if m.receipt.To, err = m.version(ctx, beyond); err != nil {
		return m.receipt, err
	}
	if m.receipt.TLS, err = encryption(ctx, m.engine, m.order); err != nil {
		return m.receipt, err
	}
	list, err := m.wanted(ctx)
	if err != nil {
		return m.receipt, err
	}
	m.log.Info("the server on the files answers", "version", m.receipt.From, "other", m.receipt.To, "databases", len(list))
	if err := m.mayRestore(ctx, list); err != nil {
		return m.receipt, err
	}
	if err := m.makeNotes(ctx); err != nil {
		return m.receipt, err
	}
	if m.receipt.Accounts, err = m.moveAccounts(ctx); err != nil {
		return m.receipt, err
	}
	for _, database := range list {
		p, err := m.database(ctx, database)
		if err != nil {
			return m.receipt, fmt.Errorf("database %s: %w", database, err)
		}
		m.receipt.Databases = append(m.receipt.Databases, p)
	}
	differences, err := m.compareAccounts(ctx)
	if err != nil {
		return m.receipt, err
	}
	m.receipt.Differences = append(m.receipt.Differences, differences...)
	m.receipt.Notes = m.notes()
	m.receipt.Proved = len(m.receipt.Differences) == 0
	return m.receipt, nil
}

// wanted are the databases that move.
func (m *mover) wanted(ctx context.Context) ([]string, error) {
	list, err := m.databases(ctx, files)
	if err != nil || len(m.order.Databases) == 0 {
		return list, err
	}
	for _, name := range m.order.Databases {
		if !slices.Contains(list, name) {
			return nil, &pipeline.InputError{What: "databases", Err: fmt.Errorf("the server of %s has no database %s (it has %s)", m.order.Workload, name, strings.Join(list, ", "))}
		}
	}
	return m.order.Databases, nil
}

// mayRestore looks at all databases before anything is written.
func (m *mover) mayRestore(ctx context.Context, list []string) error {
	var faults []string
	for _, database := range list {
		_, why, err := m.way(ctx, database)
		if err != nil {
			return fmt.Errorf("database %s: %w", database, err)
		}
		if why != "" {
			faults = append(faults, why)
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return &pipeline.Blocked{Question: fmt.Sprintf(
		"%s at %s is not overwritten:\n  %s\nChoose: empty or drop what is there by its own tools, name another server or other databases in statelift.yaml, or keep the database in the cluster",
		m.order.Engine, m.receipt.Server, strings.Join(faults, "\n  "))}
}

// way is what has to be done for a database.
type way int

const (
	restoreIt way = iota // into what is absent or empty
	redo                 // after what an earlier run left is dropped
	compare              // it is restored already
)

// way decides, or says why nothing may be done.
func (m *mover) way(ctx context.Context, database string) (way, string, error) {
	st, err := m.standing(ctx, database)
	if err != nil {
		return 0, "", err
	}
	noted, err := m.mark(ctx, database)
	if err != nil {
		return 0, "", err
	}
	switch {
	case st != occupied && noted.state != done:
		return restoreIt, "", nil
	case st == absent, st == empty && noted.state == done && noted.source != m.order.Source:
		return restoreIt, "", nil
	case noted.state == begun && noted.sum == "":
		return redo, "", nil
	case noted.state == done && noted.source == m.order.Source:
		return compare, "", nil
	case noted.state != "":
		_, sum, err := stateBeyond(ctx, m.engine, database)
		if err != nil {
			return 0, "", err
		}
		if sum != noted.sum {
			return 0, fmt.Sprintf("database %s was restored by an earlier run, and somebody has written to it since", database), nil
		}
		return redo, "", nil
	}
	return 0, fmt.Sprintf("database %s holds something already", database), nil
}

// database moves one, and compares.
func (m *mover) database(ctx context.Context, database string) (handoff.DatabaseProof, error) {
	out := handoff.DatabaseProof{Name: database}
	do, why, err := m.way(ctx, database)
	if err == nil && why != "" {
		err = errors.New(why)
	}
	if err != nil {
		return out, err
	}
	if do != compare {
		if out.Dump, out.DumpBytes, err = m.bring(ctx, database, do); err != nil {
			return out, err
		}
	}
	here, err := m.proof(ctx, files, database)
	if err != nil {
		return out, err
	}
	there, err := m.proof(ctx, beyond, database)
	if err != nil {
		return out, err
	}
	differences := here.differences(there)
	if do != compare {
		if err := m.finish(ctx, database); err != nil {
			return out, err
		}
	}
	text, err := m.definitions(ctx, files, database)
	if err != nil {
		return out, err
	}
	other, err := m.definitions(ctx, beyond, database)
	if err != nil {
		return out, err
	}
	if d := firstDifference(text, other); d != "" {
		differences = append(differences, d)
	}
	out.Tables, out.Sequences, out.Schema = here.tables, here.sequences, sumOf(text)
	for _, d := range differences {
		m.receipt.Differences = append(m.receipt.Differences, database+": "+d)
	}
	m.log.Info("database is compared", "database", database, "tables", len(here.tables), "rows", here.rows(), "differences", len(differences))
	now := mark{state: done, source: m.order.Source, sum: stateSum(there, other)}
	if len(differences) > 0 {
		if do == compare {
			return out, nil // the mark is of what was proved, and not of what others made of it
		}
		now.state = differs
	}
	return out, m.setMark(ctx, database, now)
}

// bring dumps and restores.
func (m *mover) bring(ctx context.Context, database string, do way) (sum string, size int64, err error) {
	if do == redo {
		if err := m.clear(ctx, database); err != nil {
			return "", 0, err
		}
	}
	if err := m.setMark(ctx, database, mark{state: begun, source: m.order.Source}); err != nil {
		return "", 0, err
	}
	st, err := m.standing(ctx, database)
	if err != nil {
		return "", 0, err
	}
	sum, size, err = m.restore(ctx, database, st == empty)
	if err == nil {
		m.log.Info("database is restored", "database", database, "bytes", size)
	}
	return sum, size, err
}

// clear drops what an earlier run restored. Until that is gone the mark keeps its
// sum: after a stop, what others write meanwhile is seen.
func (m *mover) clear(ctx context.Context, database string) error {
	noted, err := m.mark(ctx, database)
	if err != nil {
		return err
	}
	if err := m.setMark(ctx, database, mark{state: begun, source: m.order.Source, sum: noted.sum}); err != nil {
		return err
	}
	m.log.Info("what an earlier run restored is dropped", "database", database)
	return m.drop(ctx, database)
}

// stateBeyond reads a database of the other server, and sums all of it.
func stateBeyond(ctx context.Context, m engine, database string) (p proof, sum string, err error) {
	if p, err = m.proof(ctx, beyond, database); err != nil {
		return p, "", err
	}
	text, err := m.definitions(ctx, beyond, database)
	return p, stateSum(p, text), err
}

// stateSum is over rows, sequences and definitions: a view that others made is
// theirs as much as a row.
func stateSum(p proof, definitions string) string { return sumOf(p.digest() + sumOf(definitions)) }
