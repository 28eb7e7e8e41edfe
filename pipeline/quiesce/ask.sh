# Says what init the source has, and how the services named stand. It changes nothing.
# Arguments: unit names, --, names of init scripts.
marks=/var/lib/statelift/quiesced fenced=/etc/statelift/fenced
units= scripts=
for name; do
	case $name in
	--) shift; scripts=$*; break ;;
	*) units="$units $name"; shift ;;
	esac
done
[ "$(id -u)" = 0 ] && echo root
for mark in "$marks"/*; do [ -e "$mark" ] && echo "mark ${mark##*/} $(tr '\n' ' ' <"$mark")"; done
# sd_booted(3)
if [ -d /run/systemd/system ]; then
	echo systemd
	show() {
		systemctl show --property=Id,Names,LoadState,ActiveState,SubState,Type,Result,SourcePath,DropInPaths,TriggeredBy,RequiredBy,RequisiteOf,BoundBy,ConsistsOf,PropagatesStopTo -- "$@"
	}
	# With them those that were stopped or fenced with them, which systemd may not
	# have loaded; those that start them; and those that systemd stops with them,
	# which others may be stopped with.
	for mark in "$marks"/*; do [ -e "$mark" ] && units="$units $(sed 's/^+//' "$mark")"; done
	for conf in /etc/systemd/system/*.d/statelift-fence.conf; do
		[ -e "$conf" ] || continue
		dir=${conf%.d/*}
		echo "fenced ${dir##*/} $(sed -n 's/^# fenced with //p' "$conf")"
		units="$units ${dir##*/}"
	done
	for own in "$fenced"/*; do [ -e "$own" ] && echo "fenced ${own##*/}"; done
	all=$(printf '%s\n' $units | sort -u)
	while said=$(show $all) && more=$(printf '%s\n' $all $(printf '%s\n' "$said" | grep -e By= -e Of= -e To= | cut -d = -f 2-) | sort -u) && [ "$more" != "$all" ]; do
		all=$more
	done
	echo unit
	printf '%s\n' "$said" | sed 's/^$/unit/'
else
	echo sysv
	for name in $scripts; do
		own=/etc/init.d/$name
		[ -e "$fenced/$name" ] && own=$fenced/$name && echo "fenced $name"
		[ -x "$own" ] || continue
		# A script that cannot tell runs when it is started at boot.
		if grep -q -e status -e init-d-script "$own"; then
			service "$name" status </dev/null >/dev/null 2>&1
			echo "script $name $?"
		else
			set -- /etc/rc[2345].d/S[0-9][0-9]"$name"
			[ -e "$1" ] && echo "script $name mute-on" || echo "script $name mute-off"
		fi
	done
fi
# What runs in the same processes' namespace as this shell (pid_namespaces(7)): not in its containers.
echo processes
ls -l "/proc/$$/ns/pid" /proc/[0-9]*/ns/pid /proc/[0-9]*/exe 2>/dev/null
# And what is in the cgroup of which service (cgroups(7)): both versions have a line.
[ -d /run/systemd/system ] && grep -H -e '^0::' -e ':name=systemd:' /proc/[0-9]*/cgroup 2>/dev/null
printf '\nend\n'
