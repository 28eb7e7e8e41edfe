package seed

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/tree"
)

// Whatever a line of the map says, reading it ends with an error or with a unit
// that fits its records.
func FuzzUnit(f *testing.F) {
	const listing = "d\t0755\t0\t0\t0\t0\t-\t-\t-\t-\t/\n" +
		"f\t0644\t0\t0\t3\t0\t-\t-\t-\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\t/a\n" +
		"f\t0644\t0\t0\t3\t0\t-\t/a\t-\tba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\t/b\n"
	part := Part{Digest: oci.Digest("sha256:" + oci.Sum([]byte("abc"))), Size: 3, Raw: 3}
	for _, u := range []Unit{
		{Records: 3, Large: []Large{{At: 1, Parts: []Part{part}}}},
		{Records: 2, Large: []Large{{At: 1, Parts: []Part{{Raw: 3}}}}, Sparse: []int{1}},
		{Records: 1, Pack: &Packed{Digest: part.Digest, Size: 3, Raw: 3}},
		{Records: 3, Sparse: []int{2}},
	} {
		text, err := json.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, line string) {
		u, err := fill([]byte(line), tree.NewReader(strings.NewReader(listing)))
		if err != nil {
			return
		}
		for i := range u.Records {
			own := u.Records[i].Type == tree.Regular && u.Records[i].Link == ""
			l := u.LargeAt(i)
			if own != (u.Small(i) || l != nil) || u.Small(i) && l != nil {
				t.Errorf("%s: the content of record %d is in no or several places", line, i)
			}
			if l == nil {
				continue
			}
			var sum int64
			for _, p := range l.Parts {
				sum += p.Raw
			}
			if sum != u.Records[i].Size {
				t.Errorf("%s: %d bytes in parts", line, sum)
			}
		}
	})
}
