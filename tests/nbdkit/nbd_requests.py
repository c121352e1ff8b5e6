#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
#
# A client that does what it must not, and one that does everything at once;
# run by test-nbdkit-requests.sh: nbd_requests.py URI SEED.
#
# The second keeps a copy of what the disk must hold. Requests that are under
# way together never overlap, since which of two comes last is nobody's promise.

import errno
import random
import sys

import nbd

uri, seed = sys.argv[1], int(sys.argv[2])
chance = random.Random(seed)
failures = 0


def complain(what):
    global failures
    failures += 1
    print("FAILED:", what)


def connect():
    handle = nbd.NBD()
    handle.add_meta_context("base:allocation")
    handle.connect_uri(uri)
    # Whether a request may be sent is not to be judged here.
    handle.set_strict_mode(0)
    return handle


def refused(what, wanted, call):
    try:
        call()
    except nbd.Error as error:
        if error.errnum not in wanted:
            complain("%s: %s" % (what, error))
    else:
        complain("%s: was carried out" % what)


def illegal():
    h = connect()
    size = h.get_size()
    no = (errno.EINVAL, errno.ENOSPC, errno.ENOMEM, errno.EOVERFLOW)
    h.pwrite(b"x" * 512, size - 512)
    for offset in (size, size - 511, size + 4096, 2 ** 63 - 4096,
                   2 ** 64 - 4096, 2 ** 64 - 1):
        refused("read at %d" % offset, no, lambda: h.pread(512, offset))
        refused("write at %d" % offset, no,
                lambda: h.pwrite(b"y" * 512, offset))
        refused("trim at %d" % offset, no, lambda: h.trim(512, offset))
        refused("zero at %d" % offset, no, lambda: h.zero(512, offset))
        refused("cache at %d" % offset, no, lambda: h.cache(512, offset))
        refused("extents at %d" % offset, no,
                lambda: h.block_status(512, offset, lambda *a: 0))
    refused("trim of all and more", no, lambda: h.trim(2 ** 32 - 1, 4096))
    refused("zero of all and more", no, lambda: h.zero(2 ** 32 - 1, 4096))
    refused("unknown flags of a read", no, lambda: h.pread(512, 0, 0x8000))
    refused("unknown flags of a write", no,
            lambda: h.pwrite(b"z" * 512, 0, 0x8000))
    if bytes(h.pread(512, size - 512)) != b"x" * 512:
        complain("an illegal request changed the last sector")
    # It may hang up on these; it must not fall over.
    for call in (lambda g: g.pread(2 ** 26 + 1, 0),
                 lambda g: g.pread(0, 0), lambda g: g.pwrite(b"", 0),
                 lambda g: g.trim(0, 0),
                 lambda g: g.pwrite(b"a" * (2 ** 26 + 1), 0)):
        other = connect()
        try:
            call(other)
        except nbd.Error:
            pass
    if bytes(h.pread(512, size - 512)) != b"x" * 512:
        complain("a request of a strange size changed the last sector")
    h.zero(512, size - 512)
    h.shutdown()


# 4096 bytes, or more.
def piece(kind):
    if kind % 4 == 0:
        return bytes([chance.randrange(256)]) * 4096
    if kind % 4 == 1:
        return chance.randbytes(4096)
    return (b"%06d " % chance.randrange(10 ** 6)) * 1024


def contents(length):
    return b"".join(piece(chance.randrange(8))
                    for _ in range(length // 4096 + 1))[:length]


def extents_agree(handle, want):
    found = []

    def take(context, offset, entries, error):
        at = offset
        for length, flags in zip(entries[::2], entries[1::2]):
            found.append((at, length, flags))
            at += length
        return 0

    at = 0
    while at < len(want):
        found.clear()
        handle.block_status(len(want) - at, at, take)
        if not found or found[0][0] != at:
            return complain("extents at %d: %s" % (at, found[:3]))
        for start, length, flags in found:
            end = min(start + length, len(want))
            if flags & nbd.STATE_ZERO and any(want[start:end]):
                return complain("a hole at %d with data in it" % start)
            at = start + length


def together(rounds):
    handles = [connect() for _ in range(3)]
    size = min(handles[0].get_size(), 4 << 20)
    want = bytearray(size)
    handles[0].zero(size, 0)
    for _ in range(rounds):
        waiting, at = [], chance.randrange(5000)
        reads = []
        while at < size:
            length = chance.choice((1, 511, 512, 4095, 4096, 4097, 9000,
                                    65536, chance.randrange(1, 100000)))
            length = min(length, size - at)
            h = chance.choice(handles)
            kind = chance.randrange(6)
            if kind < 2:
                data = contents(length)
                want[at:at + length] = data
                cookie = h.aio_pwrite(nbd.Buffer.from_bytearray(
                    bytearray(data)), at)
            elif kind == 2:
                want[at:at + length] = bytes(length)
                cookie = h.aio_zero(length, at, flags=chance.choice(
                    (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FAST_ZERO,
                     nbd.CMD_FLAG_FUA)))
            elif kind == 3:
                # What a trim leaves of its last blocks is the disk's choice.
                start = at + -at % 4096
                end = (at + length) // 4096 * 4096
                length = max(end - start, 0)
                if not length:
                    at += 4096
                    continue
                want[start:end] = bytes(length)
                cookie = h.aio_trim(length, start)
                at = start
            elif kind == 4:
                cookie = h.aio_cache(length, at)
            else:
                buffer = nbd.Buffer(length)
                reads.append((at, length, buffer))
                cookie = h.aio_pread(buffer, at)
            waiting.append((h, cookie))
            # Neighbours meet in one block; that is what is tried.
            at += length + chance.choice((0, 0, 1, 4096, 20000))
        for h, cookie in waiting:
            while not h.aio_command_completed(cookie):
                h.poll(-1)
        for start, length, buffer in reads:
            if buffer.to_bytearray() != want[start:start + length]:
                complain("a read of %d at %d beside writes: other bytes"
                         % (length, start))
        for h in handles:
            if h.pread(size, 0) != want:
                complain("contents differ, seed %d" % seed)
                return
        extents_agree(handles[0], want)
    for h in handles:
        h.shutdown()


print("seed %d (TMEM_SEED)" % seed)
illegal()
together(12)
sys.exit(failures != 0)
