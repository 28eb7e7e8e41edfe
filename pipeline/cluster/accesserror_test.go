//go:build e2e

package cluster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
)

// credential is in every kubeconfig here, and in no message.
const credential = "tok3n-7hat-n0body-may-see"

// kubeconfig writes a file with the context "there".
func kubeconfig(t *testing.T, server string, ca []byte, user map[string]any) {
	t.Helper()
	c := map[string]any{"server": server}
	if ca != nil {
		c["certificate-authority-data"] = base64.StdEncoding.EncodeToString(ca)
	}
	data, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config",
		"clusters": []any{map[string]any{"name": "there", "cluster": c}},
		"users":    []any{map[string]any{"name": "there", "user": user}},
		"contexts": []any{map[string]any{"name": "there", "context": map[string]any{"cluster": "there", "user": "there"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", name)
}

// inspect is what a user does who lifts into the context.
func inspect(ctx context.Context, name string) error {
	c, err := cluster.Connect(cluster.Options{Context: name})
	if err == nil {
		_, err = c.Inspect(ctx, cluster.Inspection{})
	}
	return cluster.Explain(name, err)
}

// bedCluster is address and authority of the test cluster.
func bedCluster(t *testing.T) (server string, ca []byte) {
	t.Helper()
	bed := bedtest.Open(t)
	c, err := cluster.Connect(cluster.Options{Context: bed.Context})
	if err != nil {
		t.Fatal(err)
	}
	if ca = c.Config.CAData; len(ca) == 0 {
		t.Fatal("the kubeconfig of the test cluster has no authority in it")
	}
	return c.Server, ca
}

// authority is one that signed nothing.
func authority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Every way not to get through has a sentence of its own, with the remedy and
// without the credentials.
func TestExplain(t *testing.T) {
	server, ca := bedCluster(t)
	token := map[string]any{"token": credential}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>hello")) }))
	defer other.Close()
	for _, tt := range []struct {
		name, server string
		ca           []byte
		user         map[string]any
		want         []string
	}{
		{"token refused", server, ca, token, []string{"does not accept these credentials", "log in again"}},
		{"another authority", server, authority(t), token, []string{"of an authority that the kubeconfig does not know", server}},
		{"another name", forward(t, server), ca, token, []string{"is for other names", "tls-server-name"}},
		{"nobody listens", "https://" + closed.Addr().String(), ca, token, []string{"nothing listens at https://" + closed.Addr().String(), "start the cluster"}},
		{"nobody answers", "https://" + silent.Addr().String(), ca, token, []string{"does not answer", "firewall"}},
		{"no such name", "https://nowhere.invalid:6443", ca, token, []string{"the name of https://nowhere.invalid:6443 cannot be found", "VPN"}},
		{"no TLS", "https://" + plain.Listener.Addr().String(), ca, token, []string{"speaks no TLS"}},
		{"no API server", other.URL, nil, token, []string{"answers, but not as an API server of Kubernetes"}},
		{"program fails", server, ca, map[string]any{"exec": map[string]any{
			"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", "command": "sh", "args": []string{"-c", "echo " + credential + " >&2; exit 1"},
		}}, []string{"the program that the kubeconfig names for credentials", "kubectl"}},
		{"a user in the address", strings.Replace(server, "https://", "https://ann:"+credential+"@", 1), authority(t), map[string]any{}, []string{"authority"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kubeconfig(t, tt.server, tt.ca, tt.user)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			err := inspect(ctx, "there")
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %s", want, err)
				}
			}
			if strings.Contains(err.Error(), credential) {
				t.Errorf("the credentials are in: %s", err)
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

// forward is an address that leads to the API server, and that its certificate
// is not for.
func forward(t *testing.T, server string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(server, "https://"))
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
	return "https://" + l.Addr().String()
}

// What is wrong with the kubeconfig is bad input, and the contexts that are
// there are named.
func TestExplainKubeconfig(t *testing.T) {
	kubeconfig(t, "https://10.0.0.1:6443", nil, map[string]any{"token": credential})
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T)
		context string
		want    string
	}{
		{"no such context", func(*testing.T) {}, "prod", `there is no context "prod" in `},
		{"which there are", func(*testing.T) {}, "prod", `there are: there`},
		{"no file", func(t *testing.T) { t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none")) }, "prod", "name the right file in KUBECONFIG"},
		{"no YAML", func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "bad")
			if err := os.WriteFile(name, []byte("token: "+credential+"\n\t{"), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("KUBECONFIG", name)
		}, "prod", "cannot be read"},
		{"no server", func(t *testing.T) { kubeconfig(t, "", nil, map[string]any{"token": credential}) }, "there", "not complete"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.prepare(t)
			err := inspect(t.Context(), tt.context)
			var input *pipeline.InputError
			if !errors.As(err, &input) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), credential) {
				t.Errorf("the credentials are in: %s", err)
			}
		})
	}
}
