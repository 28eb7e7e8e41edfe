# In the place of each init script comes one that does not start; the script itself waits in $fenced.
# At a boot, which calls the links of the run levels, that is no fault. The new one keeps the old one's header, which insserv(8) and update-rc.d(8) read.
fenced=/etc/statelift/fenced
mkdir -p -m 0700 "$fenced" || exit
for name in $1; do
	script=/etc/init.d/$name
	if [ ! -e "$fenced/$name" ]; then
		rm -rf "$fenced/.$name" && cp -a "$script" "$fenced/.$name" && mv -T "$fenced/.$name" "$fenced/$name" || exit
	fi
	{
		printf '#!/bin/sh\n# statelift cutover: the data of this service is served elsewhere. statelift rollback brings back the script.\n'
		sed -n '/^### BEGIN INIT INFO/,/^### END INIT INFO/p' "$fenced/$name"
		cat <<-EOF
			case \$1 in
			stop|status) exec $fenced/$name "\$@" ;;
			esac
			echo "$name is fenced by statelift: its data is served elsewhere (statelift rollback)" >&2
			case \$0 in /etc/rc*) exit 0 ;; esac
			exit 6
		EOF
	} >"/etc/init.d/.$name.statelift" && chmod 0755 "/etc/init.d/.$name.statelift" && mv -T "/etc/init.d/.$name.statelift" "$script" || exit
done
