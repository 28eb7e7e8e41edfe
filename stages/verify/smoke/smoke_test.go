package smoke

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
)

// far is a cluster of one server and one container.
type far struct {
	address string
	out     cluster.Output
	err     error
	tries   int
	heals   int // the attempt from which on all is well
}

func (f *far) DialService(ctx context.Context, service string, port int32) (net.Conn, error) {
	f.tries++
	if f.tries < f.heals {
		return nil, errors.New("not yet")
	}
	if service != "web" || port != 80 {
		return nil, fmt.Errorf("service %s has no port %d", service, port)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", f.address)
}

func (f *far) ExecIn(_ context.Context, match map[string]string, container string, command []string) (cluster.Output, error) {
	f.tries++
	if match["name"] != "db" || container != "mariadb" || len(command) != 2 {
		return cluster.Output{}, fmt.Errorf("in %v %s: %v", match, container, command)
	}
	return f.out, f.err
}

func labels(workload string) map[string]string { return map[string]string{"name": workload} }

func TestHTTP(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "blog.example.org":
			http.Error(w, "no such site: password=hunter2hunter2", http.StatusNotFound)
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/", http.StatusMovedPermanently)
		case r.URL.Path == "/slow":
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		case r.URL.RequestURI() == "/?p=1":
			fmt.Fprintln(w, "the first post")
		default:
			fmt.Fprintln(w, "<h1>Harbour news</h1>\ntoken=Zx81kQ0pLm2")
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	for name, c := range map[string]struct {
		ask   handoff.SmokeHTTP
		heals int
		want  string // of the detail, or of the error when wrong is set
		wrong bool
	}{
		"a page":           {handoff.SmokeHTTP{Path: "/", Host: "blog.example.org", Status: 200, Contains: "Harbour"}, 0, `GET /: status 200, with "Harbour"`, false},
		"TLS":              {handoff.SmokeHTTP{TLS: true, Path: "/", Host: "blog.example.org", Status: 200}, 0, "GET /: status 200", false},
		"with its query":   {handoff.SmokeHTTP{Path: "/?p=1", Host: "blog.example.org", Status: 200, Contains: "first post"}, 0, "status 200", false},
		"a redirection":    {handoff.SmokeHTTP{Path: "/moved", Host: "blog.example.org", Status: 301}, 0, "GET /moved: status 301", false},
		"not followed":     {handoff.SmokeHTTP{Path: "/moved", Host: "blog.example.org", Status: 200}, 0, "status 301 (to /), not 200", true},
		"another host":     {handoff.SmokeHTTP{Path: "/", Host: "x.example.org", Status: 200}, 0, "status 404, not 200", true},
		"without the word": {handoff.SmokeHTTP{Path: "/", Host: "blog.example.org", Status: 200, Contains: "Mountain"}, 0, `"Mountain" is not in 40 bytes of the page, which begins "<h1>Harbour news</h1>"`, true},
		"never answers":    {handoff.SmokeHTTP{Path: "/slow", Host: "blog.example.org", Status: 200}, 0, "GET /slow: ", true},
		"after a while":    {handoff.SmokeHTTP{Path: "/", Host: "blog.example.org", Status: 200}, 2, "status 200", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &far{address: plain.Listener.Addr().String(), heals: c.heals}
			if c.ask.TLS {
				f.address = secure.Listener.Addr().String()
			}
			c.ask.Service, c.ask.Port = "web", 80
			began := time.Now()
			detail, err := Run(t.Context(), f, labels, handoff.Smoke{Name: "x", Said: "statelift.yaml:3", HTTP: &c.ask, Seconds: 1})
			check(t, detail, err, c.want, c.wrong)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func check(t *testing.T, detail string, err error, want string, wrong bool) {
	t.Helper()
	got := detail
	if err != nil {
		got = err.Error()
		if !strings.Contains(got, "statelift.yaml:3") {
			t.Errorf("%q does not name the line", got)
		}
	}
	if (err != nil) != wrong || !strings.Contains(got, want) {
		t.Errorf("%v %q, want %q", err, detail, want)
	}
	for _, secret := range []string{"hunter2", "Zx81kQ0pLm2"} {
		if strings.Contains(got, secret) {
			t.Errorf("%q shows a credential", got)
		}
	}
}

func TestExec(t *testing.T) {
	for name, c := range map[string]struct {
		out   cluster.Output
		err   error
		ask   handoff.SmokeExec
		want  string
		wrong bool
	}{
		"does well":    {cluster.Output{Stdout: []byte("200\n")}, nil, handoff.SmokeExec{Contains: "200"}, `sql in db/mariadb: exit code 0, with "200"`, false},
		"on stderr":    {cluster.Output{Code: 3, Stderr: []byte("usage\n")}, nil, handoff.SmokeExec{Status: 3, Contains: "usage"}, "exit code 3", false},
		"fails":        {cluster.Output{Code: 1, Stdout: []byte("a\n"), Stderr: []byte("warning\nERROR 1045: --password=hunter2hunter2 denied\n")}, nil, handoff.SmokeExec{}, "exit code 1, not 0; it ends \"ERROR 1045", true},
		"another word": {cluster.Output{Stdout: []byte("199\n")}, nil, handoff.SmokeExec{Contains: "200"}, `"200" is not in what it printed; it ends "199"`, true},
		"no Pod":       {cluster.Output{}, cluster.ErrNoPod, handoff.SmokeExec{}, "no Pod of it is ready", true},
	} {
		t.Run(name, func(t *testing.T) {
			f := &far{out: c.out, err: c.err}
			c.ask.Workload, c.ask.Container, c.ask.Command = "db", "mariadb", []string{"sql", "SELECT 1"}
			detail, err := Run(t.Context(), f, labels, handoff.Smoke{Name: "x", Said: "statelift.yaml:3", Exec: &c.ask, Seconds: 1})
			check(t, detail, err, c.want, c.wrong)
			if c.wrong && f.tries < 2 {
				t.Error("it was tried once only")
			}
		})
	}
}

func TestStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := Run(ctx, &far{err: errors.New("x")}, labels, handoff.Smoke{Exec: &handoff.SmokeExec{Workload: "db", Container: "mariadb", Command: []string{"a", "b"}}, Seconds: 600})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
