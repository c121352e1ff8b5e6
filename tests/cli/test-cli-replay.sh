#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem replay: persistent pages come back, ephemeral ones give way; a limit that
# cannot be, an arena that is none, a source that is not there: one sentence.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
needs_json

make_dump 600 >dump
mkdir files && make_dump 900 >files/a && head -c 5000 files/a >files/b
start_sample

# Room for all: everything comes back, the ephemeral too.
expect 0 replay --json --pages dump --directory files --memory 16M
json '@{$j->{clients}} == 2'
json '!grep { !keys_include($_, qw(pages same_filled identical refused evicted
	verified wrong lost put_ns get_ns)) } @{$j->{clients}}'
json '!grep { $_->{wrong} || $_->{lost} || $_->{refused} || $_->{evicted} }
	@{$j->{clients}}'
json '$j->{clients}[0]{verified} == 600 && $j->{clients}[1]{verified} == 902'
json '$j->{clients}[0]{same_filled} == 60 && $j->{clients}[0]{identical} == 58'

# Too little: ephemeral pages are evicted, none of the persistent is lost.
expect 0 replay --json --pages dump --directory files --memory 1280K
json '!grep { $_->{wrong} || $_->{lost} } @{$j->{clients}}'
json '$j->{clients}[1]{evicted} > 0'
json '$j->{clients}[0]{verified} + $j->{clients}[0]{refused} == 600'
json '$j->{arena_bytes} + $j->{metadata_bytes} <= 1280 * 1024'

# A live process, whatever it does meanwhile; another codec and allocator.
expect 0 replay --process "$sample" --memory 64M --codec none --allocator zbud
grep -q '0 wrong, 0 lost' out || complain "no verdict: $(cat out)"
grep -q '^none over zbud' out || complain "not with none over zbud"
expect 0 replay --pages dump --boot tmem_compress=none
grep -q '^none over' out || complain "the boot option does not choose the codec"

# In a file, twice: the second makes way for itself.
if test -d /dev/shm && arena=$(mktemp -u /dev/shm/tmem-cli-XXXXXX); then
	expect 0 replay --pages dump --memory 8M --arena "$arena"
	expect 0 replay --json --pages dump --memory 8M --arena "$arena"
	json '$j->{clients}[0]{verified} == 600 && $j->{pages} == 600'
	rm -f "$arena"
fi

expect 2 replay
says "nothing to replay"
expect 2 replay --pages dump --memory 0
says "too little"
expect 2 replay --pages dump --most 1K
says 'less than a page'
expect 2 replay --pages dump --memory lots
says '"lots" is not a size'
expect 1 replay --pages dump --memory 1000000T
says "out of range"
expect 2 replay --pages dump,wait=3
says 'unknown attribute "wait"'
expect 1 replay --pages dump,reservation=1G --memory 8M
says "reservation"
expect 1 replay --pages dump --codec lz7
says 'no codec "lz7"'
expect 1 replay --pages dump --codec none:3
says 'codec none has no levels'
expect 2 replay --pages dump --boot tmem_compres=zstd
says 'nearest known one is "tmem_compress"'
expect 1 replay --pages dump --boot no-tmem
says "switched off"
expect 1 replay --process 2147483647
says "there is no such process"
expect 1 replay --directory no-such-folder
says "no-such-folder"
expect 1 replay --pages no-such-file
says "no-such-file: cannot be opened"
head -c 5000 dump >odd
expect 1 replay --pages odd
says "not a multiple of 4096"
if test -d /dev/shm && other=$(mktemp /dev/shm/tmem-cli-XXXXXX); then
	head -c 8192 dump >"$other"
	before=$(sha256sum "$other")
	expect 1 replay --pages dump --memory 8M --arena "$other"
	says "is not a tmem arena"
	test "$before" = "$(sha256sum "$other")" || complain "a file that is no arena was changed"
	rm -f "$other"
fi
finish
