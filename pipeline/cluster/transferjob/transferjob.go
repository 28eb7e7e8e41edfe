// Package transferjob runs in a cluster the Jobs that move the databases of a
// workload into a server outside (statelift transfer), and collects their
// receipts.
package transferjob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
)

const (
	// Annotation of a Job names the workload whose databases it moves.
	Annotation = "statelift.io/transfer"
	// Container is that of the Job which does it.
	Container = "transfer"
	// OrderFlag is followed by what is moved, and where; the command of the
	// workload's own server comes behind "--".
	OrderFlag = "--order"
	// SourceFlag is followed by what the volumes were filled from.
	SourceFlag = "--source"
	// PasswordKey is the administrator's password in the Secret.
	PasswordKey = "password"
	// CAKey are the certificates there by which the server outside is known.
	CAKey = "ca"
)

// Part is the part of the plan's names for the Job and the Secret of a workload.
func Part(workload string) string { return "transfer-" + workload }

// Of is the workload that a Job moves the databases of, "" for any other Job.
func Of(u *unstructured.Unstructured) string { return u.GetAnnotations()[Annotation] }

// Mover moves the databases of the workloads of one lift.
type Mover struct {
	Runner *copyjob.Runner
	Ledger pipeline.Ledger
	Plan   handoff.Plan
	// Environment is where credentials are.
	Environment func(string) string
}

// state is what the ledger knows of one workload.
type state struct {
	Source string `json:"source"`
	// Order is the digest of what was to be moved, and where, see [orderOf].
	Order string    `json:"order,omitempty"`
	Job   types.UID `json:"job,omitempty"`
	// Receipt is there when both sides were compared.
	Receipt *handoff.TransferReceipt `json:"receipt,omitempty"`
}

// Move has the databases of a workload moved by its Job of the manifests. Source
// says from what its volumes are now, as VOLUME=DIGEST with commas; "" is what the
// Job says. What was moved from there by the same order and proved before is not
// moved again. A receipt that names differences is no error here.
func (m *Mover) Move(ctx context.Context, job *unstructured.Unstructured, source string) (handoff.TransferReceipt, error) {
	w, err := m.workload(job)
	if err != nil {
		return handoff.TransferReceipt{}, err
	}
	workload := w.Name
	job, source, err = prepare(job, source, false)
	if err != nil {
		return handoff.TransferReceipt{}, err
	}
	order, err := orderOf(job)
	if err != nil {
		return handoff.TransferReceipt{}, err
	}
	st, err := m.state(ctx, workload)
	if err != nil {
		return handoff.TransferReceipt{}, err
	}
	if st.Source != source || st.Order != order {
		st = state{Source: source, Order: order}
	}
	if st.Receipt != nil && st.Receipt.Proved {
		return *st.Receipt, nil
	}
	if err := m.giveCredential(ctx, w); err != nil {
		return handoff.TransferReceipt{}, err
	}
	run := copyjob.Job{
		Object: job, Volume: "of " + workload, Known: st.Job, Brief: true,
		Started: func(ctx context.Context, uid types.UID) error {
			st.Job, st.Receipt = uid, nil
			return m.keep(ctx, workload, st)
		},
	}
	var receipt handoff.TransferReceipt
	took, err := m.Runner.Said(ctx, run, Container, "receipt: ", func(text string) error {
		receipt = handoff.TransferReceipt{}
		if err := json.Unmarshal([]byte(text), &receipt); err != nil {
			return fmt.Errorf("the receipt: %w", err)
		}
		return check(receipt, w, source)
	})
	if err != nil {
		return receipt, fmt.Errorf("the databases of %s: %w", workload, err)
	}
	m.Runner.Log.Info("databases are outside the cluster", "workload", workload, "server", receipt.Server, "databases", len(receipt.Databases), "proved", receipt.Proved, "took", took.String())
	st.Receipt = &receipt
	return receipt, m.keep(ctx, workload, st)
}

