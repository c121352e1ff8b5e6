#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes the seeds of the two fuzz targets of saved clients: make-save-seeds.pl
# DIRECTORY-OF-SAVE DIRECTORY-OF-LIBXC
#
# See fuzz_save.c and fuzz_libxc.c for how they are written down, and
# save_stream.h and libxc_abi.h for what they mean.
use strict;
use warnings;

my ($save_dir, $libxc_dir) = @ARGV;
die "usage: make-save-seeds.pl SAVE-DIRECTORY LIBXC-DIRECTORY\n"
	unless defined $libxc_dir;

sub seed
{
	my ($path, @bytes) = @_;
	open my $file, '>', $path or die "$path: $!\n";
	binmode $file;
	print $file @bytes;
	close $file or die "$path: $!\n";
}

# --- ours: blocks --------------------------------------------------------------

sub block { pack('CCS<', $_[0], $_[1], length $_[2]) . $_[2] }
sub pool { pack('L<L<Q<Q<Q<', @_) }
sub client
{
	my ($name, $flags, @pools) = @_;
	return block(1, scalar @pools,
		pack('a64L<L<Q<Q<', $name, 1, $flags, 0, 0) . join('', @pools));
}
sub page { pack('Q<3L<CCx2', @_) }
sub same { page($_[0], 5, 6, $_[1], $_[2], 1) . pack('Q<', $_[3]) }
sub raw { page($_[0], 5, 6, $_[1], $_[2], 0) . $_[3] x 4096 }
sub done { my ($pages, $gone, @pools) = @_;
	return block(6, scalar @pools, pack('Q<3', $pages, $gone, 0) . join('', @pools)) }

my @one = (pool(0, 1, 0, 0, 2));
seed("$save_dir/empty", "\0", client('g', 0), done(0, 0));
seed("$save_dir/pages", "\0", client('g', 2, @one),
	block(3, 2, same(1, 7, 0, 0x4141) . raw(1, 8, 0, 'x')), done(2, 0, @one));
seed("$save_dir/pieces", "\4", client('g', 1, @one),
	block(3, 1, same(1, 7, 0, 3)), done(1, 0, @one));
seed("$save_dir/live", "\2", client('g', 1, @one),
	block(3, 2, same(1, 7, 0, 3) . same(2, 7, 0, 4)), block(5, 0, ''),
	block(4, 1, page(1, 5, 6, 7, 0, 0)), done(2, 1, @one));
seed("$save_dir/later-pool", "\0", client('g', 0),
	block(2, 1, @one), block(3, 1, same(1, 7, 0, 3)), done(1, 0, @one));
seed("$save_dir/shared", "\0", client('g', 0, pool(3, 2, 1, 2, 0)),
	done(0, 0, pool(3, 2, 1, 2, 0)));
seed("$save_dir/taken-name", "\0", client('other', 0), done(0, 0));
seed("$save_dir/no-end", "\0", client('g', 0, @one), block(3, 1, same(1, 7, 0, 3)));
seed("$save_dir/bytes", "\1", 'TMEMSAVE', pack('L<4Q<', 1, 4096, 0, 0, 0));

# --- Xen's ----------------------------------------------------------------------

my $none = pack('L<', 0xffffffff);
sub chunk { pack('l<L<L<', -5, 1, 16) . $none . pack('L<3', @_) . $none }
sub xen_pool { pack('L<3Q<2', @_) }
sub xen_page { pack('Q<3L<', $_[0], 0, 0, $_[1]) . $_[2] x 4096 }
my $end_of_pages = pack('Q<3', (~0) x 3);
seed("$libxc_dir/empty", "\0", chunk(1, 100, 0), $none);
seed("$libxc_dir/pages", "\0", chunk(0, 0, 0), xen_pool(2, 1, 2, 0, 0),
	xen_page(1, 2, 'a'), xen_page(1, 3, 'b'), $none);
seed("$libxc_dir/early-end", "\x05", chunk(0, 0, 0), xen_pool(0, 0, 9, 0, 0),
	xen_page(1, 2, 'a'), $end_of_pages, xen_pool(1, 3, 0, 4, 5), $none);
seed("$libxc_dir/live", "\0", chunk(2, 7, 0), xen_pool(0, 1, 1, 0, 0),
	xen_page(1, 2, 'a'), $none, pack('l<', -6),
	pack('L<Q<3L<', 0, 1, 0, 0, 2), $none);
seed("$libxc_dir/cut", "\0", chunk(0, 0, 0), xen_pool(2, 1, 2, 0, 0), 'cut');
# An error stays one when more bytes can be had behind it.
seed("$libxc_dir/error-stays", "\4", pack('l<L<L<', -5, 1, 85), $none,
	pack('L<3', 1, 100, 0), $none, $none);
