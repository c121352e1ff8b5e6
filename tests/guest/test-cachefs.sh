#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# examples/cachefs over a store of its own: reads that tmem saves, a verifying
# fio, any sequence of operations against a plain file, and a source that
# changes underneath.
. "${abs_top_srcdir:?run by make check}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/guest/example_common.sh"
. "$abs_top_srcdir/tests/guest/cachefs_common.sh"
trap 'unmount_all; stop' EXIT

# --- a slow source gets faster: it is read once instead of three times
for i in 1 2 3 4; do
	make_dump 256 | perl -pe "BEGIN { binmode STDIN } s/key/k$i/g" >src/f$i
done
mkdir src/dir
ln -s ../f1 src/dir/link
pages=$(cat src/f? | wc -c)
pages=$((pages / 4096))
for store in 0 64M; do
	mount --cache 1M --store $store --delay-us 50
	for _ in 1 2 3; do
		same f1 f2 f3 f4
	done
	test "$(readlink mnt/dir/link)" = ../f1 || complain "the link is another"
	test "$(ls -A mnt | sort | tr '\n' ' ')" = 'dir f1 f2 f3 f4 ' ||
		complain "other names: $(ls -A mnt)"
	unmount
	eval "reads_$store=$(number reads out)"
	echo "store $store: $(grep source: out)"
done
test "$reads_0" -ge $((3 * pages)) ||
	complain "without tmem: $reads_0 reads of $pages pages"
test "$reads_64M" -lt $((pages + pages / 8)) ||
	complain "with tmem: $reads_64M reads of $pages pages"

# --- others change the source; our copies are not believed
# kept FILE: its pages are here and in tmem, once its last change is a moment
# ago (until then nothing of it is kept for long).
kept()
{
	sleep 0.1
	same "$1" "$1"
}
mount --cache 64K --store 64M
kept f1
rm src/f1
make_dump 256 >src/f1
kept f1
printf changed | dd of=src/f1 bs=1 seek=500000 conv=notrunc 2>err.dd
kept f1
truncate -s 700000 src/f1
kept f1
cat src/f2 >>src/f1
kept f1
kept f2
truncate -s 0 src/f2
kept f2
rm src/f3
cat mnt/f3 2>/dev/null && complain "what was removed can be read"
unmount
grep -q 'changes [1-9]' out || complain "no change was seen: $(cat out)"
grep -q 'cleancache: hits [1-9]' out || complain "nothing was kept: $(cat out)"

# --- any sequence of operations, as on a plain file
mount --cache 32K --store 64M
seed=${TMEM_SEED:-$RANDOM}
echo "TMEM_SEED=$seed"
perl -e '
	use Fcntl;
	srand $ARGV[0];
	my @f = map { sysopen(my $f, $_, O_RDWR | O_CREAT) or die "$_: $!"; $f }
		"mnt/any", "plain";
	for my $step (1 .. 3000) {
		my ($op, $at) = (int rand 10, int rand 300000);
		my $size = int rand(rand() < 0.1 ? 40000 : 6000);
		if ($op == 0) {
			truncate $_, $at or die "truncate: $!" for @f;
		} elsif ($op < 4) {
			my $bytes = pack("V", $step) x (1 + $size / 4);
			for (@f) {
				sysseek $_, $at, 0;
				syswrite($_, $bytes) == length $bytes or die "write: $!";
			}
		} else {
			my @got = map {
				my $bytes;
				sysseek $_, $at, 0;
				defined sysread($_, $bytes, $size) or die "read: $!";
				$bytes } @f;
			$got[0] eq $got[1] or die "step $step: $size bytes at $at\n";
		}
	}' "$seed" || complain "not as a plain file is"
cmp plain mnt/any || complain "not as a plain file in the end"
cmp plain src/any || complain "the source is not as a plain file"
rm mnt/any
mkdir mnt/d && echo x >mnt/d/a && mv mnt/d/a mnt/d/b && ln mnt/d/b mnt/d/c &&
	echo y >>mnt/d/c && test "$(cat mnt/d/b)" = "x
y" || complain "names and links"
chmod 600 mnt/d/b && test "$(stat -c %a src/d/b)" = 600 || complain "chmod"
rm -r mnt/d || complain "rm -r"
unmount

# --- fio writes, reads back and verifies
if command -v fio >/dev/null; then
	mount --cache 1M --store 16M
	for rw in randwrite randrw; do
		timeout 60 fio --name=v --filename=mnt/fio --size=8m --rw=$rw \
			--bsrange=4k-32k --verify=crc32c --do_verify=1 \
			--verify_fatal=1 --ioengine=psync --randseed="$seed" \
			>fio.log 2>&1 || complain "fio $rw: $(cat fio.log)"
	done
	timeout 60 fio --name=v --directory=mnt --numjobs=3 --size=2m \
		--rw=randrw --bs=4k --verify=crc32c --do_verify=1 \
		--verify_fatal=1 --ioengine=psync --randseed="$seed" \
		>fio.log 2>&1 || complain "fio, three at once: $(cat fio.log)"
	unmount
	test "$(number hits out)" -ge 0 || complain "no report"
	echo "fio: $(grep cleancache: out)"
else
	echo "fio is missing (Debian: fio): left out"
fi

for bad in '' 'src' '/nowhere mnt' 'src mnt extra' '--store x src mnt' \
	'--nonsense src mnt' '--socket /nowhere src mnt' 'src /nowhere'; do
	# shellcheck disable=SC2086
	timeout 20 ./example $bad >out 2>err </dev/null
	test $? = 1 || complain "cachefs $bad: goes on: $(cat out err)"
	test -s err || complain "cachefs $bad: says nothing"
done
finish
