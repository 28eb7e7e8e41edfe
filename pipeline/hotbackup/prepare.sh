# prepare.sh ROOT DIR DATABASE… -- LIVE…: an empty directory for the copies, in it one for each
# database, 1 2 3 …, of its owner alone, when there is room for as much as the live directories take.
set -e
umask 022
root=$1 dir=$2
shift 2
mkdir -p "$root"
chmod 0711 "$root"
mkdir -m 0711 "$dir"
n=0
while [ "$1" != -- ]; do
	n=$((n + 1))
	mkdir -m 0700 "$dir/$n"
	chown --reference="$1" "$dir/$n"
	shift
done
shift
# A twentieth and 64 MiB for what is written meanwhile.
need=$(du -skx -- "$@" | awk '{ n += $1 } END { printf "%d", n + n / 20 + 65536 }')
free=$(df -Pk "$dir" | awk 'NR == 2 { print $4 }')
echo "$need $free"
