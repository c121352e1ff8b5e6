#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the control socket's fuzz target:
# make-control-seeds.pl DIRECTORY. One for each route, and some that are wrong.
use strict;
use warnings;

my $dir = shift // die "usage: make-control-seeds.pl DIRECTORY\n";
my $uuid = 'abcdef01-2345-6789-1234-567890abcdef';
my %seeds = (
	'root' => "GET /",
	'clients' => "GET /clients",
	'client' => "GET /clients/web",
	'client-encoded' => "GET /clients/a%2fb%FF%22%5C",
	'freeze' => "POST /clients/1/freeze\n{}",
	'thaw' => "POST /clients/all/thaw\n",
	'destroy' => "POST /clients/2/destroy\n",
	'destroy-all' => "POST /clients/all/destroy\n",
	'set' => 'POST /clients/web/set' . "\n" . '{"weight": 2, "cap": "1M", ' .
		'"reservation": 4096, "trust_domain": 1, "compress": false}',
	'set-codec' => "POST /clients/all/set\n" . '{"codec": "none:0"}',
	'set-codec-null' => "POST /clients/web/set\n" . '{"codec": null}',
	'set-bad' => "POST /clients/web/set\n" . '{"wieght": 1}',
	'auth' => "POST /clients/web/shared-auth\n" .
		"{\"uuid\": \"$uuid\", \"allowed\": true}",
	'store' => "GET /store?x=1&long",
	'store-set' => "POST /store/set\n" .
		'{"memory": "4M", "codec": "none", "allocator": "zbud"}',
	'store-set-bytes' => "POST /store/set\n" . '{"memory": 1048576}',
	'freeable' => "GET /freeable",
	'flush' => "POST /flush\n" . '{"bytes": "64K"}',
	'stats' => "GET /stats",
	'metrics' => "GET /metrics",
	'list' => "GET /list?client=web&long=1",
	'list-encoded' => "GET /list?long=%31&client=a%2Fb",
	'not-json' => "POST /flush\n{",
	'not-object' => "POST /flush\n[1]",
	'duplicate' => "POST /flush\n" . '{"bytes": 1, "bytes": 2}',
	'deep' => "POST /flush\n" . '[' x 3000,
	'nowhere' => "GET /nowhere",
	'method' => "DELETE /clients",
	'percent' => "GET /clients/%zz",
	'long-name' => "GET /clients/" . 'a' x 300,
	'long-body' => "POST /flush\n" . '{"a":"' . 'x' x 70_000 . '"}',
);

for my $name (sort keys %seeds) {
	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
	print $file $seeds{$name};
	close $file or die "$dir/$name: $!\n";
}
