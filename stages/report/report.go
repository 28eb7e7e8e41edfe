package report

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	htmltemplate "html/template"
	"io/fs"
	texttemplate "text/template"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name: "report", Summary: "write the planning report as HTML, Markdown and JSON",
		Effects: pipeline.Local, Resumes: "writing the three files again", Version: 1,
	}
}

// Stage writes the report.
type Stage struct {
	templates fs.FS
}

// New makes the stage; templates holds report/report.html and report/report.md.
func New(templates fs.FS) *Stage { return &Stage{templates: templates} }

// The names of the files in the workspace.
const (
	HTML     = "report.html"
	Markdown = "report.md"
	JSON     = "report.json"
)

// Run writes the three files.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, inv handoff.Inventory, split handoff.Split, plan handoff.Plan, target handoff.Target) (handoff.Report, error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Report{}, err
	}
	defer cat.Close()
	doc, err := newDocument(ctx, cat, inv, split, plan, target)
	if err != nil {
		return handoff.Report{}, err
	}
	return s.write(env.Workspace, doc)
}

func (s *Stage) write(ws workspace.Workspace, doc *Document) (handoff.Report, error) {
	var out handoff.Report
	for _, f := range []struct {
		name   string
		render func(*Document) ([]byte, error)
	}{{HTML, s.html}, {Markdown, s.markdown}, {JSON, asJSON}} {
		data, err := f.render(doc)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.name, err)
		}
		if err := atomicfile.Write(ws.Path(f.name), data, 0o600); err != nil {
			return out, err
		}
		sum := sha256.Sum256(data)
		out.Files = append(out.Files, handoff.ReportFile{Name: f.name, SHA256: hex.EncodeToString(sum[:])})
	}
	return out, nil
}

func (s *Stage) html(doc *Document) ([]byte, error) {
	t, err := htmltemplate.New(HTML).Funcs(htmltemplate.FuncMap(functions())).ParseFS(s.templates, "report/"+HTML)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, doc)
	return b.Bytes(), err
}

func (s *Stage) markdown(doc *Document) ([]byte, error) {
	t, err := texttemplate.New(Markdown).Funcs(texttemplate.FuncMap(functions())).ParseFS(s.templates, "report/"+Markdown)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, doc)
	return b.Bytes(), err
}

func asJSON(doc *Document) ([]byte, error) {
	data, err := json.MarshalIndent(doc, "", "  ")
	return append(data, '\n'), err
}
