# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests that boot guests, after which ./ is a scratch folder:
# real Linux guests, whose disks are tmemd's or another program's.
#
# A guest is QEMU with its memory in a shared memfd, as vhost-user demands, and
# a job, a shell script that it does when it is up (guest-init says what it can
# call). Its console is the file NAME.console, and NAME.say what it reads. Its
# root file system is in memory that is not swapped (ramfs): the pages of a tmpfs
# lie scattered on the swap disk, where each keeps Linux from discarding the 2 MiB
# around it.
#
# TMEM_GUEST_ACCEL=kvm|tcg: otherwise KVM if a Linux guest is up with it within
# some seconds, which is not so on every host that has a /dev/kvm. Without KVM a
# guest computes 10 to 20 times slower, and everything waits for lines on its
# console, never for a time.
# shellcheck shell=bash
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
vm_folder=$abs_top_builddir/tests/vm/guest
vm_patience=${TMEM_GUEST_PATIENCE:-300}
declare -A vm_process vm_in vm_told

# A container's /dev/shm is often of 64 MiB, where guests would see I/O errors
# and blame nobody.
vm_needs()
{
	local room_mib
	room_mib=$(df -Pm "$arena_dir" | awk 'NR == 2 { print $4 }')
	test "$room_mib" -ge "$1" ||
		skip "$(dirname "$arena_dir") has $room_mib MiB free, not $1"
	room_mib=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	test "$room_mib" -ge $(($1 + 512)) ||
		skip "$room_mib MiB of memory are available, not $(($1 + 512))"
}

vm_needs "${TMEM_GUEST_ROOM_MIB:-768}"
command -v qemu-system-x86_64 >/dev/null ||
	skip "no QEMU (Debian: qemu-system-x86)"
vm_made=$(bash "$abs_top_srcdir/tests/vm/make-guest.sh" "$vm_folder")
case $? in
0) ;;
77) echo "$vm_made"; exit 77 ;;
*) complain "make-guest.sh: $vm_made"; finish ;;
esac

# vm_start NAME MIB [QEMU-ARGUMENT...]: boots one; its job is standard input.
vm_start()
{
	local name=$1 mib=$2
	shift 2
	mkdir "$name.tree"
	cat >"$name.tree/job"
	# The kernel unpacks one archive after the other.
	(cat "$vm_folder/initramfs" &&
		cd "$name.tree" && echo job | cpio --quiet -o -H newc) \
		>"$name.initramfs"
	mkfifo "$name.say"
	# Open for both, so that neither side waits for the other.
	exec {vm_in[$name]}<>"$name.say"
	: >"$name.console"
	# shellcheck disable=SC2086
	qemu-system-x86_64 $vm_accel -m "$mib" -nodefaults -no-user-config \
		-no-reboot -display none \
		-object "memory-backend-memfd,id=ram,size=${mib}M,share=on" \
		-machine pc,memory-backend=ram,usb=off,vmport=off \
		-kernel "$vm_folder/kernel" -initrd "$name.initramfs" \
		-append "console=ttyS0 quiet rootfstype=ramfs panic=-1 \
			mitigations=off nokaslr nowatchdog tsc=reliable \
			no_timer_check" \
		-chardev stdio,id=console,signal=off -serial chardev:console \
		"$@" <"$name.say" >"$name.console" 2>"$name.err" &
	vm_process[$name]=$!
	vm_told[$name]=0
	started="$started $!"
}

# vm_disk SOCKET: prints arguments for a disk that is served there. QEMU waits
# for a back end that goes away, and comes back to it.
vm_disk()
{
	local id
	id=disk$(basename "$1" | tr -c 'a-z0-9\n' -)
	echo "-chardev socket,id=$id,path=$1,$vm_reconnect" \
		"-device vhost-user-blk-pci,chardev=$id,num-queues=1"
}

# vm_says NAME PATTERN [SECONDS]: waits for a line that matches.
vm_says()
{
	local name=$1 pattern=$2 patience=${3:-$vm_patience}
	local until=$((SECONDS + patience))
	until grep -q -- "$pattern" "$name.console"; do
		if ! kill -0 "${vm_process[$name]}" 2>/dev/null &&
			! grep -q -- "$pattern" "$name.console"; then
			complain "$name ended without \"$pattern\":" \
				"$(vm_tail "$name")"
			return 1
		fi
		if test $SECONDS -ge $until; then
			complain "$name did not say \"$pattern\" in $patience s:" \
				"$(vm_tail "$name")"
			return 1
		fi
		sleep 0.05
	done
}

vm_tail()
{
	tail -n 12 "$1.console" | tr -d '\r'
	cat "$1.err"
}

