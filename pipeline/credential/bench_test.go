package credential_test

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/credential"
)

// BenchmarkScan searches code and configuration as a host has them.
func BenchmarkScan(b *testing.B) {
	for _, bb := range []struct{ file, line string }{
		{"x.php", "\t\t$result = apply_filters( 'the_author', $this->get_author_key( $post, 'display' ) ); // see https://example.org/a\n"},
		{"x.js", strings.Repeat(`function(e,t){return e.key===t.key&&e.pass(t,"author")},`, 200) + "\n"},
		{"x.conf", "  ServerName www.example.org # the server that users see\n"},
		{"x.env", "DB_PASSWORD=hunter2\nexport TOKEN_FILE=/etc/token\n"},
	} {
		text := strings.Repeat(bb.line, 1<<20/len(bb.line))
		b.Run(bb.file, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				for range credential.ScanFile(bb.file, strings.NewReader(text), 1<<21) {
				}
			}
		})
	}
}
