#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the ring's fuzz target: make-ring-seeds.pl DIRECTORY
#
# See the first comment of fuzz_ring.c for what the bytes mean.
use strict;
use warnings;

my $dir = shift // die "usage: make-ring-seeds.pl DIRECTORY\n";

sub op { pack 'CC*', 8, @_ }			# command index | pool + 1 << 4
sub wait_now { chr 7 }
my $pool = op(0x10, 0, 0, 0, 1);		# a persistent pool: 0
my $put = op(0x12, 1, 1, 7);
my $get = op(0x13, 1, 2, 7);
my $take = op(0x93, 1, 2, 7);			# with the upper bit: removed
my $raw = pack 'L<l<Q<3L<4Q<LL', 4, 0, 7, 8, 9, 1, 0, 0, 0, 3, 0, 0;

my %seeds = (
	'pages' => "\1" . $pool . wait_now . $put . $get . $take . wait_now .
		op(0x14, 1, 0, 7) . op(0x15, 1, 0, 7) . wait_now,
	'pools' => "\1" . $pool . op(0x18, 0, 0, 0, 2) . op(0x16, 0, 1, 0) .
		op(0x17, 0, 1, 0) . wait_now . op(0x11, 0, 0, 0, 0),
	'raw' => "\1" . $pool . wait_now . "\0" . $raw . wait_now,
	'counter' => "\1" . $pool . wait_now . "\1\0\0\0\0",
	'counter-far' => "\1\1\x80\0\0\0",
	'overwritten' => "\1" . $pool . "\2\0\0\0\0\xff" . "\xa5" x 255,
	'shrunk' => "\1" . $pool . wait_now . "\3\0" . $put . wait_now,
	'holes' => "\1" . $pool . wait_now . "\4\0\0\x10\0" . $put . wait_now .
		"\5\0\0\0\0" . $get . wait_now,
	'said-more' => "\1\6" . 'x' x 16,
	'hello-short' => "\0\x07\1",
	'hello-name' => "\0\x40" . "\xff" x 8 . "\1",
	'hello-rings' => "\0\x30" . "\0\0\0\2\0\0\0\x40" . "\1",
	'hello-two-descriptors' => "\0\x40" . 'x' x 8 . "\2",
);

for my $name (sort keys %seeds) {
	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
	print $file $seeds{$name};
	close $file or die "$dir/$name: $!\n";
}
