#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# /metrics is OpenMetrics, as the Prometheus client's own parser reads it, and
# the listener for it serves nothing else.
. "${abs_top_srcdir:?}/tests/cli/common.sh"
. "$abs_top_srcdir/tests/cli/control.sh"
needs_curl
for python in python3 /usr/bin/python3 none; do
	"$python" -c 'import prometheus_client.openmetrics.parser' \
		2>/dev/null && break
done
test $python = none &&
	skip "no OpenMetrics parser (Debian: python3-prometheus-client)"
start_host --metrics metrics web "$(printf 'a"b\\c\nd\377')" "$(printf 'gr\303\274n')"

for socket in control metrics; do
	curl -sS -D head --unix-socket $socket http://x/metrics >text ||
		complain "$socket: curl"
	grep -qi '^content-type: application/openmetrics-text; version=1.0.0' \
		head || complain "$socket: $(cat head)"
	"$python" -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
families = {f.name: f for f in text_string_to_metric_families(
	open("text", encoding="utf-8").read())}
def value(family, sample, **labels):
	for s in families[family].samples:
		if s.name == sample and all(s.labels[k] == v for k, v in labels.items()):
			return s.value
	raise KeyError(family, sample, labels)
assert value("tmem_client_pages", "tmem_client_pages", client="web") == 200
assert value("tmem_client_puts", "tmem_client_puts_total", number="1") == 200
assert value("tmem_store_clients", "tmem_store_clients") == 3
assert 0 < value("tmem_client_put_seconds", "tmem_client_put_seconds",
	client="web", quantile="0.99") < 1
assert value("tmem_client_put_seconds", "tmem_client_put_seconds_count",
	client="web") > 0
names = {s.labels["client"] for s in families["tmem_client_pages"].samples}
assert names == {"web", "a\"b\\c?d?", "gr\u00fcn"}, names
assert families["tmem_client_puts"].type == "counter"
assert families["tmem_client_billed_bytes"].unit == "bytes"
assert "tmem_build" in families
' || complain "$socket: not as it should be: $(cat text)"
done

for path in / /clients /store /clients/web; do
	curl -sS --unix-socket metrics "http://x$path" >out
	grep -q '"error"' out || complain "the metrics listener answers $path"
done
curl -sS --unix-socket metrics -X POST http://x/clients/web/destroy >out
grep -q '"error"' out || complain "the metrics listener destroys clients"
tmem list web >out || complain "the metrics listener has destroyed a client"
stop_host
finish
