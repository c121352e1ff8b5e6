#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Prints the names of all functions that the named headers declare, sorted.
use strict;
use warnings;

my %names;
for my $path (@ARGV) {
	open(my $file, '<', $path) or die "$path: $!\n";
	local $/;
	my $text = <$file>;
	$text =~ s{/\*.*?\*/}{}gs;
	$text =~ s/^\s*#(?:[^\n]*\\\n)*[^\n]*\n//gm;
	$text =~ s/extern "C" \{//;
	# Bodies of structures and enumerations, innermost first.
	1 while $text =~ s/\{[^{}]*\}//s;
	for my $declaration (split /;/, $text) {
		next if $declaration =~ /\btypedef\b/;
		$names{$1} = 1 if $declaration =~ /\b(tmem_\w+)\s*\(/s;
	}
}
print "$_\n" for sort keys %names;
