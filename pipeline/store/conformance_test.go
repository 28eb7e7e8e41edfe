package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/store/storetest"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

func TestDirConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "a", "store"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestS3Conformance(t *testing.T) {
	t.Parallel()
	server := s3server.Start(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return openS3(t, server, server.Endpoint, store.Options{})
	})
}

// openS3 opens a place of its own in the bucket. Waits are short, so that a test
// of faults takes seconds.
func openS3(t *testing.T, server *s3server.Server, endpoint string, o store.Options) store.Store {
	t.Helper()
	o.Environment = server.Environment
	o.PartSize = 5 << 20
	o.Backoff = 5 * time.Millisecond
	s, err := store.Open(t.Context(), server.Spec(endpoint, prefixOf(t)), o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

// prefixOf is a prefix that no other test has.
func prefixOf(t *testing.T) string {
	return "t/" + filepath.Base(t.TempDir()) + "-" + filepath.Base(filepath.Dir(t.TempDir()))
}
