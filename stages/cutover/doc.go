// Package cutover switches from the source to the cluster, and back.
//
// It reads the plan and the sync rounds, keeps the journal [handoff.Switch] and
// touches the source (its services are stopped, fenced, started) and the cluster
// (its fence is opened and closed). The journal is written before each step, and
// each step can be done again, so that the next call goes on wherever a kill
// came:
//
//	state      truth    serving                 cutover            rollback
//	(none)     source   source                  begins             nothing to do
//	stopping   source   source, partly or not   stops once more    goes back
//	judging    source   nobody                  stops once more    goes back
//	syncing    source   nobody                  stops once more    goes back
//	releasing  cluster  nobody, or the cluster  opens once more    goes back
//	checking   cluster  cluster                 checks once more   goes back
//	serving    cluster  cluster                 nothing to do      goes back
//	accepted   cluster  cluster                 nothing to do      refused
//	holding    source   nobody, or the cluster  goes back, says so goes back
//	starting   source   nobody, or the source   goes back, says so goes back
//	listing    source   source                  refused            lists once more
//	returned   source   source                  begins             nothing to do
//
// Never do both serve: the source is started only when the cluster is held, or
// was never opened, and the cluster is opened only when nothing runs on the
// source, which is fenced. A step that fails, and an interrupt, goes back at
// once. Where the cluster cannot be held, the source stays fenced.
package cutover
