package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-getter"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// remote downloads the archive, or goes on with a download, and unpacks it.
func (s *Stage) remote(ctx context.Context, env *pipeline.Env, p place) (handoff.Source, error) {
	if os.Geteuid() != 0 {
		return handoff.Source{}, s.input(errors.New("an archive can be unpacked by root only: nobody else can keep the owners of its files"))
	}
	d, err := s.newDownload(env, p)
	if err != nil {
		return handoff.Source{}, err
	}
	if err := d.run(ctx); err != nil {
		return handoff.Source{}, err
	}
	return s.archive(ctx, env, d.file, p.checksum)
}

// download is one archive on its way into the workspace.
type download struct {
	*Stage
	place
	file   string // where it goes
	state  string // the file that says what is in it
	limit  int64
	client *http.Client
	guard  *guard
	pause  time.Duration // before the first repetition; doubled after each
}

// The patience with servers: attempts, and how long one may say nothing.
const (
	attempts = 5
	silence  = 60 * time.Second
)

func (s *Stage) newDownload(env *pipeline.Env, p place) (*download, error) {
	dir := env.Workspace.Path(workspace.Run, "download")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	d := &download{Stage: s, place: p, file: dir + "/archive", state: dir + "/archive.json", limit: s.MaxBytes, pause: time.Second}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, fmt.Errorf("source: %s: %w", dir, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; d.limit == 0 || free < d.limit {
		d.limit = free
	}
	d.guard = &guard{next: transport(), silence: silence, limit: d.limit, progress: env.Progress}
	d.client = &http.Client{Transport: d.guard, CheckRedirect: noDowngrade}
	return d, nil
}

// validators tell one version of a remote file from another.
type validators struct {
	URL      string `json:"url"` // its SHA-256, since it may hold credentials
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
	Length   int64  `json:"length"`
	Complete bool   `json:"complete"`
}

// same reports whether a part of one is a part of the other for sure. Weak tags
// (RFC 9110, section 8.8.1) say nothing about bytes.
func (v validators) same(o validators) bool {
	if v.URL != o.URL || v.Length != o.Length {
		return false
	}
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag == o.ETag
	}
	return v.Modified != "" && v.Modified == o.Modified && v.Length > 0
}

// run downloads until the file is whole.
func (d *download) run(ctx context.Context) error {
	was := d.load()
	now, err := d.ask(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if was.Complete && was.URL == now.URL && (err != nil || was.same(now) || d.checksum != "") {
		// It was whole already: a server that is gone does not matter any more.
		if fi, statErr := os.Stat(d.file); statErr == nil && fi.Size() > 0 && (was.Length <= 0 || fi.Size() == was.Length) {
			return nil
		}
	}
	if d.checksum == "" && !was.same(now) || was.URL != now.URL {
		if err := d.discard(); err != nil {
			return err
		}
	}
	if err := d.save(now); err != nil {
		return err
	}
	d.guard.validator = now.ETag
	if now.ETag == "" || strings.HasPrefix(now.ETag, "W/") {
		d.guard.validator = now.Modified
	}
	if err := d.get(ctx); err != nil {
		return err
	}
	now.Complete = true
	return d.save(now)
}

// ask reads the validators. A server that does not answer to HEAD has none.
func (d *download) ask(ctx context.Context) (validators, error) {
	sum := sha256.Sum256([]byte(d.url.String()))
	v := validators{URL: hex.EncodeToString(sum[:]), Length: -1}
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, d.url.String(), nil)
	if err != nil {
		return v, err
	}
	resp, err := d.client.Do(req)
	if err != nil {
		return v, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("bad response code: %d", resp.StatusCode)
	}
	v.ETag, v.Modified, v.Length = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified"), resp.ContentLength
	return v, nil
}

// get lets go-getter fetch the file raw. Interrupted, it goes on where it was.
func (d *download) get(ctx context.Context) error {
	fresh := false
	for attempt, pause := 1, d.pause; ; attempt, pause = attempt+1, pause*2 {
		err := d.once(ctx)
		var sum *getter.ChecksumError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errTooLarge), errors.Is(err, unix.ENOSPC):
			return d.tell(err)
		case refused(err):
			return d.input(d.tell(err))
		case errors.As(err, &sum) && (fresh || !d.guard.resumed):
			d.discard()
			return d.input(fmt.Errorf("its checksum is %x, and should be %x", sum.Actual, sum.Expected))
		case errors.As(err, &sum), errors.Is(err, errNoRange):
			// What was there is of another version: begin again, once.
			if err := d.discard(); err != nil {
				return err
			}
			fresh = true
			continue
		case attempt == attempts:
			return d.tell(fmt.Errorf("given up after %d attempts: %w", attempts, err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (d *download) once(ctx context.Context) error {
	src := *d.url
	q := src.Query()
	q.Set("archive", "false")
	if d.checksum != "" {
		q.Set("checksum", d.checksum)
	}
	src.RawQuery = q.Encode()
	d.guard.resumed = false
	httpGetter := &getter.HttpGetter{Client: d.client, HeadFirstTimeout: silence, XTerraformGetDisabled: true}
	client := &getter.Client{
		Ctx: ctx, Src: src.String(), Dst: d.file, Mode: getter.ClientModeFile, Umask: 0o077, DisableSymlinks: true,
		Getters:       map[string]getter.Getter{"http": httpGetter, "https": httpGetter},
		Detectors:     []getter.Detector{},
		Decompressors: map[string]getter.Decompressor{},
	}
	return client.Get()
}

// refused is an answer that would be the same the next time.
func refused(err error) bool {
	var code int
	i := strings.LastIndex(err.Error(), "bad response code: ")
	if i < 0 {
		return false
	}
	if _, err := fmt.Sscanf(err.Error()[i:], "bad response code: %d", &code); err != nil {
		return false
	}
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests
}

// tell is the error without what the URL may hold of credentials, which errors
// of go-getter and net/http repeat.
func (d *download) tell(err error) error {
	text := err.Error()
	var ue *url.Error
	if errors.As(err, &ue) {
		text = strings.ReplaceAll(text, ue.Error(), ue.Err.Error())
	}
	secrets := []string{d.url.String(), d.url.RawQuery}
	if pw, ok := d.url.User.Password(); ok {
		secrets = append(secrets, pw, url.QueryEscape(pw), d.url.User.String(), d.url.User.Username())
	}
	for _, values := range d.url.Query() {
		for _, v := range values {
			secrets = append(secrets, v, url.QueryEscape(v))
		}
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, facts.Redacted)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("download %s: %w", Redact(d.Spec), unix.ENOSPC)
	case errors.Is(err, errTooLarge) && d.limit != d.MaxBytes: // the disk's limit
		return fmt.Errorf("download %s: %s: %w", Redact(d.Spec), text, unix.ENOSPC)
	}
	return fmt.Errorf("download %s: %s", Redact(d.Spec), text)
}

func (d *download) discard() error {
	if err := os.Remove(d.file); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("source: %w", err)
	}
	return nil
}

func (d *download) load() validators {
	var v validators
	data, err := os.ReadFile(d.state)
	if err != nil || json.Unmarshal(data, &v) != nil {
		return validators{}
	}
	return v
}

func (d *download) save(v validators) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	return atomicfile.Write(d.state, data, 0o600)
}
