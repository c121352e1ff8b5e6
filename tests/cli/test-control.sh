#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The control socket, by any HTTP client and by the program's own verbs: every
# request that doc/control.md lists, what it changes and what it leaves alone.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
needs_json
needs_curl
start_host web db 7up

# --- every documented request is there, and nothing else
ask 200 GET /
perl -MJSON::PP -e 'local $/; print map { "$_->{method} $_->{path}\n" }
	@{decode_json(<STDIN>)->{routes}}' <out | sed 's/\*/ID/' | sort >routes
sed -n 's/^| `\([A-Z]* \/[^`]*\)`.*/\1/p' "$abs_top_srcdir/doc/control.md" |
	sort >documented
diff documented routes >difference ||
	complain "doc/control.md (<) and the daemon (>) differ: $(cat difference)"

# --- a client has the documented keys
ask 200 GET /clients/web
perl -ne 'print "$1\n" while /"(\w+)":/g' "$abs_top_srcdir/doc/control.md" |
	sort -u >words
perl -MJSON::PP -e '
	sub walk { my $v = shift;
		if (ref $v eq "HASH") { print "$_\n", walk($v->{$_}) for keys %$v }
		elsif (ref $v eq "ARRAY") { walk($_) for @$v } return "" }
	local $/; walk(decode_json(<STDIN>))' <out | sort -u >keys
test -z "$(comm -13 words keys)" ||
	complain "keys that doc/control.md does not have:" $(comm -13 words keys)
json '$j->{pages} == 200 && $j->{puts} == 200 && @{$j->{pools}} == 2'
json '$j->{pools}[0]{persistent} == 0 && $j->{pools}[1]{persistent} == 1'
json '$j->{attached} == 1 && $j->{peer}{uid} == $<'

json '$j->{mem_kib} == 1 << 20 && $j->{maxmem_kib} == 2 << 20'
ask 200 GET /clients/db
json '!defined $j->{mem_kib} && !defined $j->{maxmem_kib}'

# --- the text of xl tmem-list
expect 0 tmem-list -l -a --raw
grep -q '^G=Tt:[0-9]*,' out || complain "no G line: $(cat out)"
test "$(grep -c '^C=CI:[123],ww:0,.*,fr:0,.*,Ec:[0-9]*,' out)" = 3 ||
	complain "no three clients: $(cat out)"
test "$(grep -c '^P=CI:[123],PI:[01],PT:[EP]P,U0:0,U1:0,Pc:100,' out)" = 6 ||
	complain "no six pools: $(cat out)"
expect 0 list --raw db
test "$(grep -c '^C=CI:2,' out)-$(grep -c '^[CG]=' out)" = 1-1 ||
	complain "one client: $(cat out)"
ask 404 GET '/list?client=nobody'
ask 404 GET '/list?client='
expect 2 list --raw --json

# --- by number, by name, by a name with special bytes
ask 200 GET /clients/2
json '$j->{name} eq "db"'
ask 200 GET /clients/7%75p
json '$j->{name} eq "7up"'
ask 404 GET /clients/nobody
explains 'no client "nobody"'
ask 400 GET /clients/%zz
ask 400 GET /clients/a%00b
ask 400 GET "/clients/$(printf 'a%.0s' $(seq 300))"
ask 404 GET /clients/
ask 404 GET /nowhere
ask 405 DELETE /clients
explains 'answers GET'
ask 405 GET /flush

# --- freeze and thaw, one and all
ask 200 POST /clients/web/freeze
json '$j->{clients} == 1'
ask 200 GET /clients
json '$j->[0]{frozen} && !$j->[1]{frozen} && !$j->[2]{frozen}'
ask 200 POST /clients/all/freeze '{}'
json '$j->{clients} == 3'
expect 0 thaw db
ask 200 GET /clients
json '$j->[0]{frozen} && !$j->[1]{frozen} && $j->[2]{frozen}'
expect 0 tmem-thaw -a
expect 0 list --json
json '!grep { $_->{frozen} } @$j'

# --- what is set changes, and nothing else does
ask 200 POST /clients/web/set '{"weight": 3, "cap": "16M", "compress": false}'
ask 200 GET /clients/web
json '$j->{weight} == 3 && $j->{cap_bytes} == 16 << 20 && !$j->{compress}'
expect 0 set -a -w 5
expect 0 list --json
json '$j->[0]{weight} == 5 && $j->[2]{weight} == 5 && $j->[1]{compress}'
json '$j->[0]{cap_bytes} == 16 << 20 && !$j->[0]{compress}'
expect 0 tmem-set web weight=8 cap=1M
expect 0 tmem-set -p=1 web
expect 0 set web --reservation 512K --trust-domain 4 -w9
expect 0 list web --json
json '$j->{weight} == 9 && $j->{cap_bytes} == 1 << 20 && $j->{compress}'
json '$j->{reservation_bytes} == 512 << 10 && $j->{trust_domain} == 4'
# All or nothing: the weight stays when the rest cannot be.
ask 400 POST /clients/web/set '{"weight": 1, "reservation": "2M"}'
explains 'above its cap'
ask 409 POST /clients/db/set '{"weight": 1, "reservation": "1T"}'
explains 'would not fit'
ask 400 POST /clients/web/set '{"weight": 1, "codec": "no-such"}'
explains 'no codec "no-such"'
ask 400 POST /clients/web/set '{"wieght": 1}'
explains 'nearest is "weight"'
for body in '{}' '[]' '1' 'x' '{"weight": -1}' '{"weight": 4294967296}' \
	'{"weight": "2"}' '{"cap": "lots"}' '{"weight": 1, "weight": 1}' \
	'{"compress": 1}' '{"codec": ""}' '{"weight": 1'; do
	ask 400 POST /clients/web/set "$body"
	json 'length $j->{error} > 10'
