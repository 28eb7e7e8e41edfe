package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// Dial opens a connection to a port of a Pod, through the API server. Closing it
// ends the connection to the API server, too.
func (c *Cluster) Dial(ctx context.Context, pod string, port int32) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, fmt.Errorf("port %d of Pod %s: %w", port, pod, err)
	}
	dialer, err := c.forwarder(pod)
	if err != nil {
		return fail(err)
	}
	type dialed struct {
		conn httpstream.Connection
		err  error
	}
	done := make(chan dialed, 1)
	go func() { // Dial takes no context
		conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
		done <- dialed{conn, err}
	}()
	var d dialed
	select {
	case d = <-done:
	case <-ctx.Done():
		go func() {
			if late := <-done; late.err == nil {
				late.conn.Close()
			}
		}()
		return fail(ctx.Err())
	}
	if d.err != nil {
		return fail(d.err)
	}
	conn, err := openStreams(d.conn, port)
	if err != nil {
		d.conn.Close()
		return fail(err)
	}
	return conn, nil
}

// forwarder prefers WebSockets, as Exec does.
func (c *Cluster) forwarder(pod string) (httpstream.Dialer, error) {
	url := c.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(c.Namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(c.Config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	socket, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, c.Config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialerForStreaming(socket, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// openStreams opens the pair of streams that one connection takes: one for
// errors of the other side, one for data.
func openStreams(conn httpstream.Connection, port int32) (net.Conn, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	headers.Set(corev1.PortHeader, strconv.Itoa(int(port)))
	headers.Set(corev1.PortForwardRequestIDHeader, "1")
	faults, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	faults.Close() // nothing is written to it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(headers)
	if err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	f := &forwarded{Conn: near, conn: conn, said: make(chan string, 1)}
	go func() {
		text, _ := io.ReadAll(io.LimitReader(faults, 4<<10)) //nolint:errcheck // what was read of it is what there is
		f.said <- string(text)
		if len(text) > 0 {
			far.Close()
		}
	}()
	go func() {
		io.Copy(far, data) //nolint:errcheck // either side may end it
		far.Close()
	}()
	go func() {
		io.Copy(data, far) //nolint:errcheck // either side may end it
		data.Close()
	}()
	return f, nil
}

// forwarded is a connection to a Pod. What the other side says went wrong is the
// error of a read that finds the end.
type forwarded struct {
	net.Conn
	conn httpstream.Connection
	said chan string
}

func (f *forwarded) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		select {
		case text := <-f.said:
			f.said <- text
			if text != "" {
				return 0, errors.New(text)
			}
		case <-time.After(100 * time.Millisecond): // the streams end one after the other
		}
	}
	return n, err
}

func (f *forwarded) Close() error {
	return errors.Join(f.Conn.Close(), f.conn.Close())
}
