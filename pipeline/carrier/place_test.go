package carrier_test

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/carrier"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseSeed(t *testing.T) {
	for text, want := range map[string]carrier.Place{
		"registry:registry.example/lift/seeds":      {Kind: "registry", At: "registry.example/lift/seeds"},
		"registry:registry.example/seeds":           {Kind: "registry", At: "registry.example/seeds"},
		"registry:registry.example:5000/a/b/seeds":  {Kind: "registry", At: "registry.example:5000/a/b/seeds"},
		"registry:http://10.88.0.1:5000/lift/seeds": {Kind: "registry", At: "http://10.88.0.1:5000/lift/seeds"},
		"s3://lift": {Kind: "bucket", At: "s3://lift"},
		"s3://lift/a/b?endpoint=http://10.88.0.1:7070":               {Kind: "bucket", At: "s3://lift/a/b?endpoint=http://10.88.0.1:7070"},
		"s3://lift/a@b?endpoint=https://s3.example&region=us-east-1": {Kind: "bucket", At: "s3://lift/a@b?endpoint=https://s3.example&region=us-east-1"},
		"dir:seeds":      {Kind: "dir", At: "seeds"},
		"dir:/srv/a b@c": {Kind: "dir", At: "/srv/a b@c"},
	} {
		p, d, err := carrier.ParseSeed(text + "@" + someDigest)
		if err != nil || p != want || string(d) != someDigest || p.String() != text {
			t.Errorf("%s: %+v, %s, %v; as text %s", text, p, d, err, p)
		}
	}
	for _, text := range []string{
		"", "@" + someDigest, "dir:x", "dir:@" + someDigest, "dir:x@sha256:0123", "registry:registry.example/lift/seeds:tag",
		"registry:@" + someDigest, "registry:seeds@" + someDigest, "registry:registry.example/@" + someDigest, "registry:http:///seeds@" + someDigest,
		"registry:https://registry.example/seeds@" + someDigest, "registry:registry.example/UP@" + someDigest,
		"s3:lift@" + someDigest, "s3:///x@" + someDigest, "http://registry.example/seeds@" + someDigest, "registry.example/seeds@" + someDigest,
		"s3://key:hunter2@lift/x@" + someDigest, "registry:user:hunter2@registry.example/seeds@" + someDigest, "dir:a\x00b@" + someDigest,
	} {
		p, _, err := carrier.ParseSeed(text)
		if err == nil {
			t.Errorf("%q = %+v", text, p)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a password is in the error: %v", err)
		}
	}
}

// Whatever is taken is written and read again as the same.
func FuzzParseSeed(f *testing.F) {
	for _, text := range []string{
		"registry:registry.example:5000/lift/seeds", "registry:http://localhost/seeds", "s3://lift/x?endpoint=http://h:1&region=r", "dir:/a/../b", "dir:x@y", "registry:[::1]:5000/x/seeds",
	} {
		f.Add(text + "@" + someDigest)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, d, err := carrier.ParseSeed(text)
		if err != nil {
			return
		}
		if _, err := d.Hex(); err != nil {
			t.Fatal(err)
		}
		q, e, err := carrier.ParseSeed(p.String() + "@" + string(d))
		if err != nil || q != p || e != d {
			t.Fatalf("%q is %+v, which as %q is %+v, %v", text, p, p, q, err)
		}
	})
}
