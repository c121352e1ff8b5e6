#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# A small process worth capturing: it keeps a table of files and a grid of
# numbers, the way a file manager or a simulation does, then waits until its
# standard input ends.
#
#	process-files.pl READY MEBIBYTES FOLDER...
#
# The file READY is made once about MEBIBYTES of memory are full: two thirds
# of records, a third of floating-point numbers.
use strict;
use warnings;
use File::Find;

my ($ready, $mebibytes, @folders) = @ARGV;
my (@records, %by_owner, $done);

# As in process-words.pl.
my %prctl = (x86_64 => 157, aarch64 => 167);
chomp(my $machine = `/bin/uname -m`);
syscall($prctl{$machine}, 0x59616d61, -1, 0, 0, 0) if $prctl{$machine};

sub resident_mebibytes {
	open(my $file, '<', '/proc/self/statm') or return 0;
	return (split ' ', <$file>)[1] / 256;
}

my $grid = '';
my $cells = int($mebibytes * (1 << 20) / 3 / 8);
for my $i (0 .. $cells / 64 - 1) {
	# Rounded, as measured values are.
	$grid .= pack('d64', map { int(1000 * sin($i / 50 + $_ / 9)) / 8 } 1 .. 64);
}

sub take_file {
	return if $done;
	my @stat = lstat $_ or return;
	my %record = (
		path => $_, mode => $stat[2], links => $stat[3],
		size => $stat[7], modified => $stat[9],
		label => sprintf('%-40s %10d bytes', $_, $stat[7]),
		parts => [ split m{/}, $_ ],
	);
	push @records, \%record;
	push @{ $by_owner{"$stat[4]:$stat[5]"} }, \%record;
	$done = resident_mebibytes() >= $mebibytes unless @records % 256;
}

find({ wanted => \&take_file, no_chdir => 1,
	preprocess => sub { sort @_ } }, grep { -d } @folders);

open(my $file, '>', $ready) or die "$ready: $!\n";
printf $file "%d records, %d numbers\n", scalar @records, length($grid) / 8;
close($file);
1 while <STDIN>;
