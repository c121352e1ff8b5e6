#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmemd --takeover while a guest swaps: a new daemon goes on with the disk, the
# guest finds every page as it was, and its kernel sees no error.
. "${abs_top_srcdir:?}/tests/vm/vm.sh"

serve()
{
	# shellcheck disable=SC2046
	start --memory 512M --arena "$arena" $(swap_disk vm1 1G) "$@"
}

replace()
{
	local old=$daemon old_log=$log new
	serve --takeover
	new=$daemon
	daemon=$old
	log=$old_log
	ends 0
	daemon=$new
	log=log.$logs
}

serve
# shellcheck disable=SC2046
vm_start vm1 128 $(vm_disk vm1.disk) <<'END_OF_JOB'
swap_on /dev/vda
guest_load 256 1 0 verify change verify change verify
END_OF_JOB
replaced=0
for stage in 'up after' 'fill ok' 'verify ok' 'change ok'; do
	vm_says vm1 "$stage" || break
	replace
	replaced=$((replaced + 1))
done
vm_ends vm1
vm_verified vm1 3
echo "$replaced daemons later: $(vm_line vm1 'verify ok')"
end
finish
