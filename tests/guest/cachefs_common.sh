# SPDX-License-Identifier: BSD-2-Clause
# Sourced by the tests of examples/cachefs after example_common.sh: ./src is
# shown at ./mnt, which is unmounted whatever happens.
# shellcheck shell=bash
mounted=
test -r /dev/fuse && test -w /dev/fuse || skip "no /dev/fuse to use"
pkg-config --exists fuse3 || skip "no libfuse3 (Debian: libfuse3-dev)"
command -v fusermount3 >/dev/null || skip "no fusermount3 (Debian: fuse3)"
build_example cachefs
mkdir src mnt

unmount_all()
{
	test -z "$mounted" || fusermount3 -u -z mnt 2>/dev/null
}

# mount ARGUMENT...: ./src at ./mnt; what cachefs says is in ./out and ./err.
mount()
{
	timeout -k 5 120 ./example "$@" src mnt >out 2>err </dev/null &
	mounted=$!
	local i
	for i in $(seq 3000); do
		mountpoint -q mnt && return
		kill -0 $mounted 2>/dev/null || break
		sleep 0.02
	done
	wait $mounted
	local status=$?
	mounted=
	test $status = 77 && skip "$(cat err)"
	grep -q 'fusermount3\|fuse: mount failed\|Operation not permitted' err &&
		skip "may not mount: $(cat err)"
	complain "cachefs $*: status $status: $(cat out err)"
	finish
}

unmount()
{
	fusermount3 -u mnt || complain "cannot be unmounted"
	wait $mounted || complain "cachefs ended with $?: $(cat err)"
	mounted=
}

# same FILE...: they read alike here and there.
same()
{
	local file
	for file; do
		cmp "src/$file" "mnt/$file" || complain "$file is not the same"
	done
}
