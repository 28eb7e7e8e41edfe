package transfer_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// TestMariaDBLook: what was moved stands as it was moved, until somebody writes to
// it; nothing is started or changed for that.
func TestMariaDBLook(t *testing.T) {
	j := mariadbJob(t, "")
	j.looks(t, "wordpress", "wp_options", "SELECT COUNT(*) FROM wordpress.wp_options",
		"INSERT INTO wordpress.wp_options (option_name, option_value) VALUES ('written', 'outside')", "CREATE DATABASE theirs", "DROP DATABASE wordpress")
}

// TestPostgresLook is the same with PostgreSQL.
func TestPostgresLook(t *testing.T) {
	j := postgresJob(t, postgresBefore)
	j.looks(t, "docket", "public.journal", "SELECT count(*) FROM journal",
		"DELETE FROM journal WHERE ctid = (SELECT min(ctid) FROM journal)", "CREATE DATABASE theirs", "DROP DATABASE docket")
}

func (j *job) looks(t *testing.T, database, table, count, write, others, drop string) {
	t.Helper()
	if at := j.look(t); at.To == "" || len(at.Databases)+len(at.Others) > 0 {
		t.Errorf("before anything was moved: %+v", at)
	}
	receipt := j.want(t)
	at := j.look(t)
	if len(at.Databases) != len(receipt.Databases) || at.Databases[0].Written || !at.Databases[0].Moved || !at.Databases[0].There {
		t.Errorf("what was moved: %+v", at)
	}
	if list := at.Changes(receipt); len(list) > 0 {
		t.Errorf("nothing was written, and changed are %v", list)
	}
	before := j.server.SQL(t, database, count)
	j.server.SQL(t, database, write)
	j.server.SQL(t, "", others)
	at = j.look(t)
	if !at.Databases[0].Written || cmp.Diff([]string{"theirs"}, at.Others) != "" {
		t.Errorf("after somebody wrote: %+v", at)
	}
	list := at.Changes(receipt)
	if len(list) != 1 || string(list[0].Path) != "/"+database+"/"+table || list[0].What != "altered" {
		t.Errorf("changed are %v", list)
	} else if now := j.server.SQL(t, database, count); str(list[0].RowsBefore) != before || str(list[0].Rows) != now {
		t.Errorf("%+v: there were %s rows, and are %s", list[0], before, now)
	}
	j.server.SQL(t, "", drop)
	if at = j.look(t); !at.Databases[0].Written || at.Databases[0].There {
		t.Errorf("after it was dropped: %+v", at)
	}
}

func TestTransferChanges(t *testing.T) {
	table := func(name string, rows int64, sum string) handoff.TableProof {
		return handoff.TableProof{Name: name, Rows: rows, Sum: sum}
	}
	was := handoff.TransferReceipt{Databases: []handoff.DatabaseProof{{Name: "shop", Tables: []handoff.TableProof{
		table("goods", 7, "1"), table("same", 1, "1"), table("gone", 2, "1"), table("log", 3, "1"),
	}}}}
	now := handoff.TransferStanding{Databases: []handoff.DatabaseStanding{{Name: "shop", Tables: []handoff.TableProof{
		table("new", 4, "1"), table("log", 9, "2"), table("same", 1, "1"), table("goods", 7, "2"),
	}}}}
	want := []handoff.Change{
		{Path: "/shop/gone", What: "removed", Type: "table", RowsBefore: 2},
		{Path: "/shop/goods", What: "altered", Type: "table", Rows: 7, RowsBefore: 7},
		{Path: "/shop/log", What: "altered", Type: "table", Rows: 9, RowsBefore: 3},
		{Path: "/shop/new", What: "added", Type: "table", Rows: 4},
	}
	if diff := cmp.Diff(want, now.Changes(was)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
