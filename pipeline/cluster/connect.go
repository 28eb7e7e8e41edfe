package cluster

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// Manager is the field manager of everything that statelift applies.
const Manager = "statelift"

// Options name a cluster and a place in it.
type Options struct {
	Context   string // of the kubeconfig
	Namespace string // "" is the namespace of the context
}

// Cluster is an open connection. It is safe for concurrent use and needs no
// closing.
type Cluster struct {
	Context   string
	Namespace string
	Server    string // address of the API, for people
	Config    *rest.Config
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Mapper    meta.ResettableRESTMapper
}

// Connect reads the kubeconfig as kubectl does (KUBECONFIG, then
// ~/.kube/config). It talks to nobody yet.
func Connect(o Options) (*Cluster, error) {
	if o.Context == "" {
		return nil, errors.New("a cluster is named by its context in the kubeconfig")
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		clientcmd.NewDefaultClientConfigLoadingRules(), &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", o.Context, err)
	}
	namespace := o.Namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("context %s: %w", o.Context, err)
		}
	}
	config.UserAgent = Manager
	// The run's own order bounds how much it asks; waiting for tokens would only
	// hide it.
	config.QPS, config.Burst = 50, 100
	c := &Cluster{Context: o.Context, Namespace: namespace, Server: config.Host, Config: config}
	if c.Client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("context %s: %w", o.Context, err)
	}
	if c.Dynamic, err = dynamic.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("context %s: %w", o.Context, err)
	}
	c.Mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.Client.Discovery()))
	return c, nil
}

// String is CONTEXT/NAMESPACE.
func (c *Cluster) String() string { return c.Context + "/" + c.Namespace }
