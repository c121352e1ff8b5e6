#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the operations' fuzz target: make-xen-op-seeds.pl DIRECTORY
#
# Guests that do what guests do, one of each sort; see fuzz_xen_op.c for how
# they are written down.
use strict;
use warnings;

my $dir = shift // die "usage: make-xen-op-seeds.pl DIRECTORY\n";
my ($compat, $plain, $remove, $in_memory, $host) = (1, 2, 4, 8, 128);
my $what;

sub op
{
	my ($cmd, $pool, $arm) = @_;
	my $size = $what & $compat ? 52 : 56;
	my $op = substr pack('L<l<', $cmd, $pool) . $arm . "\0" x 56, 0, $size;

	$op .= "\1" if $what & $in_memory;
	return chr($what) . $op;
}

sub pool_new
{
	my ($flags, $uuid) = @_;
	return op(1, 0, pack('Q<Q<L<', $uuid, $uuid, 1 << 24 | $flags));
}

sub page
{
	my ($cmd, $pool, $object, $index, $frame) = @_;
	return op($cmd, $pool,
		  pack('Q<3L<4L<', $object, 1, 2, $index, 9, 9, 9, $frame));
}

sub life
{
	my ($flags) = @_;
	my $all = pool_new($flags, 5) . pool_new($flags, 5);

	for my $index (0 .. 3) {
		$all .= page(4, 0, 1, $index, $index);
		$all .= page(4, 1, $index, 1, 2);
	}
	$all .= page(4, 0, 1, 1, 2) . page(4, 0, 1, 2, 77);
	$all .= page(5, 0, 1, 1, 3) . page(5, 0, 1, 1, 3) . page(5, 1, 9, 9, 77);
	$all .= page(6, 0, 1, 0, 0) . page(7, 0, 1, 0, 0) . page(99, 0, 0, 0, 0);
	return $all . op(2, 0, '') . op(2, 0, '') . op(2, -1, '');
}

# A privileged operation on the guest, on pool 0.
sub control
{
	my ($cmd, $len, $arg, $buffer) = @_;
	return chr($host | 6) . "\0" . chr($cmd) . "\0\0" . chr($len) .
		chr($arg) . "\1" . substr $buffer . "\0" x 64, 0, 64;
}

sub event
{
	my ($number, @bytes) = @_;
	return chr($host | $number) . join '', map { chr } @bytes;
}

sub seed
{
	my ($name, $bytes) = @_;

	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
	print $file $bytes;
	close $file or die "$dir/$name: $!\n";
}

my %kinds = (
	'native' => 0,
	'compat' => $compat,
	'plain' => $plain | $remove,
	'memory' => $in_memory,
	'memory-compat-remove' => $in_memory | $compat | $remove,
);

for my $kind (sort keys %kinds) {
	$what = $kinds{$kind};
	seed($kind . '-ephemeral', life(0));
	seed($kind . '-persistent', life(1));
	# Let in first.
	seed($kind . '-shared',
	     control(11, 1, 0, pack('L<2Q<3', 4, 0, 0, 5, 5)) . life(2));
}
$what = 0;
seed('frozen', pool_new(1, 0) . page(4, 0, 1, 1, 0) . control(1, 0, 0, '') .
	life(1) . control(0, 0, 0, '') . life(0));
seed('saved', pool_new(1, 0) . page(4, 0, 1, 1, 0) . page(4, 0, 1, 2, 0) .
	control(10, 0, 1, '') . control(19, 200, 0, '') . page(6, 0, 1, 1, 0) .
	control(20, 1, 0, '') . control(20, 1, 0, '') . control(21, 0, 0, '') .
	life(1));
seed('restored', control(30, 0, 0, '') .
	control(9, 1, 0, pack('L<2Q<3', 1 << 24 | 1, 0, 0, 0, 0)) .
	control(32, 128, 3, 'page') . control(33, 0, 3, '') . life(1));
seed('holes', pool_new(1, 0) . page(4, 0, 1, 1, 0) . event(0, 0) .
	page(4, 0, 1, 1, 0) . event(1, 0) . page(5, 0, 1, 1, 0) . event(1, 16) .
	life(1));
seed('ballooned', event(2, 100, 50) . pool_new(1, 0) . page(4, 0, 1, 1, 0) .
	event(2, 98, 50) . life(1));
seed('died', life(1) . event(5, 1) . life(1));
seed('listed', life(0) . control(4, 128, 1, '') . control(4, 1, 1, '') .
	control(5, 1, 0, '') . control(7, 4, 0, '') . event(3, 255) .
	event(4, 0));
