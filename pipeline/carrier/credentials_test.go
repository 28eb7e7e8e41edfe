package carrier_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/carrier"
)

// TestCredentials: what a user is logged in with, in files or variables, is what
// a Job gets; of a registry that one's only.
func TestCredentials(t *testing.T) {
	home := t.TempDir()
	for name, text := range map[string]string{
		"aws":                "[default]\naws_access_key_id = filed\naws_secret_access_key = hidden\n",
		"docker/config.json": `{"auths": {"registry.example": {"auth": "bWU6cGFzcw=="}, "other.example": {"auth": "eW91OndvcmQ="}}}`,
	} {
		file := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "aws"))
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, "docker"))
	for _, c := range []struct {
		place string
		env   map[string]string
		want  map[string]string
	}{
		{"s3://bucket/p", nil, map[string]string{"AWS_ACCESS_KEY_ID": "filed", "AWS_SECRET_ACCESS_KEY": "hidden"}},
		{"s3://bucket/p", map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "tok", "AWS_REGION": "north"},
			map[string]string{"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "tok", "AWS_REGION": "north"}},
		{"registry:registry.example/p/seeds", nil, map[string]string{"DOCKER_AUTH_CONFIG": `{"auths":{"registry.example":{"username":"me","password":"pass","auth":"bWU6cGFzcw=="}}}`}},
		{"registry:open.example/p/seeds", nil, nil},
		{"dir:/srv/seeds", nil, nil},
	} {
		p, err := carrier.ParsePlace(c.place)
		if err != nil {
			t.Fatal(err)
		}
		got, err := carrier.Credentials(t.Context(), p, carrier.Options{Environment: func(name string) string { return c.env[name] }})
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s with %v: %v (-want +got):\n%s", c.place, c.env, err, diff)
		}
	}
}
