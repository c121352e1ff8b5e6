#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem estimate: every codec with every allocator; sums that fit together; JSON
# keys that programs rely on.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
needs_json

make_dump 500 >dump
expect 0 plugins --json
json '@{$j->{codecs}} && @{$j->{allocators}}'
pairs=$(perl -MJSON::PP -e 'local $/; my $j = decode_json(<>);
	print @{$j->{codecs}} * @{$j->{allocators}}' out)

expect 0 estimate --json --pages dump
json 'keys_are($j, qw(pages page_size same_filled results))'
json '$j->{pages} == 500 && $j->{page_size} == 4096 && $j->{same_filled} == 50'
json "@{\$j->{results}} == $pairs"
json '!grep { !keys_are($_, qw(codec allocator level compressed_bytes
	arena_bytes metadata_bytes ratio effective_ratio put_ns get_ns)) }
	@{$j->{results}}'
json '!grep { !keys_are($_->{put_ns}, qw(p50 p99 mean)) ||
	!keys_are($_->{get_ns}, qw(p50 p99 mean)) } @{$j->{results}}'
# 450 pages went to the codec, 500 were put.
json '!grep { abs($_->{ratio} - 450 * 4096 / $_->{compressed_bytes}) > 1e-3 }
	@{$j->{results}}'
json '!grep { abs($_->{effective_ratio} - 500 * 4096 /
	($_->{arena_bytes} + $_->{metadata_bytes})) > 1e-3 } @{$j->{results}}'
json '!grep { $_->{arena_bytes} < $_->{compressed_bytes} } @{$j->{results}}'
json '!grep { $_->{codec} eq "none" && $_->{ratio} != 1 } @{$j->{results}}'
json '!grep { $_->{codec} ne "none" && $_->{ratio} < 1.5 } @{$j->{results}}'
json '!grep { $_->{put_ns}{p50} > $_->{put_ns}{p99} || !$_->{get_ns}{p50} }
	@{$j->{results}}'

# Chosen ones, in the order given.
expect 0 estimate --json --pages dump --codec none --allocator zbud
json '@{$j->{results}} == 1 && $j->{results}[0]{codec} eq "none" &&
	$j->{results}[0]{allocator} eq "zbud"'

# A sample: at most so many, evenly spread, so that every tenth stays one in ten
# or none.
expect 0 estimate --json --pages dump --codec none --allocator zbud --sample 100
json '$j->{pages} == 63'
expect 0 estimate --json --pages dump --codec none --allocator zbud --sample all
json '$j->{pages} == 500'

# For people, of files and of a process.
expect 0 estimate --file dump dump --codec none
grep -q '^1000 pages' out || complain "two files of 500 pages: $(head -n 1 out)"
start_sample
expect 0 estimate --pid "$sample" --codec none
grep -q '^none .* zsmalloc' out || complain "no result for a process"

if command -v gnuplot >/dev/null; then
	expect 0 estimate --pages dump --codec none --plot plot.svg
	grep -q '<svg' plot.svg && grep -q '</svg>' plot.svg || complain "--plot made no SVG"
	expect 1 estimate --pages dump --codec none --plot no-such-folder/plot.svg
	says "no-such-folder/plot.svg"
	# A gnuplot whose writes fail, and that does not notice.
	mkdir full
	printf '#!/bin/sh\ncat >/dev/null\n' >full/gnuplot
	chmod +x full/gnuplot
	before=$(sha256sum plot.svg)
	PATH=$scratch/full:$PATH expect 1 estimate --pages dump --codec none --plot plot.svg
	says "plot.svg: gnuplot could not write all of it"
	test "$before" = "$(sha256sum plot.svg)" || complain "the old drawing is gone"
	test -e plot.svg.tmp && complain "half a drawing stays"
fi
expect 2 estimate
says "for what?"
expect 2 estimate --pages dump --pid 1
says "at a time"
expect 2 estimate --pages dump --codec nome
says 'the nearest is "none"'
expect 2 estimate --pages dump --allocator zbut
says 'the nearest is "zbud"'
expect 2 estimate --pages dump --codec none:x
says 'codec none has no levels'
expect 1 estimate --pid 2147483647
says "there is no such process"
head -c 5000 dump >odd
expect 1 estimate --pages odd
says "not a multiple of 4096"
: >empty
expect 1 estimate --pages empty
says "is empty"
expect 1 estimate --file no-such-file
says "no-such-file: cannot be opened"
mkdir folder
expect 1 estimate --file folder
says "there is no page"
finish
