#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem dom0-mem: the worked table of what dom0 loses, the grammar of dom0_mem
# with its edges, maps from boot logs, hostile ones among them, and a running
# dom0 read from a copy of its files.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
needs_json

dom0()
{
	expect 0 dom0-mem --host 16G --e820 none --json "$@"
}
# base MIB STRING [OPTION]...: what dom0 boots with, of 16 GiB without holes
base()
{
	local want=$1 string=$2
	shift 2
	dom0 --dom0-mem "$string" "$@"
	json "\$j->{base_mib} == $want"
}
# wrong TEXT STRING [OPTION]...
wrong()
{
	local text=$1 string=$2
	shift 2
	expect 1 dom0-mem --host 16G --e820 none --dom0-mem "$string" "$@"
	says "$text"
	test -s out && complain "$called: prints a result all the same"
}

# The worked table: base, host in GiB, extra, metadata, waste, waste in %.
while read -r base host extra metadata waste pct; do
	for more in 0 1; do
		expect 0 dom0-mem --host $((host + more * (base != 2048 || host == 22)))G \
			--dom0-mem "${base}M" --e820 none --json
		json "\$j->{base_mib} == $base && \$j->{extra_mib} == $extra &&
			\$j->{metadata_mib} == $metadata && \$j->{waste_mib} == $waste &&
			abs(\$j->{waste_pct} - $pct) < 0.05"
	done
done <<-EOF
	512 6 5120 110 100 19.5
	1024 11 10240 220 200 19.5
	2048 16 14336 320 280 13.7
	2048 22 20480 440 400 19.5
	4096 44 40960 880 800 19.5
	8192 88 81920 1760 1600 19.5
EOF
json 'keys_are($j, qw(host_mib xen_mib available_mib base_mib max_mib extra_mib
	extra_bound hole_mib moved_mib released_mib metadata_mib metadata
	waste_mib waste_pct swiotlb_mib mem_total_mib target_kb advice notes map))'
json '$j->{extra_bound} eq "ratio" && !defined $j->{max_mib}'

# The ceiling removes the waste, from the versions on that know it.
dom0 --dom0-mem 2G,max:2G
json '$j->{waste_mib} == 0 && $j->{metadata_mib} == 40 && $j->{max_mib} == 2048 &&
	$j->{extra_bound} eq "ceiling" && $j->{target_kb} == 2097152 &&
	$j->{advice}{xen} eq "dom0_mem=2G,max:2G" &&
	$j->{advice}{dom0} =~ m{^echo 2097152 > /sys/.*/target_kb$}'
for versions in "4.1.1 5.2 280" "4.1.2 5.2 0" "4.2 3.0.4 280" "4.2 3.0.5 0"; do
	read -r xen linux waste <<<"$versions"
	dom0 --dom0-mem 2G,max:2G --xen "$xen" --linux "$linux"
	json "\$j->{waste_mib} == $waste && $waste ==
		280 * grep { /max: does nothing/ } @{\$j->{notes}}"
done
dom0 --dom0-mem 2G --kernel classic
json '$j->{waste_mib} == 0 && $j->{metadata_mib} == 40 && $j->{extra_mib} == 0'

# The grammar. 16 GiB less Xen's own tables are 16224 MiB.
base 2048 2G
base 2048 dom0_mem=2G
base 2048 2048M
base 2048 2048m
base 2048 2097152
base 2048 2097152k
base 2048 0x200000
base 2048 010000000
base 2048 2147483648B
base 2048 2147487743b
base 16224 1T
base 2048 1G,2G
base 1024 2G,1G
base 3072 2G,min:3G
base 1024 2G,max:1G
base 1024 min:3G,max:1G
base 2048 max:1G,2G,max:4G
base 512 512M,max:1G
json '$j->{max_mib} == 1024 && $j->{extra_mib} == 512'
base 15200 -1G
base 15200 -1024M,max:-512M
json '$j->{max_mib} == 15712'
base 8112 50%
base 16096 0
base 16096 0%
base 16096 min:1G
base 16096 max:1T
json '$j->{max_mib} == 1048576'
base 16224 max:1T,1T
# 256 GiB less 2560 MiB
expect 0 dom0-mem --host 256G --e820 none --json --dom0-mem 1G+25%
json '$j->{base_mib} == 1024 + 259584 * 0.25'
expect 0 dom0-mem --host 256G --e820 none --json --dom0-mem=-1G+25%
json '$j->{base_mib} == 259584 - 1024 - 259584 * 0.25'
expect 0 dom0-mem --host 1G --e820 none --json
json '$j->{base_mib} == 1014 - 1014 / 16'

