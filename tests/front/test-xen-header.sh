#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# Our header beside Xen's own in one translation unit, in either order: nothing
# clashes, and every number, size and offset is the same. Xen's comes from
# libxen-dev, which ships the guest's interface to this day.
set -u
: "${abs_top_srcdir:?run by make check}"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

echo '#include <xen/tmem.h>' | $CC -E -D__XEN_TOOLS__ - >/dev/null 2>&1 ||
	{ echo "no xen/tmem.h (Debian: libxen-dev)"; exit 77; }

cat >"$dir/compare.h" <<'END'
#define SAME(ours, theirs) _Static_assert((ours) == (theirs), #ours)
#define AT(field, theirs)                                                      \
	SAME(offsetof(struct tmem_xen_op, field),                              \
	     offsetof(struct tmem_op, theirs));                                \
	SAME(sizeof(((struct tmem_xen_op *)0)->field),                         \
	     sizeof(((struct tmem_op *)0)->theirs))

SAME(TMEM_XEN_HYPERCALL, __HYPERVISOR_tmem_op);
SAME(TMEM_XEN_SPEC_VERSION, TMEM_SPEC_VERSION);
SAME(TMEM_XEN_NEW_POOL, TMEM_NEW_POOL);
SAME(TMEM_XEN_DESTROY_POOL, TMEM_DESTROY_POOL);
SAME(TMEM_XEN_NEW_PAGE, TMEM_NEW_PAGE);
SAME(TMEM_XEN_PUT_PAGE, TMEM_PUT_PAGE);
SAME(TMEM_XEN_GET_PAGE, TMEM_GET_PAGE);
SAME(TMEM_XEN_FLUSH_PAGE, TMEM_FLUSH_PAGE);
SAME(TMEM_XEN_FLUSH_OBJECT, TMEM_FLUSH_OBJECT);
SAME(TMEM_XEN_READ, TMEM_READ);
SAME(TMEM_XEN_WRITE, TMEM_WRITE);
SAME(TMEM_XEN_XCHG, TMEM_XCHG);
SAME(TMEM_XEN_AUTH, TMEM_AUTH);
SAME(TMEM_XEN_RESTORE_NEW, TMEM_RESTORE_NEW);
SAME(TMEM_XEN_POOL_PERSIST, TMEM_POOL_PERSIST);
/* One name in both, and ours for the library's own interface. */
SAME(TMEM_XEN_POOL_SHARED, TMEM_POOL_SHARED);
SAME(TMEM_XEN_POOL_PRECOMPRESSED, TMEM_POOL_PRECOMPRESSED);
SAME(TMEM_XEN_POOL_PAGESIZE_SHIFT, TMEM_POOL_PAGESIZE_SHIFT);
SAME(TMEM_XEN_POOL_PAGESIZE_MASK, TMEM_POOL_PAGESIZE_MASK);
SAME(TMEM_XEN_POOL_RESERVED, TMEM_POOL_RESERVED_BITS);
SAME(TMEM_XEN_POOL_VERSION_SHIFT, TMEM_POOL_VERSION_SHIFT);
SAME(TMEM_XEN_POOL_VERSION_MASK, TMEM_POOL_VERSION_MASK);
SAME(TMEM_XEN_EFROZEN, EFROZEN);
SAME(TMEM_XEN_EEMPTY, EEMPTY);

SAME(sizeof(struct tmem_xen_op), sizeof(struct tmem_op));
AT(cmd, cmd);
AT(pool_id, pool_id);
AT(u.creat.uuid, u.creat.uuid);
AT(u.creat.flags, u.creat.flags);
AT(u.creat.arg1, u.creat.arg1);
AT(u.gen.oid, u.gen.oid);
AT(u.gen.index, u.gen.index);
AT(u.gen.tmem_offset, u.gen.tmem_offset);
AT(u.gen.pfn_offset, u.gen.pfn_offset);
AT(u.gen.len, u.gen.len);
AT(u.gen.cmfn, u.gen.cmfn);

int main(void) { return 0; }
END

failed=0
for headers in '<tmem/xen.h> <xen/tmem.h>' '<xen/tmem.h> <tmem/xen.h>'; do
	{
		# The interface of before its versions were cut back.
		echo '#define __XEN_INTERFACE_VERSION__ 0x00040300'
		echo '#include <stddef.h>'
		echo '#include <stdint.h>'
		for header in $headers; do
			echo "#include $header"
		done
		echo '#include "compare.h"'
	} >"$dir/both.c"
	if ! $CC -Wall -Werror -I"$abs_top_srcdir/include" -I"$dir" \
		-fsyntax-only "$dir/both.c"; then
		echo "they clash when included as $headers"
		failed=1
	fi
done
exit $failed
