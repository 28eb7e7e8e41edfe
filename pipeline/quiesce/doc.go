// Package quiesce stops what serves on a source, keeps it from starting, also
// after a boot, and takes both back exactly.
//
// All that it does is a command on the source, given to a [Runner] after it was
// shown. Stop and Fence leave on the source itself what is needed to undo them, so
// that any later call can, from whatever workspace:
//
//   - /var/lib/statelift/quiesced/NAME: NAME ran when it was stopped, or systemd
//     stopped it along, as it requires what was stopped. Start starts what has such
//     a mark and nothing else.
//   - with systemd, /etc/systemd/system/NAME.d/statelift-fence.conf: a drop-in
//     whose AssertPathExists= (systemd.unit(5)) never holds. Whether the unit is
//     enabled, disabled or masked is left alone.
//   - with System V init, and with systemd for units that it makes from an init
//     script (systemd-sysv-generator(8)), /etc/statelift/fenced/NAME: the script;
//     in /etc/init.d is one that refuses to start and gives stop and status to it.
//     The links of the run levels are left alone.
//
// Each action can be done again, whatever part of it was done before.
package quiesce
