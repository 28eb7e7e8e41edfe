package datastore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/rootfs"
)

// TestJudgeBackup judges copies by what the tools left in them; those of real servers
// are judged in packages hotbackup and main.
func TestJudgeBackup(t *testing.T) {
	control := make([]byte, controlSize)
	const label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\n"
	for _, tt := range []struct {
		name   string
		engine Engine
		files  map[string]string
		want   State
		why    string
	}{
		{"prepared", InnoDB, map[string]string{"xtrabackup_checkpoints": "backup_type = full-prepared\nlast_lsn = 42\n", "ib_logfile0": ""}, Clean, "prepared up to 42"},
		{"prepared, of MariaDB 11", InnoDB, map[string]string{"mariadb_backup_checkpoints": "backup_type = full-prepared\n"}, Clean, "prepared"},
		{"prepared, with a log", InnoDB, map[string]string{"xtrabackup_checkpoints": "backup_type = log-applied\n", "ib_logfile0": string(redo108(nil))}, Clean, "prepared"},
		{"prepared, and written to", InnoDB, map[string]string{"xtrabackup_checkpoints": "backup_type = full-prepared\n", "ib_logfile0": string(redo108(mini([]byte{0x33, 1, 2, 3})))}, Unclean, "changes come behind"},
		{"not prepared", InnoDB, map[string]string{"xtrabackup_checkpoints": "backup_type = full-backuped\n"}, Unclean, "not prepared"},
		{"of no tool", InnoDB, map[string]string{"ib_logfile0": string(redo108(nil))}, Unknown, "no file"},
		{"huge", InnoDB, map[string]string{"xtrabackup_checkpoints": strings.Repeat("x", maxLabel+1)}, Unknown, "longer"},
		{"a broken control file", PostgreSQL, map[string]string{"global/pg_control": string(control), "backup_label": label, "pg_wal/000000010000000000000002": ""}, Unknown, "not known"},
		{"no cluster", PostgreSQL, map[string]string{"backup_label": label}, Unknown, "no file"},
		{"a snapshot", Redis, map[string]string{"dump.rdb": "REDIS0003\xff"}, Clean, "whole snapshot"},
		{"a cut one", Redis, map[string]string{"dump.rdb": "REDIS0003"}, Unclean, "cut off"},
	} {
		dir := t.TempDir()
		for name, content := range tt.files {
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		root, err := rootfs.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		v, err := JudgeBackup(t.Context(), root, tt.engine, "/")
		root.Close()
		if err != nil || v.State != tt.want || !strings.Contains(v.Text(), tt.why) {
			t.Errorf("%s: %s %v, want %s with %q", tt.name, v.Text(), err, tt.want, tt.why)
		}
	}
}
