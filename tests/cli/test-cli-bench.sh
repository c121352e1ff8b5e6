#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem bench: the keys that programs rely on. No time is asserted.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
needs_json

make_dump 600 >dump
expect 0 bench store --json --pages dump --rounds 1
json 'keys_include($j, qw(pages page_size same_filled results))'
json '$j->{pages} == 600 && $j->{same_filled} == 60 && @{$j->{results}} == 1'
json 'keys_include($j->{results}[0], qw(codec allocator level compressed_bytes
	arena_bytes metadata_bytes ratio effective_ratio put_ns get_ns
	raw_compress_ns raw_decompress_ns memcpy_ns grow_ns puts_per_s
	gets_per_s overhead density))'
json 'keys_are($j->{results}[0]{$_}, qw(p50 p99 mean)) for qw(put_ns get_ns); 1'
json 'keys_are($j->{results}[0]{density}, qw(static churn free70 free70_1s))'
json 'my $r = $j->{results}[0]; abs($r->{overhead} - ($r->{arena_bytes} +
	$r->{metadata_bytes}) / $r->{compressed_bytes}) < 1e-3'
json 'my $r = $j->{results}[0];
	abs($r->{density}{static} - $r->{compressed_bytes} / $r->{arena_bytes}) < 1e-3'
json '!grep { $_ <= 0 || $_ > 1 } values %{$j->{results}[0]{density}}'
expect 0 bench store --json --pages dump --rounds 1 --codec none \
	--allocator zbud --threads 1 --memory 64M
json '$j->{results}[0]{codec} eq "none" && $j->{results}[0]{allocator} eq "zbud"'

expect 0 bench codec --json --pages dump --rounds 1
json '@{$j->{results}} >= 1'
expect 0 bench alloc --json --pages dump --rounds 1
json '@{$j->{results}} >= 1'
if command -v gnuplot >/dev/null; then
	expect 0 bench codec --pages dump --rounds 1 --plot plot.svg
	grep -q '</svg>' plot.svg || complain "--plot made no SVG"
fi
expect 2 bench
expect 2 bench stor
says 'the nearest is "store"'
expect 2 bench store --codec lz7
expect 2 bench store --threads 0
says "not a number"
expect 1 bench store --pages no-such-file
says "no-such-file: cannot be opened"
finish
