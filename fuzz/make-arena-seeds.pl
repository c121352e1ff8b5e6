#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of fuzz_arena: make-arena-seeds.pl DIRECTORY. What the bytes
# mean is said in fuzz_arena.c.
use strict;
use warnings;

my ($superblock, $client, $pool, $object, $descriptor, $frame) = 0 .. 5;

# Over record $number of a kind, from $at of 256 parts on.
sub patch
{
	my ($kind, $number, $at, @bytes) = @_;
	return pack 'CvCCC*', $kind, $number, $at, @bytes - 1, @bytes;
}

my %seeds = (
	'nothing' => pack('C', 0),
	'nothing-dedup' => pack('C', 4),
	'magic' => pack('C', 0) . patch($superblock, 0, 0, 1),
	'sealed-superblock' => pack('C', 1) . patch($superblock, 0, 10, 0xff, 0xff),
	'client-name' => pack('C', 0) . patch($client, 1, 128, 1),
	'pool-of-another' => pack('C', 2) . patch($pool, 1, 64, 3),
	'object-of-another' => pack('C', 2) . patch($object, 1, 192, 1),
	'objects-alike' => pack('C', 2) . patch($object, 1, 0, 1) . patch($object, 2, 0, 2),
	'descriptor-state' => pack('C', 0) . patch($descriptor, 3, 0, 8),
	'descriptor-kind' => pack('C', 2) . patch($descriptor, 3, 0, 5),
	'descriptor-place' => pack('C', 2) . patch($descriptor, 4, 64, 1, 1, 1),
	'descriptor-allocator' => pack('C', 2) . patch($descriptor, 4, 120, 1),
	'descriptor-object' => pack('C', 2) . patch($descriptor, 5, 128, 1),
	'descriptor-index' => pack('C', 2) . patch($descriptor, 6, 160, 1),
	'descriptor-far' => pack('C', 2) . patch($descriptor, 6, 128, (0xff) x 8),
	'link-astray' => pack('C', 6) . patch($descriptor, 8, 32, 1, 0, 0, 1),
	'freed' => pack('C', 2) . patch($descriptor, 9, 0, 1) . patch($descriptor, 150, 0, 1, 8, 1),
	'frame' => pack('C', 0) . patch($frame, 1, 10, (0x55) x 16),
	'much' => pack('C', 3) . join('', map { patch($_ % 6, $_, 7 * $_ % 256, $_, 255 - $_) } 1 .. 60),
);

die "usage: make-arena-seeds.pl DIRECTORY\n" if @ARGV != 1;
my $directory = $ARGV[0];
-d $directory or mkdir $directory or die "$directory: $!\n";
for my $name (sort keys %seeds) {
	open my $file, '>:raw', "$directory/$name" or die "$directory/$name: $!\n";
	print $file $seeds{$name};
	close $file or die "$directory/$name: $!\n";
}
