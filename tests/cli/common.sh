# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of the program: a scratch folder, and what a call must
# answer. A test ends with `finish`, and has failed if anything complained.
# shellcheck shell=bash
set -u
: "${abs_top_srcdir:?run by make check}"
failed=0
scratch=$(mktemp -d) || exit 1
# What ends with the test: its own processes, and others that it has caused.
started=
caused=
stop()
{
	local pid
	for pid in $started; do
		! is_running "$pid" || kill "$pid" 2>/dev/null
	done
	# shellcheck disable=SC2086
	test -z "$caused" || kill $caused 2>/dev/null
	rm -rf "$scratch"
}
trap stop EXIT
cd "$scratch" || exit 1

# is_running PROCESS: of the test's own. The number of one that has ended may be
# somebody else's by now.
is_running()
{
	local pid
	for pid in $(jobs -pr); do
		test "$pid" != "$1" || return 0
	done
	return 1
}

# With TM_FIRST_COMPLAINT set it is also the last.
complain()
{
	echo "FAILED: $*"
	failed=1
	test -z "${TM_FIRST_COMPLAINT:-}" || exit 1
}

finish()
{
	exit $failed
}

skip()
{
	echo "skipped: $*"
	exit 77
}

# within SECONDS COMMAND...: tries it until it succeeds.
within()
{
	local until=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		test $SECONDS -lt $until || return 1
		sleep 0.05
	done
}

# expect STATUS ARGUMENT...: `tmem ARGUMENT...` ends with STATUS; what it
# printed is in ./out and ./err.
expect()
{
	local want=$1 got
	shift
	called="tmem $*"
	tmem "$@" >out 2>err </dev/null
	got=$?
	test $got = "$want" ||
		complain "$called: status $got instead of $want: $(cat err)"
}

# says TEXT: the last call's standard error has TEXT in one line.
says()
{
	grep -qF -- "$1" err || complain "$called: does not say \"$1\": $(cat err)"
	test "$(wc -l <err)" = 1 || complain "$called: more than one line: $(cat err)"
}

# json EXPRESSION: true of the last call's output, which is $j in perl.
json()
{
	perl -MJSON::PP -MList::Util=sum -e '
		local $/;
		open my $file, "<", "out" or die;
		my $j = decode_json(<$file>);
		sub keys_are {
			my ($hash, @want) = @_;
			my $got = join " ", sort keys %$hash;
			return $got eq join(" ", sort @want) ||
				(print("keys: $got\n"), 0)[1];
		}
		sub keys_include {
			my ($hash, @want) = @_;
			my @missing = grep { !exists $hash->{$_} } @want;
			print "missing: @missing\n" if @missing;
			return !@missing;
		}
		exit !eval($ARGV[0]) || 0;
	' "$1" || complain "$called: not so: $1"
}

needs_json()
{
	perl -MJSON::PP -e 1 2>/dev/null || skip "perl has no JSON::PP (Debian: perl)"
}

# Pages that compress as memory does, a few of one word among them: a dump of
# $1 pages, all different but for every tenth.
make_dump()
{
	perl -e '
		my ($pages, $n) = ($ARGV[0], 1);
		binmode STDOUT;
		for my $page (1 .. $pages) {
			if ($page % 10 == 0) {
				print pack("Q<", $page / 10 % 2) x 512;
				next;
			}
			my $text = "";
			while (length $text < 4096) {
				$n = ($n * 1103515245 + 12345) % 2147483648;
				$text .= pack("Q<V", 0x7f00_0000_0000 + 64 * ($n % 4096),
					$n >> 16) . "key$page ";
			}
			print substr $text, 0, 4096;
		}' "$1"
}

# A process of our own with some memory in it; $sample is its id.
start_sample()
{
	mkfifo ready
	perl -e '
		my %h = map { ("key$_" => [$_, "value" . 7 * $_]) } 1 .. 20000;
		$| = 1;
		print "ready\n";
		sleep 300;' >ready &
	sample=$!
	started="$started $sample"
	read -r _ <ready
}
