package carrier

import (
	"context"
	"errors"
	"os"

	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/store"
)

// Credentials are what the place is read with here, as the environment with
// which `statelift copy` reads it elsewhere. There are none for a directory and
// for a registry that asks for none.
func Credentials(ctx context.Context, p Place, o Options) (map[string]string, error) {
	env := o.Environment
	if env == nil {
		env = os.Getenv
	}
	switch p.Kind {
	case KindBucket:
		return store.Credentials(env)
	case KindRegistry:
		base, _, err := splitRepository(p.At)
		if err != nil {
			return nil, err
		}
		r, err := registry.Open(base, o.registry())
		if err != nil {
			return nil, err
		}
		text, err := r.Credentials(ctx)
		if err != nil || text == "" {
			return nil, err
		}
		return map[string]string{"DOCKER_AUTH_CONFIG": text}, nil
	case KindDir:
		return nil, nil
	}
	return nil, errors.New("no such kind of place: " + p.Kind)
}
