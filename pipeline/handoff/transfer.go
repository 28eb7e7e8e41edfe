package handoff

import (
	"slices"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// External says that the data of a workload live in a server outside the cluster
// from now on: the workload gets a Service that leads there, and no Pods.
type External struct {
	Engine string `json:"engine"` // mariadb, postgresql
	Host   string `json:"host"`   // a DNS name or an address
	Port   int32  `json:"port"`
	// Databases are those that move; none is all.
	Databases []string `json:"databases,omitempty"`
	// User is an account there that may make databases and accounts. Its password
	// is in the variable PasswordEnv or the file PasswordFile of whoever runs
	// statelift.
	User         string `json:"user"`
	PasswordEnv  string `json:"passwordEnv,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	// TLS is how the transfer goes there: TLSDisable, TLSRequire, TLSVerify; "" is as
	// the engine's programs do by themselves. CAFile is a file, of whoever runs
	// statelift, with the certificates (PEM) by which TLSVerify knows the server.
	TLS    string `json:"tls,omitempty"`
	CAFile string `json:"caFile,omitempty"`
	// Accounts are those with which clients log in. Where the engine knows accounts
	// by their hosts, they are known from Network, too.
	Accounts []string `json:"accounts,omitempty"`
	Network  string   `json:"network,omitempty"`
	// Command starts the workload's own server on a socket only; {dir} in it is a
	// private directory.
	Command []string `json:"command"`
	Why     string   `json:"why"`
}

// How a transfer goes to a server outside.
const (
	TLSDisable = "disable" // not encrypted
	TLSRequire = "require" // encrypted, to whoever answers
	TLSVerify  = "verify"  // encrypted, to a server that proves its name
)

// Transfer tells a Job what to move from the files of a server into another
// server. It holds no credential.
type Transfer struct {
	Plan     string `json:"plan"`
	Workload string `json:"workload"`
	// Source says which state of the volumes is moved: the digests of what they
	// were filled from.
	Source string `json:"source"`
	External
}

// TransferReceipt is the proof that what a server's files held is in another
// server: each table with the count of its rows and a checksum that does not
// depend on their order, computed on both sides.
type TransferReceipt struct {
	Version  int    `json:"version"`
	Workload string `json:"workload"`
	Source   string `json:"source"`
	Engine   string `json:"engine"`
	Server   string `json:"server"` // HOST:PORT
	From     string `json:"from"`   // version of the server that wrote the files
	To       string `json:"to"`     // version of the other one
	// TLS is the protocol that the other server says the transfer came by, "" for
	// none.
	TLS       string          `json:"tls,omitempty"`
	Databases []DatabaseProof `json:"databases"`
	Accounts  []string        `json:"accounts"` // moved: users and roles, with their grants
	// Differences are what is not there as it was.
	Differences []string `json:"differences"`
	// Notes are what was not moved, and why.
	Notes  []string `json:"notes,omitempty"`
	Proved bool     `json:"proved"`
}

// DatabaseProof is one database as both servers have it.
type DatabaseProof struct {
	Name string `json:"name"`
	// Dump is the SHA-256 of the logical dump, "" when an earlier run restored it.
	Dump      string `json:"dump,omitempty"`
	DumpBytes int64  `json:"dumpBytes,omitempty"`
	// Schema is the SHA-256 over the definitions: tables, views, routines,
	// triggers, events, grants, charset and collation.
	Schema string       `json:"schema"`
	Tables []TableProof `json:"tables"`
	// Sequences are the counters, with where they stand.
	Sequences []string `json:"sequences,omitempty"`
}

// TransferStanding is how what was moved into another server stands there now.
type TransferStanding struct {
	Version   int                `json:"version"`
	Workload  string             `json:"workload"`
	Source    string             `json:"source"`        // what the question was called
	Server    string             `json:"server"`        // HOST:PORT
	To        string             `json:"to"`            // version of that server
	TLS       string             `json:"tls,omitempty"` // as that server says, "" for none
	Databases []DatabaseStanding `json:"databases"`
	// Others are the databases there that were not moved for this workload.
	Others []string `json:"others,omitempty"`
}

// DatabaseStanding is one database that was moved there, or begun to be.
type DatabaseStanding struct {
	Name   string `json:"name"`
	Source string `json:"source"` // the state of the volumes that it is from
	Moved  bool   `json:"moved"`  // as a whole, and proved
	There  bool   `json:"there"`
	// Written says that it is not what was moved any more.
	Written bool         `json:"written,omitempty"`
	Tables  []TableProof `json:"tables,omitempty"`
}

// Changes are the tables that are not as a receipt has them, as /DATABASE/TABLE.
func (s TransferStanding) Changes(since TransferReceipt) []Change {
	type key struct{ database, table string }
	was := map[key]TableProof{}
	for _, d := range since.Databases {
		for _, t := range d.Tables {
			was[key{d.Name, t.Name}] = t
		}
	}
	out := []Change{}
	note := func(k key, what string, before, now int64) {
		out = append(out, Change{Path: hostpath.Root.Join(k.database, k.table), What: what, Type: ChangedTable, Rows: now, RowsBefore: before})
	}
	for _, d := range s.Databases {
		for _, t := range d.Tables {
			k := key{d.Name, t.Name}
			before, known := was[k]
			delete(was, k)
			switch {
			case !known:
				note(k, "added", 0, t.Rows)
			case before.Rows != t.Rows || before.Sum != t.Sum:
				note(k, "altered", before.Rows, t.Rows)
			}
		}
	}
	for k, t := range was {
		note(k, "removed", t.Rows, 0)
	}
	slices.SortFunc(out, func(a, b Change) int { return hostpath.Compare(a.Path, b.Path) })
	return out
}

// ChangedTable is the type of a [Change] of a table.
const ChangedTable = "table"

// TableProof is one table.
type TableProof struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
	// Sum is the sum over all rows of the first 64 bits of a digest of the row.
	Sum string `json:"sum"`
}
