package decisions

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// OwnLabels is the prefix of the labels that say what an image came from; they
// cannot be decided.
const OwnLabels = "io.statelift."

// tag is what a registry takes for one (OCI distribution-spec, pulling
// manifests).
var tag = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

func (c *checker) images(d Decisions) {
	if d.Images.Tag != "" && !tag.MatchString(d.Images.Tag) {
		c.fault(d.Images.Line, "%q is no tag of an image (letters, digits, _ . and -, at most 128)", d.Images.Tag)
	}
	for _, key := range slices.Sorted(maps.Keys(d.Images.Labels)) {
		switch {
		case key == "":
			c.fault(d.Images.Line, "a label wants a name")
		case strings.HasPrefix(key, OwnLabels):
			c.fault(d.Images.Line, "label %s cannot be decided: %s… says what an image came from", key, OwnLabels)
		}
	}
}
