#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# `tmem bench` answers with every key that was promised, whatever the figures
# are, and says what is wrong with bad input. No figure of time is judged.
set -u
failed=0
complain()
{
	echo "$*"
	failed=1
}
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
tmem=${abs_top_builddir:?run by make check}/tmem
TMPDIR=$dir
export TMPDIR

# Pages that compress, and some of one repeated word.
perl -e 'srand 1; for my $p (1 .. 300) {
	print $p % 10 ? substr(join(" ", map { int rand 1000 } 1 .. 2000), 0, 4096)
		: chr($p % 256) x 4096 }' >"$dir/dump"

run()
{
	"$tmem" bench "$@" >"$dir/out" 2>"$dir/err"
}

# says STATUS PATTERN ARGUMENT...
says()
{
	status=$1 pattern=$2
	shift 2
	run "$@"
	got=$?
	test $got = "$status" || complain "bench $*: status $got, not $status"
	grep -qi -e "$pattern" "$dir/err" ||
		complain "bench $*: no \"$pattern\" in: $(cat "$dir/err")"
	test ! -s "$dir/out" || complain "bench $*: something on standard output"
}

# has KEY...: in the JSON that was printed, as a path of keys
has()
{
	for key; do
		perl -e '
			local $/; my $json = <STDIN>;
			exit !($json =~ /"\Q$ARGV[0]\E":/)' "$key" <"$dir/out" ||
			complain "no key \"$key\""
	done
}

run store --json --pages "$dir/dump" --rounds 1 || complain "$(cat "$dir/err")"
has pages page_size same_filled results codec allocator level \
	compressed_bytes arena_bytes metadata_bytes ratio effective_ratio \
	put_ns get_ns p50 p99 mean raw_compress_ns raw_decompress_ns \
	memcpy_ns grow_ns puts_per_s gets_per_s overhead density static churn \
	free70 free70_1s put_ratio put_unstable_ratio get_ratio budgets \
	history cpu_factor pages_factor
grep -q '"pages": 300' "$dir/out" || complain "not 300 pages"
grep -q '"same_filled": 30' "$dir/out" || complain "not 30 same-filled pages"
grep -q '"refused": 0' "$dir/out" || complain "puts were refused"

run codec --json --pages "$dir/dump" --rounds 1 || complain "$(cat "$dir/err")"
has results codec level library ratio compress_ns decompress_ns memcpy_ns
for codec in $TM_CODECS; do
	grep -q "\"codec\": \"$codec\"" "$dir/out" || complain "no codec $codec"
done

run alloc --json --pages "$dir/dump" --codec none || complain "$(cat "$dir/err")"
has results allocator alloc_ns free_ns malloc_ns density free70_1s

# The channel, to a daemon that is no more than that. memcached may be missing.
daemon=$abs_top_builddir/tests/front/ring_daemon
run channel --json --pages "$dir/dump" --rounds 1 --tmemd "$daemon" ||
	complain "$(cat "$dir/err")"
has processors results embedded_ns channel_ns channel_32_ns extra_ns ratio \
	alone_per_s slower_of_two_per_s budgets put get
grep -q '"codec": "none"' "$dir/out" || complain "channel: not with none"
run channel --pages "$dir/dump" --rounds 1 --codec none --tmemd "$daemon" ||
	complain "$(cat "$dir/err")"
grep -q '^ns per call, embedded' "$dir/out" || complain "channel: no table"
says 1 'cannot be started.*--tmemd' channel --pages "$dir/dump" \
	--tmemd "$dir/no-such-daemon"
says 1 'does not serve' channel --pages "$dir/dump" --tmemd true
says 1 'no-such-cache.*does not serve' channel --pages "$dir/dump" \
	--tmemd "$daemon" --memcached "$dir/no-such-cache"

# A table, of pages of its own, and JSON and a drawing beside it.
run codec --most-pages 200 --codec none --rounds 1 --save "$dir/saved" ||
	complain "$(cat "$dir/err")"
grep -q '^200 pages, each different' "$dir/out" ||
	complain "not 200 pages: $(head -n 1 "$dir/out")"
grep -q '"pages": 200' "$dir/saved" || complain "--save saved nothing"
if command -v gnuplot >/dev/null; then
	run store --pages "$dir/dump" --rounds 1 --plot "$dir/it's.svg" ||
		complain "$(cat "$dir/err")"
	grep -q '</svg>' "$dir/it's.svg" || complain "--plot drew nothing"
	run alloc --pages "$dir/dump" --codec none --plot "$dir/no/such.svg" &&
		complain "--plot into nowhere succeeded"
fi

# Fewer frames than pages: refused puts are said, not failed for.
run store --pages "$dir/dump" --rounds 1 --memory 700K --codec none ||
	complain "$(cat "$dir/err")"
grep -q 'puts were refused' "$dir/out" || complain "nothing was refused"

says 2 'what is to be measured'
says 2 'nearest is "store"' stroe
says 2 'nearest is --pages' store --page "$dir/dump"
says 2 'threads.*"0" is not a number from 1' store --threads 0
says 2 'not a size' store --memory much
says 2 'nearest is "zlib"' codec --codec zlub --pages "$dir/dump"
says 2 'codec none has no levels' codec --codec none:77 --pages "$dir/dump"
says 2 'nearest is "zbud"' alloc --allocator zbut --pages "$dir/dump"
says 1 'such file' store --pages "$dir/nothing"
says 1 'not a regular file' store --pages "$dir"
printf 'x' >>"$dir/dump"
says 1 'not a multiple of 4096' store --pages "$dir/dump"
: >"$dir/empty"
says 1 'empty' store --pages "$dir/empty"
head -c 8192 /dev/zero >"$dir/zeros"
says 1 'nothing to compress' store --pages "$dir/zeros"

# The manual page and --help know the same options.
"$tmem" bench --help | sed -n 's/^ *--\([a-z-]*\).*/\1/p' | sort >"$dir/help"
sed -n 's/^=item B<--\([a-z-]*\)>.*/\1/p' \
	"${abs_top_srcdir:?}/doc/tmem-bench.pod" | sort >"$dir/page"
cmp -s "$dir/help" "$dir/page" ||
	complain "--help and manual differ: $(diff "$dir/help" "$dir/page")"

# Nobody stays behind.
ps -e -o ppid= -o args= 2>/dev/null | grep "^ *1 perl -e my .want" >/dev/null &&
	complain "a perl process is left"
ps -e -o args= 2>/dev/null | grep "^$daemon" >/dev/null &&
	complain "a daemon is left"
ls -d "$dir"/tmem-bench-* >/dev/null 2>&1 && complain "a folder is left"
exit $failed
