package transfer

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// noServer is an other server with one database and its mark.
type noServer struct {
	engine
	rows, text string // what the database holds
	kept       mark
	stopped    error // of the next drop
}

func (n *noServer) standing(context.Context, string) (standing, error) {
	if n.rows+n.text == "" {
		return absent, nil
	}
	return occupied, nil
}

func (n *noServer) mark(context.Context, string) (mark, error) { return n.kept, nil }

func (n *noServer) setMark(_ context.Context, _ string, k mark) error {
	n.kept = k
	return nil
}

func (n *noServer) proof(context.Context, side, string) (proof, error) {
	return proof{tables: []handoff.TableProof{{Name: "goods", Sum: n.rows}}}, nil
}

func (n *noServer) definitions(context.Context, side, string) (string, error) { return n.text, nil }

func (n *noServer) drop(context.Context, string) error {
	if n.stopped == nil {
		n.rows, n.text = "", ""
	}
	return n.stopped
}

func (n *noServer) restore(context.Context, string, bool) (string, int64, error) {
	n.rows, n.text = "restored", "restored"
	return "", 0, nil
}

// What is there is dropped only when a run of this lift left it, and as it left it.
func TestWay(t *testing.T) {
	ctx := t.Context()
	_, sum, err := stateBeyond(ctx, &noServer{rows: "1", text: "a"}, "shop")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		rows, text string
		noted      mark
		want       way
		why        string
	}{
		"nothing there":             {"", "", mark{}, restoreIt, ""},
		"of somebody":               {"1", "a", mark{}, 0, "holds something already"},
		"half restored":             {"1", "a", mark{state: begun, source: "1"}, redo, ""},
		"proved":                    {"2", "b", mark{done, "2", sum}, compare, ""},
		"an earlier state":          {"1", "a", mark{done, "1", sum}, redo, ""},
		"rows of others":            {"2", "a", mark{done, "1", sum}, 0, "somebody has written"},
		"definitions of others":     {"1", "b", mark{done, "1", sum}, 0, "somebody has written"},
		"not the same":              {"1", "a", mark{differs, "2", sum}, redo, ""},
		"not the same, and written": {"2", "a", mark{differs, "2", sum}, 0, "somebody has written"},
		"stopped before the drop":   {"1", "a", mark{begun, "2", sum}, redo, ""},
		"stopped, and written":      {"2", "a", mark{begun, "2", sum}, 0, "somebody has written"},
		"stopped after the drop":    {"", "", mark{begun, "2", sum}, restoreIt, ""},
	} {
		m := &mover{engine: &noServer{rows: test.rows, text: test.text, kept: test.noted}, order: handoff.Transfer{Source: "2"}}
		got, why, err := m.way(ctx, "shop")
		if err != nil || got != test.want || (why == "") != (test.why == "") || !strings.Contains(why, test.why) {
			t.Errorf("%s: %v, %q, %v", name, got, why, err)
		}
	}
}

// A run that ends before the drop leaves the sum of what was there.
func TestBringStopped(t *testing.T) {
	ctx, n := t.Context(), &noServer{rows: "1", text: "a", kept: mark{done, "1", "sum"}, stopped: errors.New("stopped")}
	m := &mover{engine: n, order: handoff.Transfer{Source: "2"}, log: slog.New(slog.DiscardHandler)}
	if _, _, err := m.bring(ctx, "shop", redo); !errors.Is(err, n.stopped) {
		t.Fatal(err)
	}
	marks := []mark{n.kept}
	n.stopped = nil
	if _, _, err := m.bring(ctx, "shop", redo); err != nil {
		t.Fatal(err)
	}
	marks = append(marks, n.kept)
	if diff := cmp.Diff([]mark{{begun, "2", "sum"}, {begun, "2", ""}}, marks, cmp.AllowUnexported(mark{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
