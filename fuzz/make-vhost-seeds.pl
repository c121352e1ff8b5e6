#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Seeds of fuzz_vhost_message and fuzz_vhost_queue: make-vhost-seeds.pl CORPUS
# writes CORPUS/vhost-message/* and CORPUS/vhost-queue/*.
use strict;
use warnings;

my $corpus = shift or die "usage: make-vhost-seeds.pl CORPUS\n";

sub seed
{
	my ($folder, $name, $bytes) = @_;

	mkdir "$corpus/$folder";
	open my $file, '>:raw', "$corpus/$folder/$name" or die "$name: $!\n";
	print $file $bytes;
	close $file or die "$name: $!\n";
}

# Request, descriptors, payload.
sub message
{
	my ($name, $request, $fds, $payload, $flags) = @_;

	seed('vhost-message', $name,
		pack('C L L L', $fds, $request, $flags // 1, length $payload) . $payload);
}

my $region = pack 'Q4', 1 << 30, 1 << 20, 0x7f00 << 32, 0;
my @requests = (
	[ 'get-features', 1, 0, '' ],
	[ 'set-features', 2, 0, pack "Q", (1 << 32) + 0x70000000 ],
	[ 'memory-table', 5, 2, pack('L2', 2, 0) . $region . $region ],
	[ 'memory-table-short', 5, 2, pack('L2', 2, 0) . $region ],
	[ 'vring-num', 8, 0, pack 'L2', 0, 256 ],
	[ 'vring-num-odd', 8, 0, pack 'L2', 0, 255 ],
	[ 'vring-addr', 9, 0, pack 'L2 Q4', 0, 0, 0x7f00 << 32, (0x7f00 << 32) + 0x2000, (0x7f00 << 32) + 0x1000, 0 ],
	[ 'vring-kick', 12, 1, pack 'Q', 0 ],
	[ 'vring-kick-none', 12, 0, pack 'Q', 0x100 ],
	[ 'config', 24, 0, pack('L3', 0, 60, 0) . "\0" x 60 ],
	[ 'config-beyond', 24, 0, pack('L3', 250, 60, 0) . "\0" x 60 ],
	[ 'inflight', 32, 1, pack 'Q2 S2 L', 4096, 0, 1, 128, 0 ],
	[ 'add-region', 37, 1, pack('Q', 0) . $region ],
	[ 'remove-region', 38, 0, pack('Q', 0) . $region ],
	[ 'unknown', 99, 0, '' ],
);
message(@$_) for @requests;
message('reply', 1, 0, '', 5);

# The guest's memory begins at page 16.
my $base = 16 * 4096;

# Begin, flags, descriptors [offset, bytes, flags, next], more [offset => bytes].
sub queue
{
	my ($name, $event, $descriptors, $heads, %more) = @_;
	my $memory = "\0" x 8192;
	my $at = 0;

	for my $d (@$descriptors) {
		substr($memory, 16 * $at++, 16) =
			pack 'Q L S S', $base + $d->[0], @$d[ 1 .. 3 ];
	}
	substr($memory, 512, 4 + 2 * @$heads) = pack 'S*', 0, scalar @$heads, @$heads;
	substr($memory, $_, length $more{$_}) = $more{$_} for keys %more;
	$memory =~ s/\0+\z//;
	seed('vhost-queue', $name, pack('C2', 0, $event) . $memory);
}

sub header { return pack 'L L Q', $_[0], 0, $_[1] }
my @read = ([ 2048, 16, 1, 1 ], [ 4096, 1024, 3, 2 ], [ 2100, 1, 2, 0 ]);
my @write = ([ 2048, 16, 1, 1 ], [ 4096, 1024, 1, 2 ], [ 2100, 1, 2, 0 ]);

queue('read', 1, \@read, [0], 2048 => header(0, 2));
queue('write', 0, \@write, [0], 2048 => header(1, 2));
queue('several', 1, \@read, [ 0, 0, 0 ], 2048 => header(0, 0));
queue('flush', 1, [ [ 2048, 16, 1, 1 ], [ 2100, 1, 2, 0 ] ], [0], 2048 => header(4, 0));
queue('id', 1, [ [ 2048, 16, 1, 1 ], [ 4096, 21, 2, 0 ] ], [0], 2048 => header(8, 0));
queue('discard', 1, [ [ 2048, 32, 1, 1 ], [ 2100, 1, 2, 0 ] ], [0],
	2048 => header(11, 0) . pack 'Q L L', 8, 8, 0);
queue('zeroes', 1, [ [ 2048, 32, 1, 1 ], [ 2100, 1, 2, 0 ] ], [0],
	2048 => header(13, 0) . pack 'Q L L', 8, 8, 1);
queue('past-end', 1, \@read, [0], 2048 => header(0, 127));
queue('loop', 1, [ [ 2048, 16, 1, 0 ] ], [0]);
queue('head-past', 1, \@read, [77]);
queue('index-jumps', 1, \@read, [ (0) x 40 ]);
queue('order', 1, [ [ 4096, 16, 3, 1 ], [ 2048, 16, 1, 2 ], [ 2100, 1, 2, 0 ] ], [0]);
queue('indirect', 1, [ [ 3000, 48, 4, 0 ] ], [0], 2048 => header(0, 2),
	3000 => join '', map { pack 'Q L S S', $base + $_->[0], @$_[ 1 .. 3 ] } @read);
queue('indirect-in-indirect', 1, [ [ 3000, 16, 4, 0 ] ], [0],
	3000 => pack 'Q L S S', $base + 3000, 16, 4, 0);
queue('indirect-odd', 1, [ [ 3000, 17, 4, 0 ] ], [0]);
