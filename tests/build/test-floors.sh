#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The layering, checked by reading: an include goes down, never up, and never
# sideways. The include paths in Makefile.am enforce most of it; this also
# catches "../core/x.h", which no path can forbid. Besides: file names are
# unique in the tree, config.h comes first, and every file is named in its
# folder's fragment, or `make dist` would forget it.
set -u
cd "${abs_top_srcdir:?run by make check}" || exit 1
failed=0
complain()
{
	echo "$*"
	failed=1
}

# What a folder may include with "...", besides its own.
allowed()
{
	case $1 in
	src/util) echo ;;
	src/codecs | src/alloc | src/plug) echo src/util ;;
	src/core) echo src/plug src/util ;;
	src/lib) echo src/core src/plug src/abi src/util ;;
	# Written over the public API, like anybody's.
	src/block) echo src/util ;;
	src/front/xen) echo src/lib src/util ;;
	src/front/vhost) echo src/block src/lib src/core src/plug src/abi \
		src/util ;;
	src/guest/*) echo src/util ;;
	src/agent | src/sim) echo src/guest/linux src/util ;;
	src/front/*) echo src/lib src/core src/plug src/abi src/util ;;
	src/daemon) echo src/front/ring src/front/vhost src/block src/lib \
		src/core src/plug src/abi \
		src/util ;;
	src/nbdkit) echo src/block src/util ;;
	# Allocators alone are measured by what bench/ measures them with.
	src/cli) echo src/sim src/abi src/util bench ;;
	esac
}

for folder in src/* src/front/* src/guest/*; do
	test -d "$folder" || continue
	for file in "$folder"/*.[ch]; do
		test -e "$file" || continue
		grep -q "$file" "$folder/Makefile.inc" ||
			complain "$file: not named in $folder/Makefile.inc"
		case $file in *.c)
			first=$(sed -n 's/^#include //p;' "$file" | head -n 1)
			test "$first" = "<config.h>" ||
				complain "$file: includes $first before <config.h>"
		esac
		for header in $(sed -n 's/^# *include *"\([^"]*\)".*/\1/p' "$file"); do
			case $header in */*)
				complain "$file: \"$header\": private headers are included by base name"
				continue
			esac
			ok=no
			for place in "$folder" $(allowed "$folder"); do
				test -f "$place/$header" && ok=yes
			done
			test $ok = yes ||
				complain "$file: \"$header\" is not on its floor or below"
		done
	done
done

for file in include/tmem/*.h; do
	grep -n '# *include *"' "$file" && complain "$file: public headers include with <...>"
	for header in $(sed -n 's/^# *include *<\(tmem\/[^>]*\)>.*/\1/p' "$file"); do
		test -f "include/$header" || complain "$file: <$header> is not there"
	done
done

twice=$(find include src tests fuzz bench examples -type f \
	! -path '*/corpus/*' ! -path '*/data/*' ! -path 'tests/abi/*' \
	! -path 'examples/*/*' ! -path '*/.*' \
	\( -name '*.[ch]' -o -name '*.sh' \) |
	sed 's,.*/,,' | sort | uniq -d)
test -z "$twice" || complain "file names used twice:" $twice

exit $failed