wrong "a number is missing" ""
wrong "a number is missing" 1G,
wrong "a number is missing" ,1G
wrong "a number is missing" max:
wrong "a number is missing" --1G
wrong "a number is missing" +1G
wrong "a number is missing" " 1G"
wrong "a number is missing" maximum:1G
wrong "is no unit" 1X
wrong "is no unit" "1G "
wrong "is no unit" 0x
wrong "is no unit" 09
wrong "is no unit" 1.5G
wrong "is no unit" 1GB
wrong "is no unit" 1G%
wrong "only a percentage" 1G+1G
wrong "nothing may follow" 25%+1G
wrong "nothing may follow" 25%25%
wrong "nothing may follow" 1G+25%+1G
wrong "not below 100%" 100%
wrong "not below 100%" 1G+101%
wrong "too large a number" 18446744073709551616
wrong "too large a number" 16777216T
wrong "too large a number" 18014398509481984
wrong "less than nothing" -17G
wrong "less than nothing" -1T,max:2G
wrong "min: all but" min:-17G
wrong "max: all but" 1G,max:-17G
wrong "no memory at all" max:0
# All but exactly everything is nothing, and so the default.
base 16096 -16224M
# Older ones stop reading without a word; percents are 4.12's.
wrong "percents are known since Xen 4.12" 25% --xen 4.11
wrong "is no unit" 1G,2X --xen 4.10
base 1024 1G,2X,max:2G --xen 4.9
json 'grep { /stops reading at "2X,max:2G"/ } @{$j->{notes}}'

# Holes: a machine with 2 GiB below the devices, 2 above; dom0 gets 3.
cat >log <<-EOF
	[    0.000000] Linux version 5.2.21 (BIOS-e820 is no mark without a colon)
	[    0.000000] BIOS-provided physical RAM map:
	[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009ffff] usable
	[    0.000000] BIOS-e820: [mem 0x00000000000a0000-0x00000000000fffff] reserved
	[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x000000007fffffff] usable
	[    0.000000] BIOS-e820: [mem 0x00000000fec00000-0x00000000fec0ffff] type 20
	[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000017fffffff] usable
	[    0.000000] e820: update [mem 0x00000000-0x00000fff] usable ==> reserved
EOF
expect 0 dom0-mem --e820 log --dom0-mem 3G,max:3G --json
json '$j->{host_mib} == 4095.625 && $j->{hole_mib} == 1024.375 &&
	$j->{moved_mib} == 1024.375 && $j->{released_mib} == 0 &&
	$j->{extra_mib} == 0'
json 'join(" ", map { "$_->{use}:$_->{start_mib}-$_->{end_mib}" } @{$j->{map}}) eq
	"memory:0-0.625 hole:0.625-1 memory:1-2048 hole:2048-4096 " .
	"moved:4096-5120.375 not-dom0:5120.375-6144"'
expect 0 dom0-mem --e820 log --dom0-mem 3G,max:3G --json --linux 3.4
json '$j->{hole_mib} == 1024.375 && $j->{moved_mib} == 0 &&
	$j->{released_mib} == 1024.375 && $j->{extra_mib} == 1024.375 &&
	abs($j->{metadata_mib} - 60) < 1e-3'
expect 0 dom0-mem --e820 log --dom0-mem 3G --json --kernel classic
json '$j->{hole_mib} == 0 && $j->{released_mib} == 0'
# More than there is room for above.
expect 0 dom0-mem --e820 log --dom0-mem 1T --json
json '$j->{released_mib} == 0 && $j->{extra_mib} > 0 && $j->{extra_mib} < 64'
expect 0 dom0-mem --e820 log --host 4G --dom0-mem 3G
grep -q 'dom0_mem=3G,max:3G' out || complain "no advice"
expect 1 dom0-mem --e820 log --host 64G --dom0-mem 3G
says "is of a machine with 4.0 GiB, not 64.0 GiB"

# The other ways to print it.
cat >old <<-EOF
	 BIOS-e820: 0000000000000000 - 00000000000a0000 (usable)
	 BIOS-e820: 0000000000100000 - 0000000080000000 (usable)
	 BIOS-e820: 0000000080000000 - 0000000080001000 (ACPI NVS)
EOF
cat >xen <<-EOF
	(XEN) Xen version 4.12.1 (Debian) Mon Jan 1 00:00:00 UTC 2019
	(XEN) Command line: dom0_mem=2G
	(XEN) Xen-e820 RAM map:
	(XEN)  0000000000000000 - 00000000000a0000 (usable)
	(XEN)  0000000000100000 - 0000000080000000 (usable)
EOF
cat >new <<-EOF
	(XEN) [2020-01-01 10:00:00] EFI RAM map:
	(XEN) [2020-01-01 10:00:00]  [0000000000000000, 000000000009ffff] (usable)
	(XEN)  [0000000000100000, 000000007fffffff] (usable)
EOF
printf 'Xen: [mem 0x0-0x9ffff] usable\r\n(no concern\0of ours)\nXen: [mem 0x100000-0x7fffffff] usable' >short
for log in old xen new short; do
	expect 0 dom0-mem --e820 $log --dom0-mem 1G --json
	json '$j->{host_mib} == 2047.625'
done

