// Package faults is an HTTP proxy that breaks what passes through it, as
// networks and servers do: for tests of clients.
package faults

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// Fault is what happens to one request.
type Fault int

// The faults.
const (
	None           Fault = iota
	Reset                // the connection is reset before the request reaches the server
	ResetBody            // … in the middle of the request's body
	ResetAfter           // … after the server did what it was asked, before the answer
	Truncate             // the answer's body ends early
	Corrupt              // one byte of the answer's body is flipped
	Stall                // nothing is answered until the client goes away
	StallBody            // the answer stops in the middle of its body
	SlowDown             // 503 SlowDown
	Unavailable          // 502 without a body that a client could read
	CorruptRequest       // one byte of the request's body is flipped
	Missing              // 404 without a body
	NoUpload             // 404 NoSuchUpload
	Unauthorized         // 401, whatever the credentials, as registries ask for a password
	NoChecksums          // the answer tells no checksums, as servers that keep none
)

// Request is one request that a client made.
type Request struct {
	Method string
	URL    *url.URL
	Fault  Fault
}

// Proxy stands between a client and a server.
type Proxy struct {
	URL string // http://ADDRESS:PORT

	mu       sync.Mutex
	decide   func(*http.Request) Fault
	requests []Request
	done     chan struct{}
}

// New starts a proxy for the server at target that lets everything pass. It
// stops when the test ends.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	return At(t, "127.0.0.1", target)
}

// At is [New] at an address that others than this machine reach.
func At(t testing.TB, address, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{decide: func(*http.Request) Fault { return None }, done: make(chan struct{})}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host // it is part of the signature
		},
		Transport:      &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8},
		ErrorLog:       log.New(io.Discard, "", 0),
		ModifyResponse: spoil,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) },
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(pass, w, r) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s.Listener.Close()
	s.Listener = listener
	s.Start()
	p.URL = s.URL
	t.Cleanup(func() {
		close(p.done)
		s.CloseClientConnections()
		s.Close()
	})
	return p
}

// Decide says what happens to each request from now on. It is called for one
// request at a time.
func (p *Proxy) Decide(f func(*http.Request) Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = f
}

// Requests returns those since the last call.
func (p *Proxy) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.requests
	p.requests = nil
	return r
}

func (p *Proxy) next(r *http.Request) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.decide(r)
	p.requests = append(p.requests, Request{Method: r.Method, URL: r.URL, Fault: f})
	return f
}

func (p *Proxy) serve(pass http.Handler, w http.ResponseWriter, r *http.Request) {
	switch f := p.next(r); f {
	case Reset:
		reset(w)
	case ResetBody:
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		reset(w)
	case ResetAfter:
		pass.ServeHTTP(httptest.NewRecorder(), r)
		reset(w)
	case Stall:
		select {
		case <-p.done:
		case <-r.Context().Done():
		}
		reset(w)
	case SlowDown:
		io.Copy(io.Discard, r.Body)
		refuse(w, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case NoUpload:
		io.Copy(io.Discard, r.Body)
		refuse(w, http.StatusNotFound, "NoSuchUpload", "The specified multipart upload does not exist.")
	case Missing:
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNotFound)
	case Unauthorized:
		io.Copy(io.Discard, r.Body)
		w.Header().Set("WWW-Authenticate", `Basic realm="lift"`)
		w.WriteHeader(http.StatusUnauthorized)
	case Unavailable:
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusBadGateway)
	case CorruptRequest:
		r.Body = &flip{ReadCloser: r.Body, at: r.ContentLength / 2}
		pass.ServeHTTP(w, r)
	case Truncate, Corrupt, StallBody, NoChecksums:
		pass.ServeHTTP(w, r.WithContext(withFault(r.Context(), f, p.done)))
	default:
		pass.ServeHTTP(w, r)
	}
}

// refuse answers as S3 does ("Error responses" in its API reference).
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
}

// reset closes the connection so that the client sees ECONNRESET (socket(7),
// SO_LINGER with a time of zero).
func reset(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return // a recorder: nobody is waiting there
	}
	c, _, err := h.Hijack()
	if err != nil {
		return
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}
