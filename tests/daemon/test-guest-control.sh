#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest cannot reach the control socket: not by its channel, whatever it says
# there, and not by the file system, as whoever it runs. It is attached for
# real first, so that it has all that a guest can have.
. "${abs_top_srcdir:?}/tests/daemon/daemon_common.sh"
needs_json
for python in python3 /usr/bin/python3 none; do
	"$python" -c 'import socket; socket.send_fds' 2>/dev/null && break
done
test $python = none && skip "no python3 that can pass descriptors"
as_guest=
guest_uid=$(id -u)
if test "$guest_uid" = 0 && type setpriv >/dev/null 2>&1; then
	guest_uid=65534
	as_guest="setpriv --reuid $guest_uid --regid $guest_uid --clear-groups"
	chmod 711 .
fi
cat >conf <<-END
	[client web]
	socket = $scratch/web.sock
	owner = $guest_uid
	weight = 3
END
start --memory 64M --config conf

cat >guest.py <<'END'
import errno, os, socket, struct, sys
web, control, client = sys.argv[1:]
requests = [b"GET /clients HTTP/1.1\r\nHost: x\r\n\r\n",
	b"POST /clients/all/destroy HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	b"POST /clients/web/set HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n"
	b'{"weight": 999}']
def peer(kind=socket.SOCK_SEQPACKET):
	s = socket.socket(socket.AF_UNIX, kind)
	s.settimeout(10)
	s.connect(web)
	return s
def hello(s, name=b""):
	memory = os.memfd_create("guest")
	os.truncate(memory, 1 << 20)
	socket.send_fds(s, [struct.pack("=8sIIQII64s", b"tmemring", 1, 0, 1 << 20,
		1, 16, name)], [memory])
	data, fds, _, _ = socket.recv_fds(s, 4096, 4)
	return struct.unpack_from("=8sIi", data)[2], data, fds
# HTTP in place of a hello: whatever comes back is not HTTP.
for request in requests:
	s = peer()
	s.send(request)
	try:
		answer = s.recv(65536)
	except OSError:
		answer = b""
	assert not answer.startswith(b"HTTP"), answer
	s.close()
# The channel is no stream that curl could speak.
try:
	peer(socket.SOCK_STREAM)
	sys.exit("the channel takes streams")
except OSError as e:
	assert e.errno == errno.EPROTOTYPE, e
# Attached, as a guest is; then HTTP.
for request in requests:
	for attempt in range(50):
		s = peer()
		status, data, fds = hello(s)
		if status != -errno.EBUSY:
			break
	assert status == 0 and len(fds) == 1, (status, fds)
	# Nothing that was passed is a socket.
	for fd in fds:
		assert not os.path.realpath(f"/proc/self/fd/{fd}").startswith("socket"), fd
	try:
		s.send(request)
		answer = s.recv(65536)
	except OSError:
		answer = b""
	assert answer == b"", answer
	s.close()
	for fd in fds:
		os.close(fd)
# By the file system: only where the guest is somebody else than the operator.
if client == "other":
	for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
		try:
			s = socket.socket(socket.AF_UNIX, kind)
			s.connect(control)
			sys.exit("the guest reaches the control socket")
		except OSError as e:
			assert e.errno in (errno.EACCES, errno.EPERM), e
	try:
		os.listdir(os.path.dirname(control))
		sys.exit("the guest sees the control socket's directory")
	except OSError as e:
		assert e.errno == errno.EACCES, e
print("done")
END
chmod 644 guest.py
who=same
test -z "$as_guest" || who=other
# shellcheck disable=SC2086
$as_guest timeout 60 "$python" "$scratch/guest.py" "$scratch/web.sock" \
	"$TMEM_CONTROL" $who >guest.out 2>&1
test "$(tail -n 1 guest.out)" = done || complain "the guest: $(cat guest.out)"

# Where the directory's mode were wrong, the peer's user still counts.
if test $who = other; then
	chmod 711 "$scratch/control"
	chmod 666 "$TMEM_CONTROL"
	# shellcheck disable=SC2086
	$as_guest "$abs_top_builddir/tmem" --control "$TMEM_CONTROL" list \
		>out 2>err && complain "another user lists clients"
	grep -q "only root and the daemon's own user" err ||
		complain "another user hears: $(cat err)"
fi

expect 0 list web --json
json '$j->{weight} == 3 && $j->{name} eq "web"'
end
finish
