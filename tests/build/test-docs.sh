#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Every page in doc/ is well-formed POD, is built and installed, and every
# program, codec and allocator has one.
set -u
cd "${abs_top_srcdir:?run by make check}" || exit 1
failed=0
complain()
{
	echo "$*"
	failed=1
}
unset MAKEFLAGS MAKELEVEL MFLAGS
eval "$("$MAKE" -s -C "$abs_top_builddir" print-directories)"

for pod in doc/*.pod; do
	test -e "$pod" || continue
	grep -q "$pod" doc/Makefile.inc || complain "$pod: not shipped by doc/Makefile.inc"
	case " $pages $test_pages " in
	*" ${pod%.pod}."[13578]" "*) ;;
	*) complain "$pod: no page of it in doc/Makefile.inc" ;;
	esac
	podchecker -warnings "$pod" >/dev/null 2>&1 ||
		complain "$(podchecker -warnings "$pod" 2>&1)"
done
for page in $programs \
	$(ls src/codecs/codec_*.c src/alloc/alloc_*.c 2>/dev/null |
		sed 's,.*/codec_,tmem-codec-,; s,.*/alloc_,tmem-allocator-,; s,\.c$,,'); do
	test -f "doc/$page.pod" || complain "$page has no page doc/$page.pod"
done
exit $failed
