package store

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSpec(t *testing.T) {
	for spec, want := range map[string]Spec{
		"/var/store":        {Dir: "/var/store"},
		"./store/../other/": {Dir: "other"},
		"with space":        {Dir: "with space"},
		"file:///var/a%20b": {Dir: "/var/a b"},
		"s3://legacy":       {Bucket: "legacy"},
		"s3://legacy/":      {Bucket: "legacy"},
		"s3://legacy/a/b/":  {Bucket: "legacy", Prefix: "a/b/"},
		"s3://my.bucket-1/p%20q?region=eu-central-1":                    {Bucket: "my.bucket-1", Prefix: "p q/", Region: "eu-central-1"},
		"s3://legacy/x?endpoint=http://127.0.0.1:7070&region=us-east-1": {Bucket: "legacy", Prefix: "x/", Endpoint: "http://127.0.0.1:7070", Region: "us-east-1"},
		"s3://legacy?endpoint=https%3A%2F%2Fs3.example%3A9000%2F":       {Bucket: "legacy", Endpoint: "https://s3.example:9000"},
		"s3://legacy?endpoint=http://[::1]:7070":                        {Bucket: "legacy", Endpoint: "http://[::1]:7070"},
	} {
		got, err := ParseSpec(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec, diff)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"":                                           "empty",
		"a\x00b":                                     "NUL",
		"gs://bucket/x":                              `"gs" is no kind of store`,
		"http://user:hunter2@host/x":                 "credentials",
		"s3://AKIA:hunter2@bucket/x":                 "credentials",
		"s3://AKIA@bucket/x":                         "credentials",
		"s3://":                                      "no name of a bucket",
		"s3://ab":                                    "no name of a bucket",
		"s3://Bucket":                                "no name of a bucket",
		"s3://a..b":                                  "no name of a bucket",
		"s3://bucket:80/x":                           "no name of a bucket",
		"s3://bucket/a//b":                           "prefix",
		"s3://bucket/../b":                           "prefix",
		"s3://bucket/.statelift":                     "reserved",
		"s3://bucket/%ff":                            "prefix",
		"s3://bucket/x#y":                            "%23",
		"s3://bucket/%zz:hunter2":                    "no URL",
		"s3://bucket?endpoint=":                      "needs one value",
		"s3://bucket?region=a&region=b":              "needs one value",
		"s3://bucket?secret=hunter2":                 `"secret" is unknown`,
		"s3://bucket?region=eu%20west":               "no region",
		"s3://bucket?endpoint=ftp://x":               "endpoint",
		"s3://bucket?endpoint=host:80":               "endpoint",
		"s3://bucket?endpoint=http://h/p":            "nothing can follow",
		"s3://bucket?endpoint=http://h%3Fq":          "endpoint",
		"s3://bucket?endpoint=http://u:hunter2@host": "credentials",
		"file://host/x":                              "file:///",
		"file:///x?y=z":                              "file:///",
		"file:///a%00b":                              "NUL",
	} {
		s, err := ParseSpec(spec)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", spec, s, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error repeats the password: %v", spec, err)
		}
	}
}

// What is accepted holds no credentials, and its String says the same again.
func FuzzParseSpec(f *testing.F) {
	for _, spec := range []string{
		"/a", "file:///a", "s3://legacy/a/b?endpoint=http://127.0.0.1:7070&region=us-east-1", "s3://u:p@bucket",
		"s3://bucket/%20?endpoint=https://[::1]:1", "s3://bucket?endpoint=http://a%2526b", "s3://b.c/ü%2F",
	} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseSpec(spec)
		if err != nil {
			return
		}
		if (s.Dir == "") == (s.Bucket == "") {
			t.Fatalf("%q is neither a directory nor a bucket: %+v", spec, s)
		}
		if s.Dir == "" && strings.Contains(s.String(), "@") && !strings.Contains(s.Prefix, "@") {
			t.Fatalf("%q: there may be credentials in %s", spec, s)
		}
		if strings.Contains(s.Dir, "://") {
			return // a directory of such a name is a URL the second time
		}
		again, err := ParseSpec(s.String())
		if err != nil {
			t.Fatalf("%q is read as %s, which is refused: %v", spec, s, err)
		}
		if again != s {
			t.Fatalf("%q is read as %+v, and that as %+v", spec, s, again)
		}
	})
}

// Every size that S3 takes fits into its number of parts.
func TestPartSize(t *testing.T) {
	s := &S3{o: Options{}.withDefaults()}
	const tib = 1 << 40
	for _, size := range []int64{0, 1, 16 << 20, 16<<20 + 1, 156 << 30, 157 << 30, tib, 5 * tib, 48 * tib} {
		p := s.partSize(size)
		if p < minPart || p > maxPart || (size+p-1)/p > maxParts {
			t.Errorf("%d bytes: parts of %d, so %d of them", size, p, (size+p-1)/p)
		}
	}
	if p := s.partSize(100 << 30); p != 16<<20 {
		t.Errorf("100 GiB: parts of %d, want the 16 MiB of the options", p)
	}
}
