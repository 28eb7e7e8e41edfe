package cluster

import "fmt"

// Explain makes one plain sentence with a remedy of an error on the way to the
// cluster. It holds no credentials.
func Explain(context string, err error) error {
	return fmt.Errorf("context %s: %w", context, err)
}