// Look has the Job of a workload tell how its databases stand in the other server,
// from the cluster and as the Job that moves them. It changes nothing there.
func (m *Mover) Look(ctx context.Context, job *unstructured.Unstructured) (handoff.TransferStanding, error) {
	var out handoff.TransferStanding
	w, err := m.workload(job)
	if err != nil {
		return out, err
	}
	// Each time another Job: what one said is old when it is asked again.
	job, question, err := prepare(job, "look "+rand.Text(), true)
	if err != nil {
		return out, err
	}
	if err := m.giveCredential(ctx, w); err != nil {
		return out, err
	}
	run := copyjob.Job{Object: job, Volume: "of " + w.Name, Brief: true, Started: func(context.Context, types.UID) error { return nil }}
	_, err = m.Runner.Said(ctx, run, Container, "standing: ", func(text string) error {
		out = handoff.TransferStanding{}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return fmt.Errorf("what it says: %w", err)
		}
		if out.Workload != w.Name || out.Source != question {
			return fmt.Errorf("it speaks of %s", out.Workload)
		}
		return nil
	})
	if err != nil {
		return out, fmt.Errorf("the databases of %s at %s: %w", w.Name, w.External.Host, err)
	}
	return out, nil
}

// workload is that of a Job.
func (m *Mover) workload(job *unstructured.Unstructured) (handoff.Workload, error) {
	name := Of(job)
	i := slices.IndexFunc(m.Plan.Workloads, func(w handoff.Workload) bool { return w.Name == name && w.External != nil })
	if i < 0 {
		return handoff.Workload{}, fmt.Errorf("the plan has no workload %s with data outside the cluster", name)
	}
	return m.Plan.Workloads[i], nil
}

// check takes no word for a proof that contradicts itself, or is of something
// else.
func check(r handoff.TransferReceipt, w handoff.Workload, source string) error {
	server := net.JoinHostPort(w.External.Host, strconv.Itoa(int(w.External.Port)))
	missing := slices.IndexFunc(w.External.Databases, func(name string) bool {
		return !slices.ContainsFunc(r.Databases, func(d handoff.DatabaseProof) bool { return d.Name == name })
	})
	switch {
	case r.Workload != w.Name, r.Source != source:
		return fmt.Errorf("the receipt is of %s from %s", r.Workload, r.Source)
	case r.Server != server, r.Engine != w.External.Engine:
		return fmt.Errorf("the receipt is of %s at %s, and not of %s at %s", r.Engine, r.Server, w.External.Engine, server)
	case missing >= 0:
		return fmt.Errorf("the receipt says nothing of the database %s", w.External.Databases[missing])
	case r.Proved != (len(r.Differences) == 0):
		return errors.New("the receipt contradicts itself")
	}
	return nil
}

// container has the one container of a Job, as a list, and its arguments.
func container(job *unstructured.Unstructured) (boxes []any, args []string, err error) {
	boxes, _, err = unstructured.NestedSlice(job.Object, "spec", "template", "spec", "containers")
	if err != nil || len(boxes) != 1 {
		return nil, nil, fmt.Errorf("the Job %s does not have one container", job.GetName())
	}
	box, _ := boxes[0].(map[string]any)
	args, _, err = unstructured.NestedStringSlice(box, "args")
	if err != nil {
		return nil, nil, fmt.Errorf("the Job %s: %w", job.GetName(), err)
	}
	return boxes, args, nil
}

