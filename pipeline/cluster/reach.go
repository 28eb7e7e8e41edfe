package cluster

import (
	"context"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// Reach asks the API server of the context for its version, and nothing else: who
// is not answered need not begin. The error says in one sentence what to do.
func Reach(ctx context.Context, o Options) error {
	c, err := Connect(o)
	if err == nil {
		_, err = c.version(ctx)
	}
	return Explain(o.Context, err)
}

// Kubeconfig names the files in which contexts are looked for, as kubectl does.
func Kubeconfig() string {
	return strings.Join(clientcmd.NewDefaultClientConfigLoadingRules().GetLoadingPrecedence(), ", ")
}
