package upload

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/store"
)

// Options decide about the result.
type Options struct {
	Registry string `json:"registry,omitempty"` // as --registry; "" is none
	Store    string `json:"store,omitempty"`    // as --store; "" is none
	Carrier  string `json:"carrier,omitempty"`  // "registry", "bucket", or "": a bucket if there is one, else the registry
	// Needed says that a cluster is the target: then there must be a carrier, and
	// a registry for the images.
	Needed bool `json:"needed,omitempty"`
	// Program is what the image is made of; "" is the program that runs.
	Program string `json:"program,omitempty"`
	// Talk is how far sides are talked to. It decides about no result.
	Talk carrier.Options `json:"-"`
}

// Check says, before any work, what a person must decide.
func (o Options) Check() error {
	_, _, err := o.place()
	return err
}

// Effects are what the stage touches beside the workspace.
func (o Options) Effects() pipeline.Effect {
	p, ok, err := o.place()
	effects := pipeline.Local
	if err != nil || !ok {
		return effects
	}
	if p.Kind == carrier.KindBucket {
		effects |= pipeline.Bucket
	}
	if o.Registry != "" {
		effects |= pipeline.Registry
	}
	return effects
}

// place is where the seeds go; ok is false when they go nowhere.
func (o Options) place() (_ carrier.Place, ok bool, err error) {
	bucket, isBucket, err := o.bucket()
	if err != nil {
		return carrier.Place{}, false, err
	}
	blocked := func(where, format string, args ...any) (carrier.Place, bool, error) {
		return carrier.Place{}, false, &pipeline.Blocked{Question: fmt.Sprintf(format, args...), Where: where}
	}
	switch {
	case o.Carrier != "" && o.Carrier != carrier.KindRegistry && o.Carrier != carrier.KindBucket:
		return carrier.Place{}, false, &pipeline.InputError{What: "--carrier", Err: fmt.Errorf("%q is neither registry nor bucket", o.Carrier)}
	case o.Needed && o.Registry == "":
		return blocked("--registry", "a cluster pulls images from a registry, and none is given: name one with --registry HOST/PREFIX that this machine can push to and the cluster can pull from")
	case o.Carrier == carrier.KindBucket && !isBucket:
		return blocked("--store", "seeds are to travel through a bucket, and none is given: name one with --store 's3://BUCKET/PREFIX?endpoint=URL', or use --carrier registry")
	case o.Carrier == carrier.KindRegistry && o.Registry == "":
		return blocked("--registry", "seeds are to travel through a registry, and none is given: name one with --registry HOST/PREFIX, or use --carrier bucket")
	case o.Carrier != carrier.KindRegistry && isBucket:
		return bucket, true, nil
	case o.Registry != "":
		p, err := carrier.ParsePlace(carrier.InRegistry(o.Registry).String())
		if err != nil {
			return carrier.Place{}, false, &pipeline.InputError{What: "--registry", Err: err}
		}
		return p, true, nil
	}
	return carrier.Place{}, false, nil
}

// bucket is the store, if it is one that a cluster can read. What this machine's
// environment says of the endpoint is made part of it: a Pod has another.
func (o Options) bucket() (_ carrier.Place, ok bool, err error) {
	if o.Store == "" {
		return carrier.Place{}, false, nil
	}
	s, err := store.ParseSpec(o.Store)
	if err != nil {
		return carrier.Place{}, false, &pipeline.InputError{What: "--store", Err: err}
	}
	if s.Dir != "" {
		return carrier.Place{}, false, nil
	}
	env := o.Talk.Environment
	if env == nil {
		env = os.Getenv
	}
	s.Endpoint = cmp.Or(s.Endpoint, env("AWS_ENDPOINT_URL_S3"), env("AWS_ENDPOINT_URL"))
	s.Region = cmp.Or(s.Region, env("AWS_REGION"), env("AWS_DEFAULT_REGION"))
	p, err := carrier.InBucket(s.String())
	if err != nil {
		return carrier.Place{}, false, &pipeline.InputError{What: "--store, with the endpoint and region of the environment", Err: err}
	}
	return p, true, nil
}

var errNoImage = errors.New("a cluster needs statelift itself as an image")