// orderOf is the digest of what a Job moves and where, whatever state it moves: a
// proof of one server says nothing of another one.
func orderOf(job *unstructured.Unstructured) (string, error) {
	_, args, err := container(job)
	if err != nil {
		return "", err
	}
	var order []string
	if i := slices.Index(args, OrderFlag); i >= 0 && i+1 < len(args) {
		order = append(order, args[i+1])
	}
	if i := slices.Index(args, "--"); i >= 0 {
		order = append(order, args[i:]...)
	}
	data, err := json.Marshal(order)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

// lookFlag has the Job only look.
const lookFlag = "--look"

// prepare takes the Job out of suspension and names it by what it does, since a
// Job's template cannot be changed.
func prepare(job *unstructured.Unstructured, source string, look bool) (*unstructured.Unstructured, string, error) {
	job = job.DeepCopy()
	boxes, args, err := container(job)
	if err != nil {
		return nil, "", err
	}
	box, _ := boxes[0].(map[string]any)
	i := slices.Index(args, SourceFlag)
	if i < 0 || i+1 >= len(args) {
		return nil, "", fmt.Errorf("the Job %s does not say from what it moves", job.GetName())
	}
	if source != "" {
		args[i+1] = source
	}
	source = args[i+1]
	if look {
		args = slices.Insert(args, i, lookFlag)
	}
	err = errors.Join(
		unstructured.SetNestedStringSlice(box, args, "args"),
		unstructured.SetNestedSlice(job.Object, boxes, "spec", "template", "spec", "containers"),
		unstructured.SetNestedField(job.Object, false, "spec", "suspend"))
	if err != nil {
		return nil, "", fmt.Errorf("the Job %s: %w", job.GetName(), err)
	}
	data, err := json.Marshal(job.Object["spec"])
	sum := sha256.Sum256(data)
	job.SetName(job.GetName() + "-" + hex.EncodeToString(sum[:4]))
	return job, source, err
}

// maxPassword is far above any.
const maxPassword = 4 << 10

// giveCredential makes the Secret with the administrator's password, for this run
// only.
func (m *Mover) giveCredential(ctx context.Context, w handoff.Workload) error {
	password, err := m.Password(w)
	if err != nil {
		return err
	}
	data := map[string]string{PasswordKey: password}
	if w.External.CAFile != "" {
		if data[CAKey], err = authorities(w.External.CAFile); err != nil {
			return fmt.Errorf("workload %s: %w", w.Name, err)
		}
	}
	secret := copyjob.Secret(m.Plan, m.Runner.Cluster.Namespace, Part(w.Name), "Opaque", data)
	_, err = m.Runner.Owner.ApplyBriefly(ctx, secret)
	return err
}

// Password is that of the administrator of the server outside, of a workload whose
// data live there. It is a [*pipeline.Blocked] when it is not where the decision
// says.
func (m *Mover) Password(w handoff.Workload) (string, error) {
	password, err := m.password(*w.External)
	if err != nil {
		return "", fmt.Errorf("workload %s: %w", w.Name, err)
	}
	return password, nil
}

func (m *Mover) password(e handoff.External) (string, error) {
	if e.PasswordEnv != "" {
		if value := m.Environment(e.PasswordEnv); value != "" {
			return value, nil
		}
		return "", &pipeline.Blocked{Question: fmt.Sprintf("the password of %s at %s is wanted in the environment variable %s", e.User, e.Host, e.PasswordEnv), Where: e.PasswordEnv}
	}
	f, err := os.Open(e.PasswordFile)
	if err != nil {
		return "", &pipeline.Blocked{Question: fmt.Sprintf("the password of %s at %s is wanted in a file: %v", e.User, e.Host, err), Where: e.PasswordFile}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular() {
		return "", &pipeline.Blocked{Question: fmt.Sprintf("%s holds a password and has the mode %04o: chmod 0600", e.PasswordFile, info.Mode().Perm()), Where: e.PasswordFile}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", e.PasswordFile, err)
	}
	if len(data) > maxPassword {
		return "", &pipeline.Blocked{Question: fmt.Sprintf("%s is longer than any password", e.PasswordFile), Where: e.PasswordFile}
	}
	return strings.TrimRight(string(data), "\r\n"), nil
}

// maxAuthorities is above the lists of all that there are.
const maxAuthorities = 512 << 10

// authorities reads the certificates by which the server outside is known.
func authorities(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", &pipeline.Blocked{Question: fmt.Sprintf("the certificates by which the server is known are wanted in a file: %v", err), Where: name}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAuthorities+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxAuthorities || !x509.NewCertPool().AppendCertsFromPEM(data) {
		return "", &pipeline.Blocked{Question: name + " holds no certificates (PEM), by which the server is to be known", Where: name}
	}
	return string(data), nil
}

func (m *Mover) item(workload string) string {
	return "transfer " + m.Runner.Cluster.String() + "/" + workload
}

func (m *Mover) state(ctx context.Context, workload string) (st state, err error) {
	mark, ok, err := m.Ledger.Lookup(ctx, m.item(workload))
	if err != nil || !ok {
		return st, err
	}
	if err := json.Unmarshal([]byte(mark), &st); err != nil {
		return st, fmt.Errorf("ledger: %s: %w", m.item(workload), err)
	}
	return st, nil
}

func (m *Mover) keep(ctx context.Context, workload string, st state) error {
	data, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("ledger: %s: %w", m.item(workload), err)
	}
	return m.Ledger.Commit(ctx, m.item(workload), string(data))
}
