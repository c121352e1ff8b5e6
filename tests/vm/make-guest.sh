#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What a guest boots from:
#
#	make-guest.sh FOLDER
#
# makes FOLDER/kernel and FOLDER/initramfs, unless they are there and newer than
# what they are made of. The kernel is Debian's for clouds, fetched with
# apt-get download and unpacked in FOLDER: nothing is installed, and the host's
# own kernel is left alone. TMEM_GUEST_KERNEL (a file) and TMEM_GUEST_MODULES (a
# folder like /lib/modules/VERSION; none: all is built in) name another.
#
# Exit 77, after a line that says why, where something is missing.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: make-guest.sh FOLDER}
modules_wanted='virtio_pci virtio_blk virtio_balloon'

missing()
{
	echo "skipped: $*"
	exit 77
}

# One at a time: tests run side by side.
mkdir -p "$folder" || exit 1
cd "$folder" || exit 1
exec 9>lock
flock 9

fetch_kernel()
{
	local package
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
		missing "no apt-get to fetch a kernel for guests:" \
			"set TMEM_GUEST_KERNEL and TMEM_GUEST_MODULES"
	package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1)
	test -n "$package" ||
		missing "apt knows no linux-image-cloud-amd64: apt-get update?"
	# As root, apt would like a user of its own to write here.
	apt-get -q -o APT::Sandbox::User=root download "$package" \
		>fetch.log 2>&1 ||
		missing "$package cannot be fetched: $(tail -n 1 fetch.log)"
	rm -rf root
	dpkg-deb -x "$package"_*.deb root || exit 1
	rm -f "$package"_*.deb
	ln -sf root/boot/vmlinuz-* kernel
}

# The files of the modules wanted and of what they need, in the order in which
# they can be loaded. A line of modules.dep names a module, then what it needs,
# the first needed last.
in_order()
{
	local modules=$1
	test -s "$modules/modules.dep" ||
		missing "$modules has no modules.dep: run depmod"
	awk -v wanted="$modules_wanted" '
	{
		file = $1
		sub(/:$/, "", file)
		name = file
		sub(/.*\//, "", name)
		sub(/\.ko.*/, "", name)
		needs[name] = file
		for (i = 2; i <= NF; i++)
			needs[name] = $i " " needs[name]
	}
	END {
		count = split(wanted, names, " ")
		for (i = 1; i <= count; i++) {
			files = split(needs[names[i]], file_of, " ")
			for (j = 1; j <= files; j++)
				if (!seen[file_of[j]]++)
					print file_of[j]
		}
	}' "$modules/modules.dep"
}

# Modules lie there as they are loaded: not compressed, numbered.
copy_modules()
{
	local modules=$1 file name number=10
	in_order "$modules" >order
	while read -r file; do
		name=$(basename "$file")
		name=$number-${name%%.ko*}.ko
		case $file in
		*.xz) xz -dc "$modules/$file" >"tree/modules/$name" ;;
		*.zst) zstd -qdc "$modules/$file" >"tree/modules/$name" ;;
		*.gz) gzip -dc "$modules/$file" >"tree/modules/$name" ;;
		*) cp "$modules/$file" "tree/modules/$name" ;;
		esac || exit 1
		number=$((number + 1))
	done <order
}

find_busybox()
{
	local file
	for file in /bin/busybox /usr/bin/busybox /sbin/busybox.static; do
		if "$file" true 2>/dev/null && ! ldd "$file" >/dev/null 2>&1; then
			echo "$file"
			return
		fi
	done
	missing "no static busybox for guests (Debian: busybox-static)"
}

is_newer()
{
	local source
	test -s initramfs && test -e kernel || return 1
	test "$(cat made-of 2>/dev/null)" = "$made_of" || return 1
	for source in make-guest.sh guest-init guest_load.c; do
		test initramfs -nt "$here/$source" || return 1
	done
}

made_of="${TMEM_GUEST_KERNEL-} ${TMEM_GUEST_MODULES-}"
is_newer && exit 0
test "$(uname -m)" = x86_64 || missing "guests are x86-64 machines"
command -v cpio >/dev/null || missing "no cpio (Debian: cpio)"
busybox=$(find_busybox) || { echo "$busybox"; exit 77; }

rm -rf tree
mkdir -p tree/bin tree/modules tree/proc tree/sys tree/dev tree/mnt
if test -n "${TMEM_GUEST_KERNEL-}"; then
	test -r "$TMEM_GUEST_KERNEL" ||
		missing "TMEM_GUEST_KERNEL=$TMEM_GUEST_KERNEL cannot be read"
	ln -sf "$TMEM_GUEST_KERNEL" kernel
	modules=${TMEM_GUEST_MODULES-}
else
	test -d root || fetch_kernel
	modules=$(echo "$PWD"/root/lib/modules/*)
	# As packages leave it: depmod runs when they are installed.
	test -s "$modules/modules.dep" ||
		"$busybox" depmod -b root "$(basename "$modules")" || exit 1
fi
test -z "$modules" || copy_modules "$modules"

cp "$busybox" tree/bin/busybox
install -m 755 "$here/guest-init" tree/init
# Plain, whatever sanitizers the build has: libc alone, and static.
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -static -o tree/bin/guest_load \
	"$here/guest_load.c" >compile.log 2>&1 ||
	missing "no static program can be built here (libc's .a files):" \
		"$(tail -n 1 compile.log)"
(cd tree && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) \
	>initramfs.new || exit 1
echo "$made_of" >made-of
mv initramfs.new initramfs
