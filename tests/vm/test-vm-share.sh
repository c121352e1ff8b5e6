#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Two guests swap at once, with different weights and reservations, and a third
# of their pages are the same. In one trust domain, with dedup, at least 0.9 of
# that third is kept once; in domains of their own, nothing is.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"
mib=192
shared_mib=64
needs_json

# count FIELD: of all the store has.
count()
{
	tmem stats --json >out || complain "tmem stats failed"
	perl -MJSON::PP -e 'local $/; print decode_json(<STDIN>)->{counts}{$ARGV[0]}' \
		"$1" <out
}

guest()
{
	local name=$1 seed=$2
	# shellcheck disable=SC2046
	vm_start "$name" 128 $(vm_disk "$name.disk") <<END_OF_JOB
swap_on /dev/vda
guest_load $mib $seed $shared_mib out wait verify free
END_OF_JOB
}

# both DOMAIN DOMAIN: the two guests, each in a trust domain; sets $shared.
both()
{
	# shellcheck disable=SC2046
	start --memory 512M --arena "$arena" --boot tmem_dedup \
		--dedup-persistent on \
		$(swap_disk "one$1" 512M ",weight=100,reservation=128M,domain=$1") \
		$(swap_disk "two$2" 512M ",weight=300,reservation=64M,domain=$2")
	guest "one$1" 1
	guest "two$2" 2
	vm_awaits "one$1" && vm_awaits "two$2" || finish
	shared=$(count shared_copies)
	echo "domains $1 and $2: $(count pages) pages, $shared kept once," \
		"$(count same_filled) of one word"
	vm_tell "one$1"
	vm_tell "two$2"
	vm_ends "one$1"
	vm_ends "two$2"
	vm_verified "one$1" 1
	vm_verified "two$2" 1
	end
	rm -f "$arena"
}

# Pages of zeros, one in 16, take no room to begin with.
both 7 7
want=$((shared_mib * 256 * 15 / 16 * 9 / 10))
test "$shared" -ge "$want" || complain "$shared pages are kept once, not $want"
both 8 9
test "$shared" = 0 || complain "$shared pages are shared across trust domains"
finish
