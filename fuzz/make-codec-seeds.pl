#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the codec fuzz targets: make-codec-seeds.pl DIRECTORY...
# See fuzz_codec.c for what the first two bytes mean. The same on every
# machine and in every year: the pseudo-random numbers are our own.
use strict;
use warnings;

my $state = 1;

sub random
{
	$state = ($state * 1103515245 + 12345) & 0x7fffffff;
	return $state >> 8;
}

sub text
{
	my @words = qw(page client pool object put get flush evict store codec
		frame handle);
	my $text = '';
	$text .= $words[random() % @words] . ' ' while length $text < $_[0];
	return substr $text, 0, $_[0];
}

sub pointers
{
	my $words = '';
	$words .= pack 'Q<', random() % 3 ? (0x7f12 << 32 | 0x3456_0000) + (random() & 0xfff0) : 0
		while length $words < $_[0];
	return $words;
}

sub noise
{
	return join '', map { chr(random() & 255) } 1 .. $_[0];
}

my %seeds = (
	'round-text' => pack('CC', 0, 255) . text(1500),
	'round-pointers' => pack('CC', 4, 255) . pointers(1024),
	'round-zero-page' => pack('CC', 8, 255) . "\0" x 4096,
	'round-run' => pack('CC', 12, 255) . noise(20) . 'x' x 300 . noise(5),
	'round-small-limit' => pack('CC', 0, 20) . text(700),
	'round-noise' => pack('CC', 0, 255) . noise(200),
	'round-one-byte' => pack('CC', 0, 255) . 'a',
	'any-noise' => pack('CC', 1, 255) . noise(300),
	'any-zeros' => pack('CC', 1, 16) . "\0" x 64,
	'any-ones' => pack('CC', 1, 255) . "\xff" x 600,
	'any-short' => pack('CC', 1, 1) . "\x11\x00\x00",
	'damage-text-begin' => pack('CC', 2, 3) . text(900),
	'damage-text-middle' => pack('CC', 2, 130) . text(900),
	'damage-pointers-end' => pack('CC', 6, 250) . pointers(800),
);

die "usage: make-codec-seeds.pl DIRECTORY...\n" if !@ARGV;
for my $directory (@ARGV) {
	-d $directory or mkdir $directory or die "$directory: $!\n";
	for my $name (sort keys %seeds) {
		open my $file, '>:raw', "$directory/$name"
			or die "$directory/$name: $!\n";
		print $file $seeds{$name};
		close $file or die "$directory/$name: $!\n";
	}
}
