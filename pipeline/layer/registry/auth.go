package registry

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
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
