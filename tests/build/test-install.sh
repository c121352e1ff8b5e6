#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# `make install DESTDIR=` puts everything in its place, so that a program and
# a plugin can be built with pkg-config alone; `make uninstall` leaves nothing.
set -u
: "${abs_top_srcdir:?run by make check}"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
unset MAKEFLAGS MAKELEVEL MFLAGS DESTDIR
cd "$abs_top_builddir" || exit 1

fail()
{
	echo "$*"
	exit 1
}

# Where things go is read from the build itself.
eval "$("$MAKE" -s print-directories)"
# libtool links a module again, and takes the old one away meanwhile: one at a
# time, and while nobody uses it (nbdkit_common.sh).
exec 9<config.status
flock 9
$MAKE -s install DESTDIR="$dir/root" >"$dir/log" 2>&1 ||
	{ cat "$dir/log"; fail "make install failed"; }
exec 9<&-

have()
{
	for file; do
		test -e "$dir/root$file" || fail "not installed: $file"
	done
}
have "$libdir/libtmem.so" "$libdir/libtmem.so.0" "$pkgconfigdir/tmem.pc"
for header in "$abs_top_srcdir"/include/tmem/*.h; do
	have "$pkgincludedir/${header##*/}"
done
for program in $programs; do
	have "$bindir/$program"
done
for module in $modules; do
	have "$pkglibdir/codecs/$(basename "$module" .la).so"
done
for module in $nbdkit_plugins; do
	have "$nbdkitplugindir/${module%.la}.so"
	if test "$TM_SANITIZERS" = no && command -v nbdkit >/dev/null; then
		LD_LIBRARY_PATH=$dir/root$libdir nbdkit --dump-plugin \
			"$dir/root$nbdkitplugindir/${module%.la}.so" |
			grep -qx name=tmem ||
			fail "nbdkit does not load what was installed"
	fi
done
for page in $pages; do
	have "$mandir/man${page##*.}/$(basename "$page")"
done

if test "$TM_SANITIZERS" = no; then
	printf '%s\n' '#include <tmem/tmem.h>' '#include <stdio.h>' \
		'int main(void) { return puts(tmem_version()) < 0; }' >"$dir/x.c"
	PKG_CONFIG_PATH=$dir/root$pkgconfigdir
	PKG_CONFIG_SYSROOT_DIR=$dir/root
	export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
	# shellcheck disable=SC2046
	$CC -o "$dir/x" "$dir/x.c" $(pkg-config --cflags --libs tmem) ||
		fail "no program can be built with what was installed"
	LD_LIBRARY_PATH=$dir/root$libdir "$dir/x" |
		grep -qx "$(pkg-config --modversion tmem)" ||
		fail "a program built with what was installed does not work"
fi

$MAKE -s uninstall DESTDIR="$dir/root" >"$dir/log" 2>&1 ||
	{ cat "$dir/log"; fail "make uninstall failed"; }
find "$dir/root" ! -type d | grep . && fail "make uninstall left these files"
for folder in "$pkglibdir" "$pkgincludedir"; do
	test -e "$dir/root$folder" && fail "make uninstall left the folder $folder"
done
exit 0
