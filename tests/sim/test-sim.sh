#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem sim: every scenario that ships can be played, twice with the same result;
# guests shrink where selfballooning is on, and keep a page cache; what tmem
# holds need not be read again.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
needs_json
export TMEM_SCENARIO_PATH=$abs_top_srcdir/data/scenarios
make_dump 400 >dump

# play NAME [OPTION]...: coarse, for it is quick.
play()
{
	local name=$1
	shift
	expect 0 sim "$name" --json --grain 128 --pages "$abs_dump" "$@"
}
abs_dump=$PWD/dump
# again NAME: what was played before
again()
{
	called="tmem sim $1"
	cp "of-$1" out
}

expect 0 sim --list
names=$(sed 's/ .*//' out)
for name in boot-storm eight-compiling idle-guest maxmem-above memory-only \
	noisy-neighbour refusing-host; do
	grep -q "^$name " out || complain "--list does not name $name"
done
expect 0 sim --list --json
json '@$j >= 7 && !grep { !keys_are($_, qw(scenario about)) } @$j'

for name in $names; do
	play "$name"
	json "\$j->{scenario} eq '$name' &&"' $j->{totals}{units} > 0 &&
		$j->{totals}{puts} > 0 &&
		keys_are($j, qw(scenario seed tmem grain duration_s guests
			totals)) &&
		keys_are($j->{totals}, qw(disk_reads disk_writes faults
			fault_s cpu_s tmem_s reads_saved puts refused units
			finished_s out_of_memory evicted)) &&
		!grep({ my $g = $_; grep { !keys_are($_, qw(t_s memory_mib
			page_cache_mib swapped_mib tmem_pages tmem_mib
			disk_reads disk_writes)) } @{$g->{series}} }
			@{$j->{guests}}) &&
		sum(map { $_->{totals}{disk_reads} } @{$j->{guests}}) ==
			$j->{totals}{disk_reads}'
	mv out "of-$name"
done

# The same again; another seed is another run.
play memory-only
cmp -s of-memory-only out || complain "the same scenario and seed gave two results"
play memory-only --seed 2
cmp -s of-memory-only out && complain "another seed gave the same result"

# Idle: it falls, step by step, and keeps a page cache. Without tmem: no fall.
again idle-guest
json '$j->{guests}[0]{series}[0]{memory_mib} == 5120'
json '$j->{guests}[0]{series}[-1]{memory_mib} < 700'
json '!grep { $_->{page_cache_mib} < 16 } @{$j->{guests}[0]{series}}'
json '(grep { $_->{t_s} == 180 } @{$j->{guests}[0]{series}})[0]{memory_mib} < 950'
play idle-guest --tmem off
json '$j->{tmem} eq "off" && $j->{totals}{puts} == 0 &&
	!grep { $_->{memory_mib} != 5120 || $_->{tmem_pages} }
	@{$j->{guests}[0]{series}}'

# More work than without, and fewer reads for each unit of it.
declare -A per_unit
for mode in off on; do
	play eight-compiling --tmem $mode
	per_unit[$mode]=$(perl -MJSON::PP -e 'local $/; my $j = decode_json(<>);
		printf "%d %d", $j->{totals}{units},
		1000 * $j->{totals}{disk_reads} / $j->{totals}{units}' out)
done
read -r off_units off_reads <<<"${per_unit[off]}"
read -r on_units on_reads <<<"${per_unit[on]}"
test "$on_units" -gt "$off_units" && test "$on_reads" -lt "$off_reads" ||
	complain "with tmem $on_units units, $on_reads reads per 1000;" \
		"without $off_units, $off_reads"

# A shared pool: the image is read from the disk by one guest for all.
sed 's/^shared = on/shared = off/' "$TMEM_SCENARIO_PATH/boot-storm.scenario" \
	>./alone.scenario
play ./alone.scenario
json '$j->{totals}{disk_reads} > '"$(perl -MJSON::PP -e 'local $/;
	print decode_json(<>)->{totals}{disk_reads}' of-boot-storm)"

# Who has a reservation keeps more than who has none; frontswap is refused
# beyond a cap, and every page is there all the same.
again noisy-neighbour
json '$j->{totals}{evicted} > 0'
again refusing-host
json '$j->{totals}{refused} > 0 && $j->{totals}{out_of_memory} == 0'
json '!grep { $_->{tmem_mib} > 129 } @{$j->{guests}[0]{series}}'

# maxmem above memory: the floor of Linux is above what the guest has.
again maxmem-above
json '$j->{guests}[0]{name} eq "linux" &&
	!grep { $_->{memory_mib} < 1024 } @{$j->{guests}[0]{series}}'
json '$j->{guests}[1]{series}[-1]{memory_mib} < 700'
again memory-only
json '!grep { $_->{series}[-1]{memory_mib} > 300 } @{$j->{guests}}'

# For people: all three, side by side; and drawn.
expect 0 sim memory-only --grain 128
for mode in off raw on; do
	grep -q "^$mode  " out || complain "no line for $mode"
done
if command -v gnuplot >/dev/null; then
	expect 0 sim memory-only --grain 128 --plot plot.svg
	grep -q '</svg>' plot.svg || complain "--plot made no SVG"
fi
expect 2 sim
says "one scenario is wanted"
expect 2 sim --list idle-guest
expect 2 sim idle-guest --tmem yes
says '"yes" is none of'
expect 2 sim idle-guest --grain 0
printf '[guest a"b]\nmemory = 512M\n' >./odd.scenario
expect 1 sim ./odd.scenario
says 'a guest needs a name'
expect 1 sim idle-gest
says 'the nearest is "idle-guest"'
expect 1 sim idle-guest --pages no-such-dump
finish
