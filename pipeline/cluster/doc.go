// Package cluster is the Kubernetes cluster that a lift goes to: the connection,
// what it offers, objects that are applied and waited for, and why a Pod does
// not start, in plain words.
package cluster
