#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the allocator fuzz target: make-allocator-seeds.pl
# DIRECTORY. See fuzz_allocator.c for what the bytes mean. The same on every
# machine and in every year: the pseudo-random numbers are our own.
use strict;
use warnings;

my $state = 1;

sub random
{
	$state = ($state * 1103515245 + 12345) & 0x7fffffff;
	return ($state >> 8) % $_[0];
}

sub step
{
	my ($what, $object, $size) = @_;
	return pack 'CCn', $what, $object, $size;
}

sub filled
{
	return join '', map { step(random(2) * 16, $_, random(4097)) } 0 .. 63;
}

sub freed
{
	return join '', map { step(6, random(64), 0) } 1 .. 40;
}

sub churn
{
	return join '', map { step(random(10) | random(2) << 4, random(64), random(4097)) } 1 .. 150;
}

my %seeds = (
	'fill-free' => sub { filled() . freed() . step(15, 0, 0) },
	'fill-free-move' => sub { filled() . freed() . step(9, 64, 0) x 8 },
	'churn' => sub { filled() . churn() },
	'restart' => sub { filled() . freed() . step(14, 7, 0x1234) . churn() },
	'no-frames' => sub { step(12, 0, 0x0900) . filled() . step(12, 3, 0x2000) . churn() },
	'no-memory' => sub { step(13, 3, 0) . filled() . step(13, 99, 0) . churn() },
	'near' => sub { filled() . join '', map { step(10, $_, 0x4000) } 0 .. 63 },
	'tiny' => sub { join '', map { step(0, random(64), 1 + random(30)) } 1 .. 200 },
);

my $directory = shift or die "usage: make-allocator-seeds.pl DIRECTORY\n";
for my $name (sort keys %seeds) {
	for my $allocator (0, 1) {
		open my $file, '>:raw', "$directory/$name-$allocator"
			or die "$directory/$name-$allocator: $!\n";
		print $file chr($allocator), $seeds{$name}->();
		close $file or die;
	}
}
