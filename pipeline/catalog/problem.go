package catalog

// ProblemChanged is the problem of a path that was not at rest: what was read of
// it is not what its entry says.
const ProblemChanged = "changed while it was scanned"
