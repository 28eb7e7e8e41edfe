package templates

import "embed"

// Report holds the templates of the planning report.
//
//go:embed report
var Report embed.FS
