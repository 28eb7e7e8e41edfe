package cluster

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/statelift/statelift/pipeline"
)

// Unreachable is returned when no request reaches the API server, or the server
// knows nobody of these credentials: one sentence with the remedy.
type Unreachable struct {
	Context string
	Text    string
	Err     error // the cause; not in the text, since others write it
}

func (e *Unreachable) Error() string { return "context " + e.Context + ": " + e.Text }

// Unwrap gives the cause.
func (e *Unreachable) Unwrap() error { return e.Err }

// Explain makes one plain sentence with a remedy of an error on the way to the
// cluster, without anything of the credentials. Errors of other kinds get the
// name of the context only.
func Explain(name string, err error) error {
	var unreachable *Unreachable
	if err == nil || errors.As(err, &unreachable) || errors.Is(err, context.Canceled) {
		return err
	}
	if text := configFault(name, err); text != "" {
		return &pipeline.InputError{What: "--context " + name, Err: errors.New(text)}
	}
	if text := connectionFault(err); text != "" {
		return &Unreachable{Context: name, Text: text, Err: err}
	}
	return fmt.Errorf("context %s: %w", name, err)
}

// configFault is what is wrong with the kubeconfig itself.
func configFault(name string, err error) string {
	text := err.Error()
	switch {
	case clientcmd.IsContextNotFound(err), strings.Contains(text, fmt.Sprintf("context %q does not exist", name)):
		return missingContext(name)
	case clientcmd.IsEmptyConfig(err):
		return "there is no kubeconfig: name one in KUBECONFIG"
	case clientcmd.IsConfigurationInvalid(err), strings.Contains(text, "invalid configuration"):
		return "the kubeconfig is not complete for this context: " + withoutPrefix(text) + "; kubectl config view shows it"
	case strings.Contains(text, "error loading config file"):
		return "the kubeconfig cannot be read: is it YAML, and may you read it?"
	}
	return ""
}

// withoutPrefix shortens what clientcmd writes; it names files and keys of the
// kubeconfig, never their content.
func withoutPrefix(text string) string {
	_, rest, ok := strings.Cut(text, "invalid configuration: ")
	if !ok {
		return text
	}
	return rest
}

func missingContext(name string) string {
	rules, files := clientcmd.NewDefaultClientConfigLoadingRules(), Kubeconfig()
	config, err := rules.Load()
	if err != nil || len(config.Contexts) == 0 {
		return fmt.Sprintf("there is no context %q: no context at all is in %s; name the right file in KUBECONFIG", name, files)
	}
	var have []string
	for n := range config.Contexts {
		have = append(have, n)
	}
	slices.Sort(have)
	const most = 20
	if len(have) > most {
		have = append(have[:most], "…")
	}
	return fmt.Sprintf("there is no context %q in %s; there are: %s", name, files, strings.Join(have, ", "))
}

// connectionFault says why no request gets through, "" for other faults.
func connectionFault(err error) string {
	var (
		server    = serverOf(err)
		unknown   x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		dns       *net.DNSError
		timeout   net.Error
		operation *net.OpError
	)
	text := err.Error()
	switch {
	case apierrors.IsUnauthorized(err):
		return "the API server does not accept these credentials: they ended or were withdrawn; log in again, or get a new kubeconfig"
	case strings.Contains(text, "getting credentials"):
		return "the program that the kubeconfig names for credentials (users: exec:) failed; run kubectl with this context to see what it says"
	case errors.As(err, &unknown):
		return fmt.Sprintf("the certificate of %s is of an authority that the kubeconfig does not know: its certificate-authority-data is of another cluster, or something between answers instead", server)
	case errors.As(err, &hostname):
		return fmt.Sprintf("the certificate of %s is for other names: correct server: or tls-server-name: in the kubeconfig", server)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the certificate of %s is not valid today: renew it on the cluster, or correct this machine's clock", server)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of %s is not valid: renew it on the cluster", server)
	case strings.Contains(text, "remote error: tls:"):
		return fmt.Sprintf("%s refuses the client certificate of the kubeconfig: it ended, or is of another cluster; get a new kubeconfig", server)
	case strings.Contains(text, "HTTP response to HTTPS client"):
		return fmt.Sprintf("%s speaks no TLS: correct server: in the kubeconfig", server)
	case errors.As(err, &dns):
		return fmt.Sprintf("the name of %s cannot be found: correct server: in the kubeconfig, or connect to its network (VPN)", server)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: start the cluster, or correct server: in the kubeconfig", server)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("%s does not answer: is the cluster up, and is its network reachable from here (VPN, firewall)?", server)
	case errors.As(err, &operation):
		return fmt.Sprintf("%s cannot be reached (%s): is the cluster up, and is its network reachable from here?", server, operation.Err)
	}
	return ""
}

// serverOf is the address that was asked, as far as the error knows it.
func serverOf(err error) string {
	var request *url.Error
	if !errors.As(err, &request) {
		return "the API server"
	}
	u, parseErr := url.Parse(request.URL)
	if parseErr != nil || u.Host == "" {
		return "the API server"
	}
	return u.Scheme + "://" + u.Host
}
