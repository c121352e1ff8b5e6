#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Each codec and each allocator of this tree can be built out of it, as a
# module, against installed headers and header-only src/util, with nothing of
# the library behind it: no symbol is left open.
set -u
: "${abs_top_srcdir:?run by make check}"
if test "$TM_SANITIZERS" != no; then
	echo "modules of a sanitizer build have open symbols, the sanitizer's"
	exit 77
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS DESTDIR
cd "$abs_top_builddir" || exit 1
eval "$("$MAKE" -s print-directories)"
$MAKE -s install-pkgincludeHEADERS DESTDIR="$dir/root" >/dev/null || exit 1

# All that config.h may mean to a plugin.
echo '#define _GNU_SOURCE 1' >"$dir/config.h"
failed=0
built=0

# alone KIND FILE NAME: link it as a module.
alone()
{
	kind=$1 file=$2 name=$3
	if grep -q "tmem_${kind}_entry(const" "$file"; then
		cp "$file" "$dir/x.c"
	else
		printf '%s\n' "#include \"$file\"" \
			"tmem_${kind}_entry_fn tmem_${kind}_entry;" \
			"const struct tmem_$kind *tmem_${kind}_entry(const struct tmem_host *host)" \
			"{ (void)host; return &tm_${kind}_$name; }" >"$dir/x.c"
	fi
	# shellcheck disable=SC2086
	if ! $CC -shared -fPIC -Wall -Werror -O1 -o "$dir/$name.so" "$dir/x.c" \
		-I"$dir" -I"$dir/root$(dirname "$pkgincludedir")" \
		-iquote "$abs_top_srcdir/src/util" $codec_cflags \
		-Wl,--as-needed -Wl,-z,defs $codec_libs -pthread; then
		echo "$file: cannot be built out of the tree"
		failed=1
		return
	fi
	nm -D --defined-only "$dir/$name.so" | grep -q " tmem_${kind}_entry\$" ||
		{ echo "$file: exports no tmem_${kind}_entry"; failed=1; }
	built=$((built + 1))
}

for file in "$abs_top_srcdir"/src/codecs/codec_*.c; do
	name=${file##*/codec_}
	name=${name%.c}
	case " $TM_CODECS " in
	*" $name "*) alone codec "$file" "$name" ;;
	esac
done
for file in "$abs_top_srcdir"/src/alloc/alloc_*.c; do
	name=${file##*/alloc_}
	test -e "$file" && alone allocator "$file" "${name%.c}"
done
echo "$built plugins built"
test $built != 0 || exit 1
exit $failed