# vm_awaits NAME: it has said so once more than it was told to go on.
vm_awaits()
{
	local name=$1 until=$((SECONDS + vm_patience))
	until test "$(grep -c '^guest: awaits' "$name.console")" -gt \
		"${vm_told[$name]}"; do
		if ! kill -0 "${vm_process[$name]}" 2>/dev/null ||
			test $SECONDS -ge $until; then
			complain "$name does not get that far: $(vm_tail "$name")"
			return 1
		fi
		sleep 0.05
	done
}

# vm_tell NAME: lets it go on that waits for that.
vm_tell()
{
	vm_awaits "$1" || return
	vm_told[$1]=$((vm_told[$1] + 1))
	echo >&"${vm_in[$1]}"
}

# vm_line NAME PATTERN: the last such line, without its end.
vm_line()
{
	grep -- "$2" "$1.console" | tail -n 1 | tr -d '\r'
}

# vm_ends NAME: it has done its job, and its kernel has seen no error.
vm_ends()
{
	vm_says "$1" '^guest: ends' || return
	vm_says "$1" '^guest: errors 0' 1
	wait "${vm_process[$1]}" || complain "QEMU of $1: $(cat "$1.err")"
	started=${started/ ${vm_process[$1]}/}
}

# vm_kill NAME: as a host destroys it.
vm_kill()
{
	kill -9 "${vm_process[$1]}"
	wait "${vm_process[$1]}" 2>/dev/null
	started=${started/ ${vm_process[$1]}/}
}

# All loads of the guest were right, and there were as many as that.
vm_verified()
{
	local count
	count=$(grep -c '^guest-load: verify ok' "$1.console")
	test "$count" = "$2" || complain "$1 verified $count times: $(vm_tail "$1")"
	grep '^guest-load: .* wrong' "$1.console" &&
		complain "$1 read wrong pages"
}

# The time of a command of guest_load, in milliseconds, all of them added up.
vm_ms()
{
	sed -n "s/^guest-load: $2 ok.* ms \([0-9]*\) .*/\1/p" "$1.console" |
		awk '{ ms += $1 } END { print ms + 0 }'
}

# --- what serves their disks

# A disk NAME is served at NAME.disk, by tmemd or by the reference,
# qemu-storage-daemon with a plain file in memory.

# swap_disk NAME SIZE [,KEY=VALUE...]: prints arguments for tmemd.
swap_disk()
{
	echo "--vhost-user-blk" \
		"name=$1,socket=$scratch/$1.disk,kind=swap,size=$2${3-}"
}

# What tmemd's pages take of the host's memory: the file has no other blocks.
arena_bytes()
{
	echo $(($(stat -c %b "$arena") * 512))
}

reference_start()
{
	command -v qemu-storage-daemon >/dev/null ||
		skip "no qemu-storage-daemon (Debian: qemu-utils)"
	truncate -s "$2" "$arena_dir/$1"
	qemu-storage-daemon \
		--blockdev "driver=file,node-name=file,filename=$arena_dir/$1,discard=unmap" \
		--export "type=vhost-user-blk,id=disk,addr.type=unix,addr.path=$scratch/$1.disk,node-name=file,writable=on" \
		</dev/null 2>reference.err &
	reference=$!
	started="$started $reference"
	within 30 test -S "$1.disk" ||
		{ complain "qemu-storage-daemon: $(cat reference.err)"; finish; }
}

reference_bytes()
{
	echo $(($(stat -c %b "$arena_dir/$1") * 512))
}

is_below()
{
	test "$("$2")" -lt "$1"
}

# --- how guests are run here

vm_choose_reconnect()
{
	local major
	major=$(qemu-system-x86_64 --version |
		sed -n 's/.*version \([0-9]*\)\..*/\1/p')
	if test "${major:-0}" -ge 10; then
		vm_reconnect=reconnect-ms=500
	else
		vm_reconnect=reconnect=1
	fi
}

vm_choose_accel()
{
	local tcg='-accel tcg,tb-size=64' kvm='-accel kvm -cpu host'
	case ${TMEM_GUEST_ACCEL-} in
	kvm) vm_accel=$kvm; return ;;
	tcg) vm_accel=$tcg; return ;;
	'') ;;
	*) complain "TMEM_GUEST_ACCEL is kvm or tcg"; finish ;;
	esac
	# Found out once.
	if ! test -s "$vm_folder/accel"; then
		echo tcg >"$vm_folder/accel"
		if test -w /dev/kvm; then
			vm_accel=$kvm
			vm_start probe 192 <<<:
			for _ in $(seq 100); do
				grep -q '^guest: up' probe.console && break
				kill -0 "${vm_process[probe]}" 2>/dev/null || break
				sleep 0.1
			done
			grep -q '^guest: up' probe.console &&
				echo kvm >"$vm_folder/accel"
			vm_kill probe
		fi
	fi
	vm_accel=$tcg
	test "$(cat "$vm_folder/accel")" = tcg || vm_accel=$kvm
}

vm_choose_reconnect
vm_choose_accel