done
expect 0 list --json
json '$j->[0]{weight} == 9 && $j->[1]{weight} == 5'
# Of all: who can be changed is.
expect 1 set -a --weight 6 --cap 400K
says '1 of 3 clients stay as they were; the first is "web"'
expect 0 list --json
json '$j->[0]{weight} == 9 && $j->[1]{weight} == 6 && $j->[2]{weight} == 6'
# What packs and compresses new pages: one's own, or the store's.
expect 0 set db --codec none
expect 0 list --json
json '$j->[1]{codec} eq "none" && !$j->[1]{level} && !$j->[1]{compress}'
json '$j->[2]{codec} ne "none" && $j->[2]{allocator} eq "zsmalloc"'
expect 0 list --long
grep -q '^client .* codec  *allocator ' out || complain "list -l: $(cat out)"
grep -q '^db .* none  *zsmalloc ' out || complain "list -l: $(cat out)"
expect 0 set db --codec store
expect 0 list --json
json '$j->[1]{codec} eq $j->[2]{codec} && $j->[1]{level} == $j->[2]{level}'

# --- the store
ask 200 POST /store/set '{"memory": "32M", "codec": "none", "allocator": "zbud"}'
json '$j->{memory_bytes} == 32 << 20 && $j->{codec} eq "none"'
json '$j->{allocator} eq "zbud"'
ask 400 POST /store/set '{"codec": "none", "memory": "1K"}'
ask 400 POST /store/set '{"codec": "no-such", "memory": "64M"}'
ask 400 POST /store/set '{"allocator": "no-such", "memory": "64M"}'
ask 409 POST /store/set '{"allocator": "zsmalloc", "memory": "256K"}'
explains 'the memory limit stays'
ask 200 GET /store
json '$j->{memory_bytes} == 32 << 20 && $j->{allocator} eq "zbud"'
expect 0 set --memory 48M --allocator zsmalloc
expect 0 stats --json
json '$j->{store}{memory_bytes} == 48 << 20'
json '$j->{store}{allocator} eq "zsmalloc" && $j->{counts}{puts} == 600'

# --- shared pools
uuid=abcdef01-2345-6789-1234-567890abcdef
ask 200 POST /clients/web/shared-auth "{\"uuid\":\"$uuid\",\"allowed\":true}"
expect 0 tmem-shared-auth -a -u $uuid -A 0
for bad in x ${uuid}0 "${uuid%?}" "${uuid%?}g" "$(echo $uuid | tr - _)" \
	00000000-0000-0000-0000-000000000000; do
	expect 1 shared-auth web --uuid "$bad" --auth 1
done
ask 400 POST /clients/web/shared-auth "{\"uuid\":\"$uuid\"}"

# --- what is reserved is not evicted
expect 0 set web --reservation 0 --cap 0

# --- freeable and flush: ephemeral pages go, persistent ones stay
expect 0 tmem-freeable
grep -qx '[0-9]*' out || complain "freeable prints $(cat out)"
ask 200 GET /freeable
json '$j->{freeable_bytes} > 200_000 && $j->{freeable_mib} >= 0'
ask 200 POST /flush '{"bytes": 4096}'
json '$j->{freed_bytes} >= 4096'
expect 0 flush -p 1
expect 0 flush
expect 0 list --json
json '$j->[0]{pools}[0]{pages} == 0 && $j->[0]{pools}[1]{pages} == 100'
ask 200 GET /freeable
json '$j->{freeable_bytes} < 200_000'

# --- destroy
expect 0 destroy web
expect 1 list web
says 'no client "web"'
expect 0 tmem-destroy -a
expect 0 list --json
json '@$j == 0'
stop_host

# --- what the program does not understand
expect 2 freeze
says 'You must specify -a or a CLIENT.'
expect 2 tmem-set -w 3
says 'You must specify -a or a CLIENT.'
expect 2 set web
says 'No set value specified.'
expect 2 set web wieght=3
says 'the nearest is weight='
expect 2 set web --memory 1M
says 'the store'
expect 2 shared-auth web -u $uuid
says 'No uuid or auth specified.'
expect 2 shared-auth web -u $uuid -A 2
says 'Invalid auth, valid auth are <0|1>.'
expect 2 thaw -a db
says 'not both'
expect 2 thaw -x
says 'long ones'
expect 2 frieze
says 'the nearest is "freeze"'
expect 2 tmem-plugins
expect 1 list
says "is tmemd running?"
expect 1 --control=./nowhere list
says "no daemon at ./nowhere"
expect 2 --control= list
says '--control: the path is empty'
expect 2 list --control ''
says '--control: the path is empty'
expect 2 flush -5
says '"-5": a size or a number cannot be negative'
finish
