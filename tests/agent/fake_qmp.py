#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A monitor of QEMU's, or what is none, for the tests of tmem-balloon.

    fake_qmp.py SOCKET MODE [KEY=VALUE...]

Serves SOCKET until it is killed, one connection at a time, and prints a line
for each target it is given, and when a connection begins, is over, or waits. MODE `good` is a guest of 1 GiB that uses
used_mib=100 and does what it is told; with caches=1 it tells of page cache, and
50 MiB of what it uses are the kernel's own. Other modes are good until something is
wrong with them:

    hang-up     closes after twenty commands, each time
    mute        says nothing, ever
    deaf        stops answering after five commands
    chatter     does not stop talking
    no-json     greets with words
    no-qmp      greets with an object of another kind
    other-id    replies with another number
    unasked     replies twice
    no-reply    says what is neither
    half        answers byte by byte, with events between the messages
    deep        replies with nested arrays without end
    refuses     refuses targets
    stale       statistics are never renewed
    stalls      statistics stop being renewed after ten seconds
    unset       statistics are all 2^64 - 1
    liar        more is available than there is
    words       numbers are words
    negative    sizes are negative
    no-balloon  has no balloon
    no-stats    guest-stats is an error
    no-size     does not know the command that says how much memory it can have
    no-base     that command says nothing
    plugs       as much memory again is plugged, at the first target below
                600 MiB
    holds       the third time it tells of less than 1000 MiB that waits for a
                file SOCKET.go; from then on it has major faults
    press       a minute of major faults, from the first target below 600 MiB
"""
import json
import os
import socket
import sys
import time

MIB = 1 << 20
UNSET = (1 << 64) - 1


class Gone(Exception):
    pass


class Monitor:
    def __init__(self, path, mode, settings):
        self.path = path
        self.mode = mode
        self.max = int(settings.get("max_mib", 1024)) * MIB
        self.used = int(settings.get("used_mib", 100)) * MIB
        self.caches = "caches" in settings
        self.plugged = 0
        self.actual = self.max
        self.born = time.time()
        self.driven = None
        self.faults = 1000
        self.commands = 0
        self.is_pressed = False
        self.small_looks = 0

    def say(self, peer, message):
        data = (json.dumps(message) + "\r\n").encode()
        if self.mode == "half":
            for i in range(0, len(data), 7):
                peer.sendall(data[i:i + 7])
            event = {"event": "BALLOON_CHANGE", "data": {"actual": 7}}
            peer.sendall((json.dumps(event) + "\r\n").encode())
            return
        peer.sendall(data)

    def stats(self):
        now = int(time.time())
        if self.mode == "stale":
            now = int(self.born) - 1000
        if self.mode == "stalls" and self.driven:
            now = min(now, int(self.driven) + 5)
        if self.is_pressed:
            self.faults += 1000
        available = max(self.actual - self.used, 0)
        if self.mode == "liar":
            available = 2 * self.max
        stats = {
            "stat-total-memory": self.actual - 50 * MIB,
            "stat-available-memory": min(available, self.actual - 50 * MIB),
            "stat-free-memory": available // 2,
            "stat-major-faults": self.faults,
            "stat-minor-faults": 123456,
            "stat-swap-in": 0,
            "stat-swap-out": 0,
            "stat-htlb-pgalloc": UNSET,
        }
        if self.caches:
            stats["stat-disk-caches"] = available - available // 2
        if self.mode == "liar":
            stats["stat-available-memory"] = available
        if self.mode == "unset":
            stats = {key: UNSET for key in stats}
        if self.mode == "words":
            stats = {key: "some" for key in stats}
        if self.mode == "negative":
            stats = {key: -4096 for key in stats}
        return {"stats": stats, "last-update": now}

    def returns(self, name, arguments):
        if name == "qom-list":
            kind = "e1000" if self.mode == "no-balloon" else "virtio-balloon-pci"
            return [{"name": "type", "type": "string"},
                    {"name": "b", "type": "child<%s>" % kind}]
        if name == "query-memory-size-summary":
            if self.mode == "no-base":
                return {}
            return {"base-memory": self.max, "plugged-memory": self.plugged}
        if name == "query-balloon":
            return {"actual": "much" if self.mode == "words" else self.actual}
        if name == "qom-get":
            return self.stats()
        if name == "balloon":
            print("target", arguments["value"], flush=True)
            self.actual = min(arguments["value"], self.max + self.plugged)
            if self.actual < self.max and not self.driven:
                self.driven = time.time()
            if self.mode == "plugs" and self.actual < 600 * MIB and \
                    not self.plugged:
                self.plugged = self.max
                self.actual += self.plugged
            if self.mode == "press" and self.actual < 600 * MIB:
                self.is_pressed = True
        return {}

    def answer(self, peer, message):
        name = message["execute"]
        self.commands += 1
        if name == "query-balloon" and self.actual < 1000 * MIB:
            self.small_looks += 1
        if self.mode == "holds" and self.small_looks == 3 and \
                not self.is_pressed:
            print("holds", flush=True)
            while not os.path.exists(self.path + ".go"):
                time.sleep(0.02)
            self.is_pressed = True
        reply = {"return": self.returns(name, message.get("arguments"))}
        if self.mode == "refuses" and name == "balloon" or \
                self.mode == "no-size" and name.startswith("query-memory") or \
                self.mode == "no-stats" and name == "qom-get":
            reply = {"error": {"class": "GenericError", "desc": "not\ntoday"}}
        if "id" in message:
            reply["id"] = message["id"]
        if self.mode == "other-id" and self.commands > 5:
            reply["id"] = 77777
        if self.mode == "no-reply" and self.commands > 5:
            reply = {"id": reply.get("id"), "answer": 42}
        if self.mode == "deep" and self.commands > 5:
            peer.sendall(b"[" * 60000 + b"\n")
        if self.mode == "deaf" and self.commands > 5:
            time.sleep(3600)
        self.say(peer, reply)
        if self.mode == "unasked" and self.commands > 5:
            self.say(peer, reply)
        if self.mode == "hang-up" and self.commands % 20 == 0:
            raise Gone

    def serve(self, peer):
        if self.mode == "mute":
            time.sleep(3600)
        if self.mode == "no-json":
            peer.sendall(b"220 mail.example.org ESMTP\r\n")
        if self.mode == "no-qmp":
            self.say(peer, {"hello": "world"})
        while self.mode == "chatter":
            peer.sendall(b"x" * 65536)
        self.say(peer, {"QMP": {"version": {}, "capabilities": ["oob"]}})
        for line in peer.makefile("r"):
            self.answer(peer, json.loads(line))


def main():
    path, mode = sys.argv[1:3]
    monitor = Monitor(path, mode, dict(s.split("=", 1) for s in sys.argv[3:]))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(4)
    os.rename(path + ".new", path)
    while True:
        peer, _ = listener.accept()
        print("connected", flush=True)
        try:
            monitor.serve(peer)
        except (Gone, OSError, ValueError):
            pass
        peer.close()
        print("closed", flush=True)


main()
