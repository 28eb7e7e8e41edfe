package pipeline

import (
	"errors"
	"fmt"
)

// ErrDeclined is wrapped by a rule, profile or mover that does not apply here:
// the next one is tried.
var ErrDeclined = errors.New("declined")

// Blocked is an error that only a person can resolve.
type Blocked struct {
	Question string // what must be decided, with the choices
	Where    string // where to say it: a file and key, or a flag
}

func (b *Blocked) Error() string {
	if b.Where == "" {
		return "blocked: " + b.Question
	}
	return fmt.Sprintf("blocked: %s (%s)", b.Question, b.Where)
}

// InputError is bad input of the user: an unusable source, a broken
// statelift.yaml, a hostile archive.
type InputError struct {
	What string // the file, flag or source; with the line where there is one
	Err  error
}

func (e *InputError) Error() string { return e.What + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *InputError) Unwrap() error { return e.Err }

// Incomplete is returned when everything that could be done was done and some
// of the source could not be taken along. It is no success.
type Incomplete struct {
	Because []string
	// Listed is where all reasons can be read later, for people; "" is statelift
	// status --json.
	Listed string
}

func (e *Incomplete) Error() string {
	switch len(e.Because) {
	case 0:
		return "incomplete"
	case 1:
		return "incomplete, because " + e.Because[0]
	}
	return fmt.Sprintf("incomplete, because %s (and %d more reasons)", e.Because[0], len(e.Because)-1)
}
