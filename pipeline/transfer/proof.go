package transfer

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

func sumOf(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func (p proof) rows() (n int64) {
	for _, t := range p.tables {
		n += t.Rows
	}
	return n
}

// digest is over everything that is compared.
func (p proof) digest() string {
	var b strings.Builder
	for _, t := range p.tables {
		fmt.Fprintf(&b, "%q %d %s\n", t.Name, t.Rows, t.Sum)
	}
	for _, s := range p.sequences {
		fmt.Fprintf(&b, "%q\n", s)
	}
	return sumOf(b.String())
}

// differences says what the other side has otherwise.
func (p proof) differences(there proof) []string {
	var out []string
	others := map[string]handoff.TableProof{}
	for _, t := range there.tables {
		others[t.Name] = t
	}
	for _, t := range p.tables {
		o, ok := others[t.Name]
		delete(others, t.Name)
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("table %s is missing", t.Name))
		case o.Rows != t.Rows:
			out = append(out, fmt.Sprintf("table %s has %d rows instead of %d", t.Name, o.Rows, t.Rows))
		case o.Sum != t.Sum && p.rounded[t.Name] != "" && p.rounded[t.Name] == there.rounded[t.Name]:
			out = append(out, fmt.Sprintf("table %s has FLOAT columns with more digits than the six that the engine's dump writes: make them DOUBLE on the host (ALTER TABLE), or keep the database in the cluster", t.Name))
		case o.Sum != t.Sum:
			out = append(out, fmt.Sprintf("table %s has %d rows, and not the same", t.Name, t.Rows))
		}
	}
	for _, t := range there.tables {
		if _, extra := others[t.Name]; extra {
			out = append(out, fmt.Sprintf("table %s is not of the source", t.Name))
		}
	}
	if a, b := strings.Join(p.sequences, "\n"), strings.Join(there.sequences, "\n"); a != b {
		out = append(out, "sequences: "+firstDifference(a, b))
	}
	return out
}

// firstDifference names the first line that two texts do not have in common, by
// what is made there; it shows nothing else of the text, which may hold a
// credential.
func firstDifference(a, b string) string {
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	about := "the beginning"
	for i := range max(len(left), len(right)) {
		switch {
		case i >= len(left):
			return fmt.Sprintf("definitions: more than at the source, after %s", about)
		case i >= len(right):
			return fmt.Sprintf("definitions: less than at the source, after %s", about)
		}
		if made := madeIn(left[i]); made != "" {
			about = made
		}
		if left[i] != right[i] {
			return fmt.Sprintf("definitions differ at line %d, in %s", i+1, about)
		}
	}
	return ""
}

// made matches the beginning of a statement up to the name of what it makes or
// alters. Statements that mention passwords (USER, ROLE, SERVER) are not among them.
var made = regexp.MustCompile(`^(?:CREATE|ALTER|/\*!\d+ CREATE)[^'"(;]*?\b(TABLE|SEQUENCE|VIEW|INDEX|TRIGGER|PROCEDURE|FUNCTION|PACKAGE|EVENT|DATABASE|SCHEMA|TYPE|DOMAIN|AGGREGATE|OPERATOR|COLLATION|CONVERSION|EXTENSION|RULE|POLICY|STATISTICS|PUBLICATION|SUBSCRIPTION)\s+(?:IF NOT EXISTS |ONLY )?` +
	"(`[^`]{1,80}`|(?:\\w{1,80}\\.)?(?:\"[^\"]{1,80}\"|\\w{1,80}))")

// madeIn says what the line makes, "" where it begins nothing.
func madeIn(line string) string {
	if m := made.FindStringSubmatch(line); m != nil {
		return m[1] + " " + m[2]
	}
	return ""
}
