package split

import (
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
)

// claims are made in a fixed order; of equal ones the earlier wins, so that the
// order of makers is part of the judgement.
type claims struct {
	list []claim.Claim
	seen map[key]bool
}

type key struct {
	class     claim.Class
	reach     claim.Reach
	path      string
	when      string
	authority claim.Authority
	serves    string
	by        string
}

// add gives the claim its ID. The very same statement twice is one.
func (c *claims) add(k claim.Claim) {
	id := key{k.Class, k.Reach, string(k.Path), k.When, k.Authority, k.Serves, k.By}
	if c.seen[id] {
		return
	}
	if c.seen == nil {
		c.seen = map[key]bool{}
	}
	c.seen[id] = true
	k.ID = int64(len(c.list) + 1)
	if k.Confidence == "" {
		k.Confidence = claim.High
	}
	c.list = append(c.list, k)
}

// at is the evidence that a line of the host says fact, without credentials.
func at(src facts.Source, fact string) claim.Evidence {
	return claim.Evidence{Path: src.Path, Line: src.Line, Fact: credential.RedactCommand(fact)}
}
