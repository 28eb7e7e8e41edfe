package datastore_test

import (
	"path/filepath"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// TestBuiltHosts judges hosts that their builders shut down.
func TestBuiltHosts(t *testing.T) {
	for host, list := range map[string][]handoff.Database{
		hosts.WordPress(t): {{Engine: "innodb", Path: "/var/lib/mysql"}},
		hosts.Postgres(t):  {{Engine: "postgresql", Path: "/var/lib/postgresql/15/main"}, {Engine: "redis", Path: "/var/lib/redis"}},
	} {
		root, err := rootfs.Open(filepath.Join(host, "root"))
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if err := datastore.Look(t.Context(), root, list); err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if c := datastore.Check(d); !c.OK || c.Detail == "" {
				t.Errorf("%+v", c)
			}
		}
		if blocks := datastore.Blocks(list); len(blocks) > 0 {
			t.Errorf("%s", handoff.BlocksText(blocks))
		}
	}
}
