package transfer_test

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/outside"
	"github.com/statelift/statelift/pipeline/handoff"
)

// TestMariaDBEncrypted moves to a server that takes its administrator encrypted
// only, and to one that cannot encrypt.
func TestMariaDBEncrypted(t *testing.T) {
	j := mariadbJob(t, "")
	j.open(t)
	j.server = outside.MariaDB(t, hosts.WordPress(t), "127.0.0.1", "localhost")
	j.encrypted(t)
}

// TestPostgresEncrypted is the same with PostgreSQL.
func TestPostgresEncrypted(t *testing.T) {
	j := postgresJob(t, postgresBefore)
	j.open(t)
	j.server = outside.Postgres(t, hosts.Postgres(t), "127.0.0.1", "localhost")
	j.encrypted(t)
}

// open is about a server without a certificate.
func (j *job) open(t *testing.T) {
	t.Helper()
	j.order.TLS = handoff.TLSRequire
	if _, err := j.run(t); err == nil || !strings.Contains(strings.ToLower(j.log), "ssl") && !strings.Contains(j.log, "encrypted") {
		t.Errorf("it was moved in the clear: %v\n%s", err, j.log)
	}
	j.order.TLS = ""
	if at := j.look(t); at.TLS != "" {
		t.Errorf("it says that it is encrypted by %s", at.TLS)
	}
}

// encrypted is about a server with one, for localhost.
func (j *job) encrypted(t *testing.T) {
	t.Helper()
	j.order.Host, j.order.Port, j.order.TLS = "localhost", int32(j.server.Port), handoff.TLSDisable
	if _, err := j.run(t); err == nil {
		t.Error("the server took it in the clear")
	}
	j.order.TLS = handoff.TLSRequire
	if at := j.look(t); !strings.HasPrefix(at.TLS, "TLSv1.") {
		t.Errorf("it is encrypted by %q", at.TLS)
	}
	j.order.TLS = handoff.TLSVerify
	if receipt := j.want(t); !strings.HasPrefix(receipt.TLS, "TLSv1.") {
		t.Errorf("it is encrypted by %q", receipt.TLS)
	}
	j.order.Host = "127.0.0.1" // which the certificate is not for
	if err := j.program(t, "look", &handoff.TransferStanding{}); err == nil {
		t.Error("a certificate for another name is taken")
	}
	j.order.Host = "localhost"
	stranger := *j.server
	j.server = &stranger
	stranger.CA = outside.Stranger(t)
	if err := j.program(t, "look", &handoff.TransferStanding{}); err == nil {
		t.Error("a certificate of another authority is taken")
	}
}
