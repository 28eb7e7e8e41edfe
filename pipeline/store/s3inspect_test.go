package store_test

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// core asks the server itself, past proxy and store.
func core(t *testing.T, e *bed) *minio.Core {
	t.Helper()
	u, err := url.Parse(e.server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c, err := minio.NewCore(u.Host, &minio.Options{Creds: credentials.NewStaticV4(e.server.Access, e.server.Secret, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func uploads(t *testing.T, e *bed, name string) (ids []string) {
	t.Helper()
	page, err := core(t, e).ListMultipartUploads(t.Context(), e.server.Bucket, e.prefix+"/"+name, "", "", "", 1000)
	if err != nil {
		t.Fatalf("list uploads: %v", err)
	}
	for _, u := range page.Uploads {
		ids = append(ids, u.UploadID)
	}
	return ids
}

// listParts are the numbers of the parts that the server has of the only
// unfinished upload.
func listParts(t *testing.T, e *bed, name string) map[string]bool {
	t.Helper()
	ids := uploads(t, e, name)
	if len(ids) != 1 {
		t.Fatalf("%d unfinished uploads, want 1", len(ids))
	}
	parts, err := core(t, e).ListObjectParts(t.Context(), e.server.Bucket, e.prefix+"/"+name, ids[0], 0, 1000)
	if err != nil {
		t.Fatalf("list parts: %v", err)
	}
	numbers := map[string]bool{}
	for _, p := range parts.ObjectParts {
		numbers[strconv.Itoa(p.PartNumber)] = true
	}
	return numbers
}

// noUploads checks that nothing unfinished is left for somebody to pay.
func noUploads(t *testing.T, e *bed, name string) {
	t.Helper()
	if ids := uploads(t, e, name); len(ids) != 0 {
		t.Errorf("%d unfinished uploads of %s are left", len(ids), name)
	}
}
