#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the model's fuzz target: make-model-seeds.pl DIRECTORY
#
# One for each kind of store (see configure() in fuzz_model.c), followed by
# choices from a generator that is the same everywhere. What makes a good seed
# is only its length: every byte is a choice.
use strict;
use warnings;

my $dir = shift // die "usage: make-model-seeds.pl DIRECTORY\n";
my %kinds = (
	'zsmalloc'	       => 0,
	'zbud-small'	       => 1 | 2,
	'small-memfd'	       => 2 | 16,
	'dedup'		       => 4 | 8,
	'dedup-ephemeral-zbud' => 1 | 4,
	'dedup-small'	       => 2 | 4 | 8 | 16,
);

for my $name (sort keys %kinds) {
	my $state = $kinds{$name} + 1;
	open my $file, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
	print $file chr $kinds{$name};
	for (1 .. 2000) {
		$state = ($state * 1103515245 + 12345) & 0x7fffffff;
		print $file chr($state >> 16 & 255);
	}
	close $file or die "$dir/$name: $!\n";
}
