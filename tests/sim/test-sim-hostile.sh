#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Scenario files that are wrong: the message names the file and the line, and
# nothing is played.
. "${abs_top_srcdir:?}/tests/cli/common.sh"

good="[scenario]
duration = 2s
[host]
memory = 1G
[guest a]
memory = 256M
files = 64M
anon = 16M
reads = 2
rate = 5"

# wrong LINE TEXT MORE...: the good one, and more lines.
wrong()
{
	local line=$1 text=$2
	shift 2
	printf '%s\n' "$good" "$@" >./bad.scenario
	expect 1 sim ./bad.scenario
	says "$text"
	test -z "$line" || says "bad.scenario:$line:"
	test -s out && complain "$called: printed something all the same"
}

echo "$good" >./good.scenario
expect 0 sim ./good.scenario
wrong 11 'unknown word "memry"; the nearest is "memory"' "memry = 1G"
wrong 11 'unknown section [gest]; the nearest is [guest]' "[gest x]"
wrong 11 "[guest a] begins again" "[guest a]"
wrong 11 "a guest needs a name" "[guest]"
wrong 11 "a guest needs a name" "[guest $(printf '%040d' 1)]"
wrong 11 '"much" is not a number' "units = much"
wrong 11 '"-1" is not a number' "units = -1"
wrong 11 "is not a number" "units = 99999999999999999999999"
wrong 11 '"5" is not a time' "cpu = 5"
wrong 11 '"5 lightyears" is not a time' "cpu = 5 lightyears"
wrong 11 "is not a time" "cpu = 99999999999999999999h"
wrong 11 "cpu: 0s is too little" "cpu = 0s"
wrong 11 "is too much" "vcpus = 65"
wrong 11 '"yes" is not "on" or "off"' "shared = yes"
wrong 11 '"lots" is not a size' "swap = lots"
wrong 12 "is too little" "[guest b]" "memory = 1M"
wrong 12 'there is no guest "b"' "[change x]" "guest = b"
wrong 12 "guest and at come first" "[change x]" "anon = 1G"
wrong 13 "does not change on the way" "[change x]" "guest = a" "memory = 1G"
wrong 13 '"soon" is not a time' "[change x]" "guest = a" "at = soon"
wrong 13 'unknown word "anom"' "[change x]" "guest = a" "anom = 1G"
wrong "" "the host has less memory than its guests" "[guest b]" "memory = 800M"
wrong "" "guest a: more is cached than there are files" "cached = 65M"
wrong "" "guest a: maxmem is below memory" "maxmem = 128M"
wrong "" "guest b: it reads, but has no files" "[guest b]" "reads = 1"
wrong "" "its kernel takes half" "kernel = 200M"
wrong "" "more than 64 guests" "[guest b]" "memory = 64M" "kernel = 1M" "count = 64"
wrong 11 "no-such-trace" "trace = no-such-trace"
for rows in "" "0 1 2 3" "0 1 2 3 4 5" "0 1 2 3 x" "x" "-1 1 2 3 4" \
	"0 1 2 3 -4" "5 1 2 3 4
5 1 2 3 4" "0 99999999999999999999 2 3 4" "$(head -c 2000 /dev/zero | tr '\0' 7)"; do
	echo "$rows" >bad.trace
	wrong 11 "bad.trace" "trace = bad.trace"
done
: >./empty.scenario
expect 1 sim ./empty.scenario
says "there is no guest"
expect 1 sim ./no-such.scenario
says "no-such.scenario"
head -c 20000 /dev/urandom >./noise.scenario
expect 1 sim ./noise.scenario
expect 1 sim .
sed 's/^memory = 1G/&\ndisk_rats = 1M/' good.scenario >./bad.scenario
expect 1 sim ./bad.scenario
says 'bad.scenario:5: unknown word "disk_rats"; the nearest is "disk_rate"'
TMEM_SCENARIO_PATH=/nonexistent expect 1 sim --list
says "/nonexistent"

# A guest that gets no frame: counted, and no more than that happens.
printf '%s\n' "$good" "[change x]" "guest = a" "at = 1s" "anon = 1G" >./tight.scenario
expect 0 sim ./tight.scenario
finish
