# SPDX-License-Identifier: BSD-2-Clause
# Sourced before every test: the plugins of this build, and no others' options.
# shellcheck shell=sh
TMEM_PLUGIN_PATH=$abs_top_builddir/src/codecs/.libs:$abs_top_builddir/src/alloc/.libs
export TMEM_PLUGIN_PATH
unset TMEM_BOOT
LC_ALL=C
export LC_ALL
# In seconds. It is there for what hangs, on a busy machine as well.
CK_DEFAULT_TIMEOUT=${CK_DEFAULT_TIMEOUT:-60}
export CK_DEFAULT_TIMEOUT
case ${TM_SANITIZERS:-no} in
no) ;;
*)
	# Instrumented code is slow; what is too slow shows in plain builds.
	CK_TIMEOUT_MULTIPLIER=${CK_TIMEOUT_MULTIPLIER:-10}
	ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
	UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
	export CK_TIMEOUT_MULTIPLIER ASAN_OPTIONS UBSAN_OPTIONS
	# ThreadSanitizer cannot follow a fork from a process with threads.
	case $TM_SANITIZERS in *thread*)
		TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1 die_after_fork=0}
		export TSAN_OPTIONS
	esac
	;;
esac
