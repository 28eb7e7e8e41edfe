# Each init script comes back to where it was, as it was.
fenced=/etc/statelift/fenced
for name in $1; do
	if [ -e "$fenced/$name" ] || [ -L "$fenced/$name" ]; then
		mv -T "$fenced/$name" "/etc/init.d/$name" || exit
	fi
done
rmdir --ignore-fail-on-non-empty "$fenced" && [ -e "$fenced" ] || rmdir --ignore-fail-on-non-empty /etc/statelift
