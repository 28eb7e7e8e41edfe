package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// authVariable holds a configuration document of docker, as in a Pod that has no
// home directory (docker-login(1) writes it, config.json).
const authVariable = "DOCKER_AUTH_CONFIG"

// keychainOf finds credentials in the environment first.
func keychainOf(env func(string) string) (authn.Keychain, error) {
	text := env(authVariable)
	if text == "" {
		return authn.DefaultKeychain, nil
	}
	var k environment
	if err := json.Unmarshal([]byte(text), &k); err != nil {
		// The error may repeat what it could not read.
		return nil, errors.New(authVariable + ` is no configuration of docker: {"auths": {"HOST": {"auth": "…"}}}`)
	}
	return authn.NewMultiKeychain(k, authn.DefaultKeychain), nil
}

// Credentials are what the registry is asked with here, as the document that
// DOCKER_AUTH_CONFIG takes elsewhere; "" when it is asked without any.
func (r *Registry) Credentials(ctx context.Context) (string, error) {
	repo, err := name.NewRepository(r.base+"/x", r.names...)
	if err != nil {
		return "", fmt.Errorf("registry %s: %w", r.base, err)
	}
	auth, err := authn.Resolve(ctx, r.keychain, repo)
	if err != nil {
		return "", fmt.Errorf("registry %s: credentials: %w", r.base, err)
	}
	config, err := authn.Authorization(ctx, auth)
	if err != nil {
		return "", fmt.Errorf("registry %s: credentials: %w", r.base, err)
	}
	if *config == (authn.AuthConfig{}) {
		return "", nil
	}
	data, err := json.Marshal(environment{Auths: map[string]authn.AuthConfig{repo.RegistryStr(): *config}})
	if err != nil {
		return "", fmt.Errorf("registry %s: credentials: %w", r.base, err)
	}
	return string(data), nil
}

// environment are the credentials of one document.
type environment struct {
	Auths map[string]authn.AuthConfig `json:"auths"`
}

// Resolve implements authn.Keychain: the longest name that the repository is
// below of counts, see "Path scoping" in containers-auth.json(5).
func (e environment) Resolve(target authn.Resource) (authn.Authenticator, error) {
	best, found := "", authn.Anonymous
	for key, config := range e.Auths {
		name := strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "/"), "/v1"), "/v2")
		whole := target.String()
		if (name == whole || strings.HasPrefix(whole, name+"/")) && len(name) > len(best) {
			best, found = name, authn.FromConfig(config)
		}
	}
	return found, nil
}
