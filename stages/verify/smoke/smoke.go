// Package smoke does the checks that a user wants to see at the end of a lift:
// a page that a Service must serve, a command that must do well in a container.
package smoke

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/handoff"
)

// Far is where the checks are done; *cluster.Cluster is one.
type Far interface {
	DialService(ctx context.Context, service string, port int32) (net.Conn, error)
	ExecIn(ctx context.Context, match map[string]string, container string, command []string) (cluster.Output, error)
}

// Labels find the Pods of a workload of the plan.
type Labels func(workload string) map[string]string

const (
	// maxBody is how much of a page is looked at.
	maxBody = 4 << 20
	// pause is between two attempts: what was just started may not serve at once.
	pause = 500 * time.Millisecond
)

// Run does one check, again and again until it does well or its time is over.
// detail says what was seen; the error is that of the last attempt. Neither holds
// the page or what the command printed, beyond a short piece without what looks
// like a credential.
func Run(ctx context.Context, far Far, labels Labels, s handoff.Smoke) (detail string, err error) {
	limited, stop := context.WithTimeout(ctx, time.Duration(s.Seconds)*time.Second)
	defer stop()
	for n := 1; ; n++ {
		detail, attempt := once(limited, far, labels, s)
		if attempt == nil {
			return detail, nil
		}
		// A last attempt that the clock cut off tells less than the one before.
		if err == nil || limited.Err() == nil {
			err = attempt
		}
		select {
		case <-time.After(pause):
		case <-limited.Done():
		}
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case limited.Err() != nil:
			return "", fmt.Errorf("%w (%s, %d attempts in %d s)", err, s.Said, n, s.Seconds)
		}
	}
}

func once(ctx context.Context, far Far, labels Labels, s handoff.Smoke) (string, error) {
	if s.HTTP != nil {
		return page(ctx, far, *s.HTTP)
	}
	return command(ctx, far, labels, *s.Exec)
}

// page asks for a page. Its certificate is not verified: it is the host's own,
// of whatever name and age.
func page(ctx context.Context, far Far, h handoff.SmokeHTTP) (string, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return far.DialService(ctx, h.Service, h.Port)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: h.Host}, //nolint:gosec // see above
		DisableKeepAlives: true,
	}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if h.TLS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s://%s:%d%s", scheme, h.Service, h.Port, h.Path), nil)
	if err != nil {
		return "", err
	}
	if h.Host != "" {
		request.Host = h.Host
	}
	request.Header.Set("User-Agent", "statelift")
	response, err := transport.RoundTrip(request) // follows no redirection
	if err != nil {
		return "", fmt.Errorf("GET %s: %w", h.Path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err != nil {
		return "", fmt.Errorf("GET %s: status %d, then %w", h.Path, response.StatusCode, err)
	}
	cut := ""
	if len(body) > maxBody {
		body, cut = body[:maxBody], "the first "
	}
	if response.StatusCode != h.Status {
		return "", fmt.Errorf("GET %s: status %d%s, not %d", h.Path, response.StatusCode, leads(response), h.Status)
	}
	if !bytes.Contains(body, []byte(h.Contains)) {
		return "", fmt.Errorf("GET %s: status %d, and %q is not in %s%d bytes of the page%s", h.Path, response.StatusCode, h.Contains, cut, len(body), begins(body))
	}
	detail := fmt.Sprintf("GET %s: status %d", h.Path, response.StatusCode)
	if h.Contains != "" {
		detail += fmt.Sprintf(", with %q", h.Contains)
	}
	return detail, nil
}

// leads says where a redirection goes, which is what most wrong statuses are
// about.
func leads(r *http.Response) string {
	if l := r.Header.Get("Location"); l != "" {
		return " (to " + piece(l) + ")"
	}
	return ""
}

func begins(body []byte) string {
	if p := piece(string(body)); p != "" {
		return fmt.Sprintf(", which begins %q", p)
	}
	return ""
}

// command runs a command.
func command(ctx context.Context, far Far, labels Labels, e handoff.SmokeExec) (string, error) {
	out, err := far.ExecIn(ctx, labels(e.Workload), e.Container, e.Command)
	switch {
	case errors.Is(err, cluster.ErrNoPod):
		return "", fmt.Errorf("%s in %s/%s: %w", e.Command[0], e.Workload, e.Container, err)
	case err != nil:
		return "", fmt.Errorf("%s: %w", e.Command[0], err)
	case out.Code != e.Status:
		return "", fmt.Errorf("%s in %s/%s: exit code %d, not %d%s", e.Command[0], e.Workload, e.Container, out.Code, e.Status, Ends(out))
	case !bytes.Contains(out.Stdout, []byte(e.Contains)) && !bytes.Contains(out.Stderr, []byte(e.Contains)):
		return "", fmt.Errorf("%s in %s/%s: exit code %d, and %q is not in what it printed%s", e.Command[0], e.Workload, e.Container, out.Code, e.Contains, Ends(out))
	}
	detail := fmt.Sprintf("%s in %s/%s: exit code %d", e.Command[0], e.Workload, e.Container, out.Code)
	if e.Contains != "" {
		detail += fmt.Sprintf(", with %q", e.Contains)
	}
	return detail, nil
}

// Ends is the last line that a command printed, for an error: of standard error
// when there is one.
func Ends(out cluster.Output) string {
	for _, b := range [][]byte{out.Stderr, out.Stdout} {
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if p := piece(lines[len(lines)-1]); p != "" {
			return fmt.Sprintf("; it ends %q", p)
		}
	}
	return ""
}

// maxPiece is what of a foreign text is shown.
const maxPiece = 120

// piece is the beginning of the first line of a text, without what looks like a
// credential.
func piece(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(s, "")), "\n")
	s = credential.RedactCommand(strings.TrimSpace(s))
	if len(s) <= maxPiece {
		return s
	}
	cut := maxPiece
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
