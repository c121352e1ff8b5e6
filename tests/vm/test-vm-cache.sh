#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Two guests boot, one after the other, from one image through cache disks that
# share a pool: what the first has read of the image the second need not, but
# for a tenth at most. Counted from outside: what tmemd reads, says the kernel.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
mke2fs=$(PATH=$PATH:/sbin:/usr/sbin command -v mke2fs) ||
	skip "no mke2fs (Debian: e2fsprogs)"

# A small system: an init that reads all there is.
make_image()
{
	mkdir -p root/bin root/sbin root/proc root/sys root/dev root/data
	cp "$vm_folder/tree/bin/busybox" root/bin/
	for number in 1 2 3 4 5 6; do
		make_dump 1024 | sed "s/key/key$number/g" >"root/data/$number"
	done
	cat >root/sbin/init <<'END_OF_INIT'
#!/bin/busybox sh
# What is read twice must be the same twice, too.
echo "guest: root $(/bin/busybox cat /data/* /bin/busybox | /bin/busybox md5sum)"
echo 3 >/proc/sys/vm/drop_caches
echo "guest: again $(/bin/busybox cat /data/* /bin/busybox | /bin/busybox md5sum)"
echo "guest: errors $(/bin/busybox dmesg | /bin/busybox grep -c -i 'i/o error\|ext4-fs error')"
echo "guest: ends"
/bin/busybox poweroff -f
END_OF_INIT
	chmod +x root/sbin/init
	truncate -s 64M image
	"$mke2fs" -q -t ext4 -O ^has_journal -d root image ||
		{ complain "mke2fs failed"; finish; }
	want=$(cat root/data/* root/bin/busybox | md5sum)
}

read_bytes()
{
	awk '/^rchar:/ { print $2 }' "/proc/$daemon/io"
}

cache_disk()
{
	echo "--vhost-user-blk" \
		"name=$1,socket=$scratch/$1.disk,kind=cache,image=$scratch/image,share=base,readonly=on"
}

# boot NAME: sets $bytes, what it made tmemd read.
boot()
{
	local before
	before=$(read_bytes)
	# shellcheck disable=SC2046
	vm_start "$1" 128 $(vm_disk "$1.disk") <<'END_OF_JOB'
mount -t ext4 -o ro /dev/vda /mnt || say "no root"
mount -o move /proc /mnt/proc
mount -o move /dev /mnt/dev
exec switch_root /mnt /sbin/init
END_OF_JOB
	vm_ends "$1"
	bytes=$(($(read_bytes) - before))
	for what in root again; do
		test "$(vm_line "$1" "^guest: $what ")" = "guest: $what $want" ||
			complain "$1 read something else: $(vm_tail "$1")"
	done
	echo "$1: $((bytes >> 10)) KiB of the image were read"
}

make_image
# shellcheck disable=SC2046
start --memory 128M --arena "$arena" $(cache_disk one) $(cache_disk two)
boot one
first=$bytes
test "$first" -gt $((20 << 20)) || complain "the first read too little: how is that counted?"
boot two
test "$bytes" -le $((first / 10)) || complain "the second reads more than a tenth of that"
end
finish
