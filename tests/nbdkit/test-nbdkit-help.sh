#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# nbdkit's --help and the plugin's manual say the same of its options, and what
# is nonsense is refused in one line that names it.
. "${abs_top_srcdir:?}/tests/nbdkit/nbdkit_common.sh"
page=$abs_top_srcdir/doc/nbdkit-tmem-plugin.pod

plain_nbdkit "$plugin" --help >out || complain "--help: status $?"
sed -n 's/^\([a-z]*\)=\([^ ]*\)$/\1 \2/p' out | sort >in-help
sed -n 's/^=item B<\([a-z]*\)=>/\1 /p' "$page" |
	sed 's/[IB]<\([^>]*\)>/\1/g' | sort >in-page
test "$(wc -l <in-help)" -gt 5 || complain "--help lists $(cat in-help)"
diff in-help in-page >difference ||
	complain "--help (<) and the manual (>) differ: $(cat difference)"
while read -r key _; do
	refused "$key= wants a value" "$key="
	refused "$key= is given twice: \"a\" and \"b\"" "$key=a" "$key=b"
done <in-help

plain_nbdkit "$plugin" --dump-plugin >out || complain "--dump-plugin: status $?"
for line in name=tmem max_thread_model=parallel magic_config_key=size \
	"version=$(tmem --version | sed -n 's/^tmem //p')" \
	"tmem_default_codec=..*" "tmem_codecs=.*none.*" \
	"tmem_allocators=.*zsmalloc.*" has_block_size=1 has_extents=1; do
	grep -qx "$line" out || complain "--dump-plugin has no $line: $(cat out)"
done

refused 'how big is the disk? Say size=4G'
refused 'where do pages go? Say memory=1G' size=1G
refused 'unknown option "siz="; the nearest is "size="' siz=1G
refused 'size= is given twice: "1G" and "2G"' 1G memory=1M size=2G
refused 'memory= does not go with socket=' size=1G memory=1M socket=x
refused 'size= does not go with image=' size=1G image=x memory=1M
refused 'backing= wants size=' image=x backing=y memory=1M
refused 'codec= wants memory=' 1G socket=x codec=lz4
refused 'allocator= wants memory=' 1G socket=x allocator=zbud
refused 'arena= wants memory=' 1G socket=x arena=/dev/shm/x
refused 'dedup= wants memory=' 1G socket=x dedup=on
refused 'share= wants image=' 1G socket=x share=y
refused 'share= wants socket=' image=x memory=1M share=y
refused 'timeout= wants socket=' 1G memory=1M timeout=3
for size in -1 0 1000 x 9E 1.7K 16777216T; do
	refused "size=$size is not" "size=$size" memory=1M
done
refused 'memory=200K is too little' 1G memory=200K
refused 'timeout=0 is not from 1' 1G socket=x timeout=0
refused 'timeout' 1G socket=x timeout=soon
refused 'perhaps' 1G memory=1M readonly=perhaps
name64=$(printf '%064d' 0)
refused 'is longer than 63 bytes' 1G memory=1M "name=$name64"
refused 'there is no codec "zst"' 1G memory=1M codec=zst
refused 'level' 1G memory=1M codec=zlib:4711
refused 'there is no allocator "zbux"' 1G memory=1M allocator=zbux
refused "no tmemd at $scratch/nobody: No such file" 1G socket=nobody
refused '/nowhere/arena' 1G memory=1M arena=/nowhere/arena
refused 'is not a tmem arena' 1G memory=1M arena=/etc/passwd
refused '/nowhere/backing: No such file' 1G memory=1M backing=/nowhere/backing
refused 'is not a regular file' 1G memory=1M backing=/dev/null
refused 'holds part of another disk' 1G memory=1M backing=/etc/passwd
refused 'nowhere' image=nowhere memory=1M

# Trying does not leave anything behind.
refused 'there is no codec' 1G memory=1M codec=x arena="$scratch/a" \
	backing="$scratch/b"
refused 'nowhere' image=nowhere memory=1M arena="$scratch/c"
for file in a b c; do
	test ! -e "$scratch/$file" || complain "$file was left"
done
finish