# Hostile ones name the line.
hostile()
{
	printf '%s\n' "junk" "BIOS-e820: [mem 0x100000-0x7fffffff] usable" "$2" >bad
	expect 1 dom0-mem --e820 bad --dom0-mem 1G
	says "$1"
	says "bad, line 3"
}
hostile "it overlaps" "BIOS-e820: [mem 0x7fffffff-0x8fffffff] usable"
hostile "not sorted" "BIOS-e820: [mem 0x0-0x9ffff] usable"
hostile "ends before it begins" "BIOS-e820: [mem 0x90000000-0x8ffffffe] usable"
hostile "ends before it begins" "BIOS-e820: 90000000 - 90000000 (usable)"
hostile "no processor" "BIOS-e820: [mem 0x90000000-0xffffffffffffffff] usable"
hostile "no processor" "BIOS-e820: [mem 0x90000000-0x10000000000000] usable"
hostile "no range" "BIOS-e820: [mem 0x90000000-0x1ffffffffffffffff] usable"
hostile "no range" "BIOS-e820: [mem 0x90000000"
hostile "no range" "BIOS-e820: nonsense"
hostile "no range" "BIOS-e820: [mem -0x1-0x90000000] usable"
hostile "no range" "BIOS-e820: [mem 0x90000000-0x9fffffff) usable"
hostile "nobody knows" "BIOS-e820: [mem 0x90000000-0x9fffffff] edible"
hostile "nobody knows" "BIOS-e820: [mem 0x90000000-0x9fffffff]"
hostile "nobody knows" "BIOS-e820: [mem 0x90000000-0x9fffffff] $(printf '%0500d' 0)"
perl -e 'printf "BIOS-e820: [mem 0x%x-0x%x] usable\n", $_ << 20, ($_ << 20) + 4095
	for 0 .. 1024' >many
expect 1 dom0-mem --e820 many
says "many, line 1025: more than 1024 ranges"
echo "BIOS-e820: [mem 0x0-0x9ffff] reserved" >nothing
expect 1 dom0-mem --e820 nothing
says "there is no memory in it"
head -c 100000 /dev/urandom >noise
expect 1 dom0-mem --e820 noise
expect 1 dom0-mem --e820 .
expect 1 dom0-mem --e820 no-such-file
says "no-such-file"
expect 1 dom0-mem --dom0-mem 1G
says "how much memory has the machine?"
expect 2 dom0-mem --host 0
says "is not the memory of a machine"
expect 2 dom0-mem --host 4194304T
expect 2 dom0-mem --xen four
expect 2 dom0-mem --linux 5.x
expect 2 dom0-mem --kernel pv
expect 2 dom0-mem 2G
says "one argument too many"

# A running dom0.
if ! grep -q control_d /proc/xen/capabilities 2>/dev/null; then
	expect 1 dom0-mem
	says "name --host and --dom0-mem"
fi
balloon=root/sys/devices/system/xen_memory/xen_memory0
expect 1 dom0-mem --root no-such-root
says '--root: no-such-root: No such file'
mkdir -p root/sys/hypervisor/version root/proc/xen root/proc/sys/kernel $balloon/info
echo xen >root/sys/hypervisor/type
expect 1 dom0-mem --root root
says "not dom0"
echo control_d >root/proc/xen/capabilities
echo 4 >root/sys/hypervisor/version/major
echo 8 >root/sys/hypervisor/version/minor
echo .5-pre >root/sys/hypervisor/version/extra
echo 4.19.0-6-amd64 >root/proc/sys/kernel/osrelease
expect 1 dom0-mem --root root
says "says how much memory dom0 has"
echo 1048576 >$balloon/info/current_kb
expect 1 dom0-mem --root root
says "memmap"
entry()
{
	mkdir -p "root/sys/firmware/memmap/$1"
	echo "$2" >"root/sys/firmware/memmap/$1/start"
	echo "$3" >"root/sys/firmware/memmap/$1/end"
	echo "$4" >"root/sys/firmware/memmap/$1/type"
}
entry 0 0x100000000 0x47fffffff "System RAM"
entry 1 0x0 0x7fffffff "System RAM"
entry 2 0xfec00000 0xfec0ffff "Reserved"
expect 0 dom0-mem --root root --json
json '$j->{base_mib} == 1024 && $j->{host_mib} == 16384 &&
	$j->{running}{current_kb} == 1048576'
printf 'host: x\nxen_commandline        : placeholder dom0_mem=2G,max:3G loglvl=all\n' \
	>root/xl-info
echo "MemTotal:        1933312 kB" >root/proc/meminfo
expect 0 dom0-mem --root root --json
json '$j->{base_mib} == 2048 && $j->{max_mib} == 3072 &&
	$j->{running}{dom0_mem} eq "dom0_mem=2G,max:3G" &&
	$j->{running}{mem_total_kb} == 1933312'
entry 3 0x1000 0x1fff "System RAM"
expect 1 dom0-mem --root root
says "no map of memory"

if command -v gnuplot >/dev/null; then
	expect 0 dom0-mem --e820 log --dom0-mem 3G --plot plot.svg
	grep -q '</svg>' plot.svg || complain "--plot made no SVG"
fi
finish
