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
for mark in "$marks"/*; do [ -e "$mark" ] && echo "mark ${mark##*/}"; done
# sd_booted(3)
if [ -d /run/systemd/system ]; then
	echo systemd
	show() { systemctl show --property=Id,Names,LoadState,ActiveState,TriggeredBy -- "$@" | sed 's/^$/unit/'; }
	triggers=$(show $units | sed -n 's/^TriggeredBy=//p')
	echo unit
	show $units $triggers
	for conf in /etc/systemd/system/*.d/statelift-fence.conf; do
		dir=${conf%.d/*}
		[ -e "$conf" ] && echo unit && echo "fenced ${dir##*/}"
	done
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
printf '\nend\n'
