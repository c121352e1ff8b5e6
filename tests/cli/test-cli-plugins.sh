#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# tmem plugins: what the build was made with is listed, and what was found but
# refused is named with the reason.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
needs_json

expect 0 plugins --json
json 'keys_are($j, qw(codecs allocators refused))'
json '!grep { !keys_are($_, qw(name description library format level_min
	level_max level_default flags options origin default)) } @{$j->{codecs}}'
json '!grep { !keys_are($_, qw(name description format options origin default)) }
	@{$j->{allocators}}'
json '!@{$j->{refused}}'
json '1 == grep { $_->{default} } @{$j->{codecs}}'
json '1 == grep { $_->{default} } @{$j->{allocators}}'
for codec in ${TM_CODECS:-} none; do
	json "grep { \$_->{name} eq '$codec' } @{\$j->{codecs}}"
done

# A module that is none.
mkdir modules
echo 'not a module' >modules/broken.so
TMEM_PLUGIN_PATH=$scratch/modules expect 0 plugins --json
json '1 == @{$j->{refused}} && $j->{refused}[0] =~ /broken\.so/'
TMEM_PLUGIN_PATH=$scratch/modules expect 0 plugins
grep -q '^refused: .*broken\.so' out || complain "a refusal is not shown"
expect 2 plugins none
says 'no operand such as "none"'
finish
