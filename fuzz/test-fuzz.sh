#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# A short run of every fuzz target, so that they stay in working order. Where
# TM_SHORT_CHECK is set it is left out: it builds the library once more.
set -u
if test -n "${TM_SHORT_CHECK:-}"; then
	echo "TM_SHORT_CHECK is set: no second build with clang"
	exit 77
fi
unset TMEM_PLUGIN_PATH
FUZZ_SECONDS=${FUZZ_SECONDS:-3} exec "${abs_top_srcdir:?run by make check}/fuzz/run"
