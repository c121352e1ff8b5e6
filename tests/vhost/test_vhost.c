/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vhost-user-blk door, from the other side, over a disk of plain memory.
 *
 * What must hold: data comes back as it was written, in any number of pieces
 * and from any queue; an error of the disk is that request's and nobody else's;
 * a front end that comes back finds its unfinished requests finished; a change
 * of memory under a request harms nobody; what is offered is what is done.
 */
#include <config.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "plain_disk.h"
#include "vhost.h"
#include "vhost_peer.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HAS_FEW_ADDRESSES 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define HAS_FEW_ADDRESSES 1
#endif

#define DISK_BYTES (8u << 20)
#define FDS_NOTED 1024
#define BIT(n) (UINT64_C(1) << (n))

static char socket_path[108];
static struct tm_disk *disk;
static struct tm_vhost *door;
static struct vhost_peer peer;
static uint64_t seed;
static struct {
	pthread_mutex_t lock;
	char text[256]; /* the last warning */
} said = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void note_warning(void *opaque, enum tmem_log_level level,
			 const char *text)
{
	(void)opaque;
	if (level > TMEM_LOG_WARNING)
		return;
	pthread_mutex_lock(&said.lock);
	snprintf(said.text, sizeof(said.text), "%s", text);
	pthread_mutex_unlock(&said.lock);
}

static bool was_said(const char *text)
{
	bool was;

	pthread_mutex_lock(&said.lock);
	was = strstr(said.text, text);
	pthread_mutex_unlock(&said.lock);
	return was;
}

static int listen_here(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	unlink(socket_path);
	strcpy(address.sun_path, socket_path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)),
			 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	return fd;
}

static void open_door(bool is_readonly)
{
	struct tm_vhost_config config = {
		.disk = disk,
		.listen_fd = listen_here(),
		.name = "disk-of-a-test",
		.is_readonly = is_readonly,
		.block_bytes = 4096,
		.queues = PEER_QUEUES,
		.threads = 2,
		.log = note_warning,
	};

	ck_assert_int_eq(tm_vhost_open(&config, &door), 0);
}

static void setup(void)
{
	snprintf(socket_path, sizeof(socket_path), "/tmp/tmem-vhost.%d",
		 (int)getpid());
	seed = tm_test_seed();
	disk = plain_disk_new(DISK_BYTES);
	open_door(false);
	peer_init(&peer);
}

static void teardown(void)
{
	peer_close(&peer);
	tm_vhost_close(door);
	tm_disk_close(disk);
	unlink(socket_path);
}

static void fill(void *to, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 8) {
		uint64_t word = tm_test_random(&seed);

		memcpy((char *)to + i, &word, 8);
	}
}

static void connect_peer(uint32_t queues)
{
	ck_assert_int_eq(peer_setup(&peer, socket_path, queues), 0);
}

/* Who looks at an event is overtaken by its owner, who empties it. */
static _Atomic bool is_fickle;
/* How often the door's thread has looked at one, waiting for a worker. */
static _Atomic unsigned looks;
/* Who looks whether a front end hangs up or another one comes is overtaken by
 * one that does both, if that is wanted. */
static _Atomic bool is_overtaken;
static sem_t overtaken;

int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	int ready = __real_poll(fds, count, timeout_ms);
	uint64_t value;
	struct iovec iov = { &value, sizeof(value) };

	if (count == 3 && atomic_exchange(&is_overtaken, false)) {
		sem_wait(&overtaken);
		ready = __real_poll(fds, count, timeout_ms);
		fds[1].revents = 0;
	}
	if (count != 1 || timeout_ms)
		return ready;
	looks++;
	if (is_fickle && !ready)
		ck_assert_int_gt(preadv2(fds->fd, &iov, 1, -1, RWF_NOWAIT), 0);
	return ready;
}

/* --- data ---------------------------------------------------------------- */

START_TEST(what_is_written_is_read_from_every_queue)
{
	uint8_t written[PEER_QUEUES][8192], read[8192];

	connect_peer(PEER_QUEUES);
	ck_assert_uint_eq(peer.size_bytes, DISK_BYTES);
	for (uint32_t q = 0; q < PEER_QUEUES; q++) {
		fill(written[q], sizeof(written[q]));
		ck_assert_int_eq(peer_request(&peer, q, TM_VIRTIO_BLK_OUT,
					      q * 16, written[q], 8192),
				 TM_VIRTIO_BLK_OK);
	}
	for (uint32_t q = 0; q < PEER_QUEUES; q++) {
		uint32_t other = (q + 1) % PEER_QUEUES;

		ck_assert_int_eq(peer_request(&peer, other, TM_VIRTIO_BLK_IN,
					      q * 16, read, 8192),
				 TM_VIRTIO_BLK_OK);
		ck_assert_mem_eq(read, written[q], 8192);
	}
}
END_TEST

/* Header, data and status cut anywhere, in an indirect table. */
static void build_in_pieces(uint32_t type, uint32_t header_first,
			    uint32_t data_first)
{
	struct tm_virtio_blk_header header = {
		.type = htole32(type),
		.sector = htole64(8),
	};
	uint16_t data = type == TM_VIRTIO_BLK_IN ? TM_VIRTIO_WRITE : 0;
	struct tm_virtio_descriptor *table =
		(void *)(peer.memory + PEER_SCRATCH);
	size_t at = PEER_SCRATCH + 0x1000, data_at = PEER_SCRATCH + 0x2000;
	/* The status is the end of what data can be written, or alone. */
	struct tm_virtio_descriptor pieces[] = {
		{ peer_guest(at), header_first, 0, 0 },
		{ peer_guest(at + header_first), 16 - header_first, 0, 0 },
		{ peer_guest(data_at), data_first, data, 0 },
		{ peer_guest(data_at + data_first),
		  4096 - data_first + (data ? 1 : 0), data, 0 },
		{ peer_guest(data_at + 4096), 1, TM_VIRTIO_WRITE, 0 },
	};
	size_t count = data ? 4 : 5;

	memcpy(peer.memory + at, &header, sizeof(header));
	peer.memory[data_at + 4096] = 0xff;
	for (size_t i = 0; i < count; i++) {
		table[i] = pieces[i];
		if (i + 1 < count) {
			table[i].flags |= TM_VIRTIO_NEXT;
			table[i].next = (uint16_t)(i + 1);
		}
	}
	peer_describe(&peer, 0, 5, peer_guest(PEER_SCRATCH),
		      (uint32_t)(count * sizeof(*table)), TM_VIRTIO_INDIRECT,
		      0);
}

START_TEST(pieces_may_be_cut_anywhere)
{
	uint8_t *data = peer.memory + PEER_SCRATCH + 0x2000;
	uint8_t expected[4096];

	connect_peer(1);
	for (uint32_t cut = 1; cut < 16; cut += 7) {
		fill(expected, sizeof(expected));
		memcpy(data, expected, sizeof(expected));
		build_in_pieces(TM_VIRTIO_BLK_OUT, cut, cut * 100);
		peer_offer(&peer, 0, 5);
		peer_kick(&peer, 0);
		ck_assert_int_eq(peer_wait_used(&peer, 0,
						peer.queue[0].available,
						PEER_WAIT_MS),
				 0);
		ck_assert_uint_eq(data[4096], TM_VIRTIO_BLK_OK);
		memset(data, 0, 4096);
		build_in_pieces(TM_VIRTIO_BLK_IN, 16 - cut, cut * 13);
		peer_offer(&peer, 0, 5);
		peer_kick(&peer, 0);
		ck_assert_int_eq(peer_wait_used(&peer, 0,
						peer.queue[0].available,
						PEER_WAIT_MS),
				 0);
		ck_assert_uint_eq(data[4096], TM_VIRTIO_BLK_OK);
		ck_assert_mem_eq(data, expected, 4096);
	}
	ck_assert_uint_eq(
		peer_used(&peer, 0, (uint16_t)(peer.queue[0].available - 1))
			.bytes,
		4097);
}
END_TEST

START_TEST(many_requests_are_answered_once_each)
{
	int seen[21] = { 0 };

	connect_peer(1);
	for (int round = 0; round < 200; round++) {
		for (uint16_t i = 0; i < 20; i++) {
			peer_build(&peer, 0, (uint16_t)(3 * i), i,
				   TM_VIRTIO_BLK_OUT, 8u * i, 4096);
			memset(peer_slot_data(&peer, i), i + round, 4096);
			peer_offer(&peer, 0, (uint16_t)(3 * i));
			if (i % 7 == 0)
				peer_kick(&peer, 0);
		}
		peer_kick(&peer, 0);
		ck_assert_int_eq(peer_wait_used(&peer, 0,
						peer.queue[0].available,
						PEER_WAIT_MS),
				 0);
		for (uint16_t i = 0; i < 20; i++) {
			struct tm_virtio_used used = peer_used(
				&peer, 0,
				(uint16_t)(peer.queue[0].available - 20 + i));

			ck_assert_uint_eq(peer_slot_status(&peer, i), 0);
			ck_assert_uint_eq(used.id % 3, 0);
			ck_assert_uint_lt(used.id, 60);
			seen[used.id / 3]++;
		}
	}
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(seen[i], 200);
}
END_TEST

START_TEST(discard_and_write_zeroes_leave_zeros)
{
	struct tm_virtio_blk_range ranges[2] = {
		{ htole64(8), htole32(8), 0 },
		{ htole64(32), htole32(8), 0 },
	};
	uint8_t data[16384], zeros[4096] = { 0 };

	connect_peer(1);
	for (uint32_t type = TM_VIRTIO_BLK_DISCARD;
	     type <= TM_VIRTIO_BLK_WRITE_ZEROES; type += 2) {
		memset(data, 7, sizeof(data));
		ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 8,
					      data, sizeof(data)),
				 TM_VIRTIO_BLK_OK);
		ck_assert_int_eq(
			peer_request(&peer, 0, type, 0, ranges, sizeof(ranges)),
			TM_VIRTIO_BLK_OK);
		ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 8,
					      data, sizeof(data)),
				 TM_VIRTIO_BLK_OK);
		ck_assert_mem_eq(data, zeros, 4096);
		ck_assert_uint_eq(data[4096], 7);
		ck_assert_mem_eq(data + 12288, zeros, 4096);
	}
}
END_TEST

START_TEST(errors_are_the_requests_own)
{
	struct tm_virtio_blk_range bad = { htole64(0), htole32(8), htole32(2) };
	uint8_t data[8192] = { 1 };
	char id[TM_VIRTIO_BLK_ID_BYTES];

	connect_peer(1);
	plain_disk_refuse(disk, 3);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 16, data, 8192),
		TM_VIRTIO_BLK_IOERR);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 32, data, 4096),
		TM_VIRTIO_BLK_OK);
	ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_IN,
				      DISK_BYTES / 512 - 1, data, 1024),
			 TM_VIRTIO_BLK_IOERR);
	ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_IN,
				      UINT64_MAX - 3, data, 4096),
			 TM_VIRTIO_BLK_IOERR);
	/* In bytes it would be the beginning. */
	ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_IN,
				      UINT64_MAX / 512 + 1, data, 4096),
			 TM_VIRTIO_BLK_IOERR);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 0, data, 100),
		TM_VIRTIO_BLK_IOERR);
	ck_assert_int_eq(peer_request(&peer, 0, 77, 0, data, 512),
			 TM_VIRTIO_BLK_UNSUPP);
	ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_DISCARD, 0, &bad,
				      sizeof(bad)),
			 TM_VIRTIO_BLK_UNSUPP);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_FLUSH, 0, NULL, 0),
		TM_VIRTIO_BLK_OK);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_GET_ID, 0, id, sizeof(id)),
		TM_VIRTIO_BLK_OK);
	ck_assert_str_eq(id, "disk-of-a-test");
}
END_TEST

/* What lies in the guest's memory is the guest's to change at any time. */
START_TEST(a_request_is_what_it_was_when_it_was_taken)
{
	const uint32_t bytes = 512 << 10;
	size_t data_at = 0x200000;
	uint8_t *read = malloc(bytes);

	connect_peer(1);
	plain_disk_hold(disk, true);
	memset(peer.memory + data_at, 3, bytes);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	peer_describe(&peer, 0, 1, peer_guest(data_at), bytes, TM_VIRTIO_NEXT,
		      2);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	/* Its first part is on the way. */
	while (!plain_disk_waiting(disk))
		usleep(100);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 8192, 4096);
	plain_disk_hold(disk, false);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 1, PEER_WAIT_MS), 0);
	ck_assert_uint_eq(peer_slot_status(&peer, 0), TM_VIRTIO_BLK_OK);
	ck_assert_int_eq(tm_disk_read(disk, read, 0, bytes), 0);
	ck_assert_ptr_null(memchr(read, 0, bytes));
	free(read);
}
END_TEST

static bool is_called(uint32_t queue)
{
	struct pollfd polled = {
		.fd = peer.queue[queue].call_fd,
		.events = POLLIN,
	};

	return poll(&polled, 1, PEER_WAIT_MS) > 0;
}

/* --- rings --------------------------------------------------------------- */

static void describe_in_table(uint16_t index, uint32_t bytes, uint16_t flags,
			      uint16_t next)
{
	struct tm_virtio_descriptor *table =
		(void *)(peer.memory + PEER_SCRATCH);

	table[index] = (struct tm_virtio_descriptor){
		htole64(peer_guest(PEER_SCRATCH)), htole32(bytes),
		htole16(flags), htole16(next)
	};
	peer_describe(&peer, 0, 0, peer_guest(PEER_SCRATCH),
		      (index + 1u) * sizeof(*table), TM_VIRTIO_INDIRECT, 0);
}

static void describe(uint16_t index, uint32_t bytes, uint16_t flags,
		     uint16_t next)
{
	peer_describe(&peer, 0, index, peer_guest(PEER_SCRATCH), bytes, flags,
		      next);
}

static void chain_loops(void)
{
	describe(0, 16, TM_VIRTIO_NEXT, 0);
}

static void table_loops(void)
{
	describe_in_table(0, 16, TM_VIRTIO_NEXT, 0);
}

static void table_in_table(void)
{
	describe_in_table(0, 16, TM_VIRTIO_INDIRECT, 0);
}

static void table_too_large(void)
{
	describe_in_table(1024, 16, 0, 0);
}

static void table_left(void)
{
	describe_in_table(1, 16, TM_VIRTIO_NEXT, 2);
	describe_in_table(0, 16, TM_VIRTIO_NEXT, 1);
}

static void written_before_read(void)
{
	describe(0, 64, TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 1);
	describe(1, 16, TM_VIRTIO_NEXT, 2);
	describe(2, 1, TM_VIRTIO_WRITE, 0);
}

static void chain_left(void)
{
	describe(0, 16, TM_VIRTIO_NEXT, PEER_ENTRIES);
}

static void header_short(void)
{
	describe(0, 15, TM_VIRTIO_NEXT, 1);
	describe(1, 1, TM_VIRTIO_WRITE, 0);
}

static void too_many(void)
{
	/* And the one that is offered now: not one after the other. */
	peer.queue[0].available = PEER_ENTRIES;
}

static const struct {
	void (*build)(void);
	const char *says;
} lies[] = {
	{ chain_loops, "descriptors without end" },
	{ table_loops, "descriptors without end" },
	{ table_in_table, "an indirect table in another" },
	{ table_too_large, "an indirect table of such a size" },
	{ table_left, "a descriptor past its table" },
	{ written_before_read, "what can be read after what is written" },
	{ chain_left, "a descriptor past its table" },
	{ header_short, "a request without header or status" },
	{ too_many, "more requests than the ring has entries" },
};

static void wait_until_broken(void)
{
	struct tm_vhost_info info;

	do {
		tm_vhost_get_info(door, &info);
		usleep(100);
	} while (!info.is_broken);
}

START_TEST(what_no_driver_writes_stops_the_ring)
{
	connect_peer(1);
	lies[_i].build();
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	wait_until_broken();
	/* The worker says it after that. */
	ck_assert_int_ge(peer_stop_queue(&peer, 0), 0);
	ck_assert_msg(was_said(lies[_i].says), "%s", said.text);
	ck_assert_uint_eq(peer_used_index(&peer, 0), 0);
}
END_TEST

START_TEST(a_readonly_disk_says_so_and_is)
{
	uint8_t data[4096] = { 1 };

	tm_vhost_close(door);
	open_door(true);
	connect_peer(1);
	ck_assert(peer.offered & BIT(TM_VIRTIO_BLK_F_RO));
	ck_assert(!(peer.offered & BIT(TM_VIRTIO_BLK_F_DISCARD)));
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 0, data, 4096),
		TM_VIRTIO_BLK_IOERR);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096),
		TM_VIRTIO_BLK_OK);
	ck_assert_uint_eq(data[0], 0);
}
END_TEST

/* --- features ------------------------------------------------------------ */

START_TEST(it_works_without_any_feature)
{
	uint8_t data[4096] = { 5 }, read[4096];

	peer.features = BIT(TM_VIRTIO_F_VERSION_1);
	peer.protocol = 0;
	connect_peer(1);
	for (int i = 0; i < 50; i++) {
		data[1] = (uint8_t)i;
		ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 0,
					      data, 4096),
				 TM_VIRTIO_BLK_OK);
		ck_assert_int_eq(
			peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, read, 4096),
			TM_VIRTIO_BLK_OK);
		ck_assert_mem_eq(read, data, 4096);
	}
}
END_TEST

START_TEST(a_queue_stops_and_goes_on_where_it_was)
{
	uint8_t data[4096] = { 5 };

	connect_peer(1);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 0,
					      data, 4096),
				 0);
	ck_assert_int_eq(peer_stop_queue(&peer, 0), 5);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 6, 50), -ETIMEDOUT);
	peer.queue[0].base = 5;
	ck_assert_int_eq(peer_start_queue(&peer, 0), 0);
	peer_kick(&peer, 0);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 6, PEER_WAIT_MS), 0);
	ck_assert_uint_eq(peer_slot_status(&peer, 0), 0);
}
END_TEST

START_TEST(a_disabled_queue_waits)
{
	uint8_t data[4096];

	connect_peer(1);
	ck_assert_int_eq(peer_set_state(&peer, TM_VHOST_SET_VRING_ENABLE, 0, 0),
			 0);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 1, 50), -ETIMEDOUT);
	ck_assert_int_eq(peer_set_state(&peer, TM_VHOST_SET_VRING_ENABLE, 0, 1),
			 0);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 1, PEER_WAIT_MS), 0);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
}
END_TEST

/* --- memory -------------------------------------------------------------- */

static int change_region(uint32_t request, const struct tm_vhost_region *region,
			 int fd)
{
	struct tm_vhost_one_region one = { .region = *region };
	struct tm_vhost_header header;
	uint64_t answer = 0;
	int none = -1;
	int err = peer_send(&peer, request, TM_VHOST_NEED_REPLY, &one,
			    sizeof(one), &fd, fd >= 0);

	if (!err)
		err = peer_receive(&peer, &header, &answer, sizeof(answer),
				   &none);
	return err < 0 ? err : answer ? -EREMOTEIO : 0;
}

START_TEST(memory_comes_and_goes_by_the_slot)
{
	struct tm_vhost_region region;
	uint8_t data[4096];
	uint64_t slots;

	peer.protocol |= BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
	connect_peer(1);
	ck_assert_int_eq(
		peer_get_number(&peer, TM_VHOST_GET_MAX_MEM_SLOTS, &slots), 0);
	ck_assert_uint_ge(slots, 8);
	region = peer_region(&peer);
	/* Where another is, and then apart from it. */
	ck_assert_int_eq(
		change_region(TM_VHOST_ADD_MEM_REG, &region, peer.memory_fd),
		-EREMOTEIO);
	region.guest_address += PEER_MEMORY_BYTES;
	region.user_address += UINT64_C(1) << 40;
	ck_assert_int_eq(
		change_region(TM_VHOST_ADD_MEM_REG, &region, peer.memory_fd),
		0);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	ck_assert_int_eq(change_region(TM_VHOST_REM_MEM_REG, &region, -1), 0);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
}
END_TEST

static void drain_calls(uint32_t queue)
{
	uint64_t value;

	while (read(peer.queue[queue].call_fd, &value, sizeof(value)) > 0)
		;
}

/* As memory does that changes in a virtual machine that runs. */
static void take_memory_away(void)
{
	const struct tm_vhost_region region = peer_region(&peer);

	ck_assert_int_eq(change_region(TM_VHOST_REM_MEM_REG, &region, -1), 0);
}

static void bring_memory_back(void)
{
	const struct tm_vhost_region region = peer_region(&peer);

	ck_assert_int_eq(
		change_region(TM_VHOST_ADD_MEM_REG, &region, peer.memory_fd),
		0);
}

START_TEST(a_ring_waits_for_its_memory)
{
	struct tm_vhost_info info;
	uint8_t data[4096] = { 7 }, read_back[4096];

	peer.protocol |= BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
	peer.wants_inflight = _i;
	connect_peer(1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_OUT, 0, data, 4096), 0);
	take_memory_away();
	drain_calls(0);
	bring_memory_back();
	/* What it had not heard before it hears now. */
	ck_assert(is_called(0));
	take_memory_away();
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_FLUSH, 0, 0);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	tm_vhost_get_info(door, &info);
	ck_assert(!info.is_broken);
	bring_memory_back();
	ck_assert_int_eq(peer_wait_used(&peer, 0, 2, PEER_WAIT_MS), 0);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, read_back, 4096),
		0);
	ck_assert_mem_eq(read_back, data, 4096);
	/* It stops where it was, too. */
	take_memory_away();
	ck_assert_int_eq(peer_stop_queue(&peer, 0), 3);
}
END_TEST

START_TEST(a_ring_waits_for_a_table_that_has_it)
{
	struct tm_vhost_region elsewhere = peer_region(&peer);
	uint8_t data[4096];

	connect_peer(1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	elsewhere.user_address += UINT64_C(1) << 40;
	ck_assert_int_eq(peer_set_table(&peer, &elsewhere, &peer.memory_fd, 1),
			 0);
	ck_assert_int_eq(peer_set_memory(&peer), 0);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
}
END_TEST

static _Atomic bool is_changed;

static void *change_table(void *opaque)
{
	int err = peer_set_memory(opaque);

	is_changed = true;
	return (void *)(intptr_t)err;
}

START_TEST(a_table_changes_while_a_request_is_under_way)
{
	uint8_t data[4096] = { 9 };
	pthread_t thread;
	void *result;

	connect_peer(1);
	plain_disk_hold(disk, true);
	memcpy(peer_slot_data(&peer, 0), data, 4096);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_OUT, 0, 4096);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	while (!plain_disk_waiting(disk))
		usleep(100);
	pthread_create(&thread, NULL, change_table, &peer);
	/* It is answered when nobody uses the old one any more. */
	for (unsigned before = looks; looks == before && !is_changed;)
		usleep(100);
	ck_assert(!is_changed);
	plain_disk_hold(disk, false);
	pthread_join(thread, &result);
	ck_assert_int_eq((intptr_t)result, 0);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 1, PEER_WAIT_MS), 0);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	ck_assert_uint_eq(data[0], 9);
}
END_TEST

START_TEST(memory_that_is_gone_ends_rings_and_nothing_else)
{
	struct tm_vhost_info info;
	struct tm_vhost_region regions[2];
	int fds[2] = { peer.memory_fd, memfd_create("goes", MFD_CLOEXEC) };

	connect_peer(2);
	ck_assert_int_eq(ftruncate(fds[1], 1 << 20), 0);
	regions[0] = peer_region(&peer);
	regions[1] = (struct tm_vhost_region){
		.guest_address = PEER_GUEST + (UINT64_C(1) << 32),
		.size_bytes = 1 << 20,
		.user_address = UINT64_C(1) << 46,
	};
	ck_assert_int_eq(peer_set_table(&peer, regions, fds, 2), 0);
	ck_assert_int_eq(ftruncate(fds[1], 0), 0);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_describe(&peer, 0, 1, regions[1].guest_address, 4096,
		      TM_VIRTIO_NEXT | TM_VIRTIO_WRITE, 2);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	do {
		tm_vhost_get_info(door, &info);
		usleep(100);
	} while (!info.is_broken);
	ck_assert_uint_eq(peer_used_index(&peer, 0), 0);
	close(fds[1]);
	/* Memory that stays, and the ring begun again, are a new start. */
	ck_assert_int_eq(peer_set_memory(&peer), 0);
	ck_assert_int_eq(peer_stop_queue(&peer, 0), 1);
	/* The other one may have looked at the same memory since. */
	ck_assert_int_eq(peer_stop_queue(&peer, 1), 0);
	tm_vhost_get_info(door, &info);
	ck_assert(!info.is_broken);
	peer.queue[0].base = 1;
	ck_assert_int_eq(peer_start_queue(&peer, 0), 0);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 1, PEER_WAIT_MS), 0);
}
END_TEST

/* A table of two regions, the second one @guest and @user bytes after the
 * first. */
static void offer_two(uint64_t guest, uint64_t user, uint64_t size_bytes,
		      const char *says)
{
	struct tm_vhost_region regions[2] = { peer_region(&peer),
					      peer_region(&peer) };
	int fds[2] = { peer.memory_fd, peer.memory_fd };

	peer_hang_up(&peer);
	peer.queue[0].base = 0;
	connect_peer(1);
	regions[1].guest_address += guest;
	regions[1].user_address += user;
	regions[1].size_bytes = size_bytes;
	ck_assert_int_eq(peer_set_table(&peer, regions, fds, 2),
			 says ? -ECONNRESET : 0);
	if (says)
		ck_assert_msg(was_said(says), "%s", said.text);
}

START_TEST(regions_that_cannot_be_end_the_connection)
{
	const uint64_t bytes = PEER_MEMORY_BYTES;

	offer_two(bytes, bytes, bytes, NULL);
	offer_two(bytes - 4096, bytes, bytes, "regions that overlap");
	offer_two(bytes, bytes - 4096, bytes, "regions that overlap");
	offer_two(-(PEER_GUEST + 4096), bytes, bytes, "region that wraps");
	offer_two(bytes, bytes, bytes + 4096, "beyond the end of its file");
	offer_two(bytes, bytes + 17, bytes, "not of whole pages");
}
END_TEST

START_TEST(a_message_longer_than_its_request_ends_the_connection)
{
	struct {
		struct tm_vhost_vring_addr addr;
		uint64_t more;
	} payload = { .more = 0 };

	connect_peer(1);
	payload.addr = peer_ring_address(&peer, 0);
	ck_assert_int_eq(peer_send(&peer, TM_VHOST_SET_VRING_ADDR, 0, &payload,
				   sizeof(payload), NULL, 0),
			 0);
	ck_assert(peer_is_dropped(&peer));
}
END_TEST

START_TEST(memory_is_lent_within_bounds)
{
	struct tm_vhost_region region = peer_region(&peer);
	int sparse = memfd_create("sparse", MFD_CLOEXEC);

#ifdef HAS_FEW_ADDRESSES
	close(sparse); /* ThreadSanitizer leaves nobody terabytes */
	return;
#endif
	peer.protocol |= BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
	connect_peer(1);
	/* It costs its owner nothing, and us addresses that all doors share. */
	region.size_bytes = UINT64_C(3) << 40;
	region.guest_address += UINT64_C(1) << 45;
	region.user_address = UINT64_C(1) << 50;
	ck_assert_int_eq(ftruncate(sparse, INT64_C(3) << 40), 0);
	ck_assert_int_eq(change_region(TM_VHOST_ADD_MEM_REG, &region, sparse),
			 0);
	region.guest_address += UINT64_C(1) << 45;
	region.user_address += UINT64_C(1) << 50;
	ck_assert_int_eq(change_region(TM_VHOST_ADD_MEM_REG, &region, sparse),
			 -EREMOTEIO);
	region.size_bytes = 4096;
	ck_assert_int_eq(change_region(TM_VHOST_ADD_MEM_REG, &region, sparse),
			 0);
	close(sparse);
}
END_TEST

/* --- who keeps us waiting ------------------------------------------------- */

static void set_waits(int fd, bool waits)
{
	ck_assert_int_eq(fcntl(fd, F_SETFL, waits ? 0 : O_NONBLOCK), 0);
}

START_TEST(a_full_event_keeps_nobody_waiting)
{
	const uint64_t full = UINT64_MAX - 1;
	int error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	connect_peer(1);
	ck_assert_int_eq(
		peer_set_event(&peer, TM_VHOST_SET_VRING_ERR, 0, error_fd), 0);
	ck_assert_int_eq(write(error_fd, &full, sizeof(full)), sizeof(full));
	set_waits(error_fd, true);
	peer_offer(&peer, 0, 0xfff0);
	peer_kick(&peer, 0);
	wait_until_broken();
	usleep(10000);
	ck_assert_int_eq(peer_stop_queue(&peer, 0), 0);
	close(error_fd);
}
END_TEST

static void wait_for_looks(unsigned more)
{
	unsigned wanted = looks + more;

	for (int i = 0; i < 300000 && (int)(looks - wanted) < 0; i++)
		usleep(100);
	ck_assert_int_ge((int)(looks - wanted), 0);
}

/* A request that waits for the disk. */
static void hold_request(void)
{
	plain_disk_hold(disk, true);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_IN, 0, 4096);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	while (!plain_disk_waiting(disk))
		usleep(100);
}

/* Who writes one more to it waits. */
static void fill_event(int fd)
{
	const uint64_t full = UINT64_MAX - 1;
	uint64_t value;

	while (write(fd, &full, sizeof(full)) < 0)
		ck_assert_int_gt(read(fd, &value, sizeof(value)), 0);
}

static void *stop_queue(void *opaque)
{
	return (void *)(intptr_t)peer_stop_queue(opaque, 0);
}

START_TEST(a_fickle_event_keeps_nobody_waiting)
{
	pthread_t stopper;
	void *result;

	connect_peer(1);
	ck_assert(is_called(0));
	/* Nobody else writes to it: no signal is wanted for the next 100. */
	*(uint16_t *)(void *)(peer.memory + PEER_AVAILABLE +
			      TM_VIRTIO_RING_ENTRIES + 2 * PEER_ENTRIES) =
		htole16(100);
	hold_request();
	fill_event(peer.queue[0].call_fd);
	set_waits(peer.queue[0].call_fd, true);
	is_fickle = true;
	/* The door's thread, which waits for the worker, looks at its events.
	 */
	pthread_create(&stopper, NULL, stop_queue, &peer);
	wait_for_looks(2);
	is_fickle = false;
	plain_disk_hold(disk, false);
	pthread_join(stopper, &result);
	ck_assert_int_eq((intptr_t)result, 1);
}
END_TEST

static void *enable_queue(void *opaque)
{
	return (void *)(intptr_t)peer_set_state(
		opaque, TM_VHOST_SET_VRING_ENABLE, 0, 1);
}

/* The door's thread waits for a worker, whose request waits for the disk: is
 * the call of @queue left there? */
static bool is_left(uint32_t queue, unsigned more_looks)
{
	struct pollfd polled = {
		.fd = peer.queue[queue].call_fd,
		.events = POLLIN,
	};
	pthread_t thread;
	void *result;
	bool is_there;

	hold_request();
	pthread_create(&thread, NULL, enable_queue, &peer);
	wait_for_looks(more_looks);
	is_there = poll(&polled, 1, 0) > 0;
	plain_disk_hold(disk, false);
	pthread_join(thread, &result);
	ck_assert_int_eq((intptr_t)result, 0);
	ck_assert_uint_eq(peer_used_index(&peer, 0), peer.queue[0].available);
	return is_there;
}

START_TEST(a_call_that_is_not_heard_yet_is_left)
{
	uint64_t value;

	connect_peer(1);
	/* That of its start. */
	ck_assert(is_called(0));
	ck_assert_int_gt(read(peer.queue[0].call_fd, &value, sizeof(value)), 0);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_FLUSH, 0, 0);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	/* Of the first one it is told, and not of the next. */
	ck_assert(is_called(0));
	/* The first look has been followed by what it leads to. */
	ck_assert(is_left(0, 2));
	ck_assert(is_called(0));
}
END_TEST

START_TEST(a_call_that_is_taken_away_is_made_again)
{
	connect_peer(3);
	/* One that its worker does not write to meanwhile. */
	ck_assert(is_called(2));
	fill_event(peer.queue[2].call_fd);
	ck_assert(!is_left(2, 3));
	ck_assert(is_called(2));
}
END_TEST

/* A file system that lets a file be opened, and answers nothing more. */
static void answer_opens(int device)
{
	static char request[1 << 17];
	const struct fuse_in_header *in = (const void *)request;

	while (read(device, request, sizeof(request)) > 0) {
		struct {
			struct fuse_out_header header;
			union {
				struct fuse_init_out init;
				struct fuse_open_out open;
			} u;
		} out = { .header = { .unique = in->unique } };

		if (in->opcode != FUSE_INIT && in->opcode != FUSE_OPEN)
			continue;
		out.header.len = sizeof(out.header) + sizeof(out.u.open);
		if (in->opcode == FUSE_INIT) {
			out.u.init.major = FUSE_KERNEL_VERSION;
			out.u.init.minor = 31;
			out.u.init.max_write = 4096;
			out.header.len = sizeof(out);
		}
		if (write(device, &out, out.header.len) < 0)
			break;
	}
}

/* What it serves is one file, passed to us by who opened it; no mount of it is
 * to be seen here. */
static void serve_file(int socket)
{
	struct vhost_peer opener = { .fd = socket };
	char options[64], path[] = "/tmp/tmem-vhost-XXXXXX";
	int device = open("/dev/fuse", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=100600,user_id=0,group_id=0", device);
	close(mkstemp(path));
	if (device < 0 || unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmem", path, "fuse", MS_NOSUID | MS_NODEV, options)) {
		unlink(path);
		_exit(0);
	}
	if (!fork()) {
		int fd;

		close(device);
		fd = open(path, O_RDWR);
		umount2(path, MNT_DETACH);
		unlink(path);
		peer_send_raw(&opener, "x", 1, &fd, 1);
		_exit(0);
	}
	close(socket);
	answer_opens(device);
	_exit(0);
}

/* Its descriptor; -1: there is none to be had here. */
static int unanswered_file(pid_t *server)
{
	struct vhost_peer opener = { .fd = -1 };
	int sockets[2], fd = -1;
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	*server = fork();
	if (!*server)
		serve_file(sockets[1]);
	close(sockets[1]);
	opener.fd = sockets[0];
	peer_receive_some(&opener, &byte, 1, &fd);
	close(sockets[0]);
	return fd;
}

START_TEST(a_file_that_nobody_answers_for_keeps_nobody_waiting)
{
	struct tm_vhost_info info;
	pid_t server;
	int fd = unanswered_file(&server);

	if (fd < 0) {
		puts("no file systems in user space here");
		kill(server, SIGKILL);
		return;
	}
	connect_peer(1);
	if (_i == 0)
		peer_send(&peer, TM_VHOST_GET_FEATURES, 0, NULL, 0, &fd, 1);
	else if (_i == 1)
		peer_set_event(&peer, TM_VHOST_SET_VRING_CALL, 0, fd);
	else
		peer_set_table(&peer,
			       (struct tm_vhost_region[]){ peer_region(&peer) },
			       &fd, 1);
	ck_assert(peer_is_dropped(&peer));
	peer_hang_up(&peer);
	/* One such file is enough. */
	ck_assert_int_ne(peer_setup(&peer, socket_path, 1), 0);
	tm_vhost_get_info(door, &info);
	ck_assert_uint_eq(info.dropped, 1);
	tm_vhost_close(door);
	open_door(false);
	peer_hang_up(&peer);
	connect_peer(1);
	kill(server, SIGKILL);
	close(fd);
}
END_TEST

/* --- who comes back ------------------------------------------------------ */

/* Away, and noticed: what is offered from now on is not taken. */
static void leave(void)
{
	struct tm_vhost_info info;

	peer_hang_up(&peer);
	do {
		tm_vhost_get_info(door, &info);
		usleep(100);
	} while (info.is_connected);
}

/* Marked as a back end leaves them that died with two requests under way. */
static void mark_inflight(uint16_t head, uint64_t counter)
{
	uint8_t *area = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			     peer.inflight_fd, 0);
	struct tm_vhost_inflight_queue *queue = (void *)area;

	queue->entry[head].is_inflight = 1;
	queue->entry[head].counter = counter;
	munmap(area, 4096);
}

START_TEST(requests_in_flight_are_done_again_in_order)
{
	uint8_t data[4096];

	peer.wants_inflight = true;
	connect_peer(1);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
			peer_request(&peer, 0, TM_VIRTIO_BLK_FLUSH, 0, NULL, 0),
			0);
	leave();
	/* Both write the same block: the later one is to stay. */
	peer_build(&peer, 0, 3, 1, TM_VIRTIO_BLK_OUT, 0, 4096);
	memset(peer_slot_data(&peer, 1), 1, 4096);
	peer_build(&peer, 0, 6, 2, TM_VIRTIO_BLK_OUT, 0, 4096);
	memset(peer_slot_data(&peer, 2), 2, 4096);
	peer_offer(&peer, 0, 6);
	peer_offer(&peer, 0, 3);
	mark_inflight(3, 11);
	mark_inflight(6, 10);
	/* What a monitor says that lost its back end. */
	peer.queue[0].base = 3;
	connect_peer(1);
	ck_assert_int_eq(peer_wait_used(&peer, 0, 5, PEER_WAIT_MS), 0);
	ck_assert_uint_eq(peer_used(&peer, 0, 3).id, 6);
	ck_assert_uint_eq(peer_used(&peer, 0, 4).id, 3);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	ck_assert_uint_eq(data[0], 1);
	ck_assert_uint_eq(peer_used_index(&peer, 0), 6);
}
END_TEST

/* Its used ring is gone when it is done. */
START_TEST(a_request_that_was_not_told_stays_marked)
{
	struct tm_vhost_inflight_queue *queue;
	struct tm_vhost_region regions[2];
	int fds[2] = { peer.memory_fd, memfd_create("stays", MFD_CLOEXEC) };

	peer.wants_inflight = true;
	connect_peer(1);
	queue = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		     peer.inflight_fd, 0);
	ck_assert_int_eq(ftruncate(fds[1], 4096), 0);
	regions[0] = regions[1] = peer_region(&peer);
	regions[1].guest_address += UINT64_C(1) << 32;
	regions[1].user_address = UINT64_C(1) << 46;
	regions[1].size_bytes = 4096;
	ck_assert_int_eq(peer_set_table(&peer, regions, fds, 2), 0);
	plain_disk_hold(disk, true);
	peer_build(&peer, 0, 0, 0, TM_VIRTIO_BLK_FLUSH, 0, 0);
	peer_describe(&peer, 0, 2, regions[1].guest_address, 1, TM_VIRTIO_WRITE,
		      0);
	peer_offer(&peer, 0, 0);
	peer_kick(&peer, 0);
	while (!plain_disk_waiting(disk))
		usleep(100);
	ck_assert_uint_eq(queue->entry[0].is_inflight, 1);
	ck_assert_int_eq(ftruncate(peer.memory_fd, 0), 0);
	plain_disk_hold(disk, false);
	wait_until_broken();
	ck_assert_uint_eq(queue->entry[0].is_inflight, 1);
	munmap(queue, 4096);
	close(fds[1]);
}
END_TEST

START_TEST(what_got_into_the_used_ring_is_not_done_again)
{
	struct tm_vhost_inflight_queue *queue;

	peer.wants_inflight = true;
	connect_peer(1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_FLUSH, 0, NULL, 0), 0);
	leave();
	/* Died between telling the guest and taking the mark away. */
	queue = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		     peer.inflight_fd, 0);
	ck_assert_uint_eq(queue->used_index, 1);
	queue->used_index = 0;
	queue->last_batch_head = 0;
	queue->entry[0].is_inflight = 1;
	connect_peer(1);
	ck_assert_uint_eq(peer_used_index(&peer, 0), 1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_FLUSH, 0, NULL, 0), 0);
	ck_assert_uint_eq(peer_used_index(&peer, 0), 2);
	ck_assert_uint_eq(queue->entry[0].is_inflight, 0);
	munmap(queue, 4096);
}
END_TEST

/* Its back end died between the used ring and the call. */
START_TEST(what_a_predecessor_did_not_tell_is_told)
{
	_Atomic uint16_t *used_index =
		(void *)(peer.memory + PEER_USED + TM_VIRTIO_RING_INDEX);

	if (_i)
		peer.features &= ~BIT(TM_VIRTIO_F_EVENT_IDX);
	/* It waits for the first, and is past it. */
	atomic_store(used_index, htole16(3));
	peer_set_available(&peer, 0, 3);
	peer.queue[0].base = 3;
	connect_peer(1);
	ck_assert(is_called(0));
}
END_TEST

START_TEST(what_was_told_elsewhere_is_told_again)
{
	connect_peer(1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_FLUSH, 0, NULL, 0), 0);
	close(peer.queue[0].call_fd);
	peer.queue[0].call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_eq(peer_set_event(&peer, TM_VHOST_SET_VRING_CALL, 0,
					peer.queue[0].call_fd),
			 0);
	ck_assert(is_called(0));
}
END_TEST

START_TEST(a_ring_that_starts_again_calls)
{
	uint64_t value;

	connect_peer(1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_FLUSH, 0, NULL, 0), 0);
	ck_assert_int_eq(peer_stop_queue(&peer, 0), 1);
	while (read(peer.queue[0].call_fd, &value, sizeof(value)) > 0)
		;
	ck_assert_int_eq(peer_set_event(&peer, TM_VHOST_SET_VRING_KICK, 0,
					peer.queue[0].kick_fd),
			 0);
	ck_assert(is_called(0));
}
END_TEST

START_TEST(who_hangs_up_is_let_in_again_at_once)
{
	uint8_t data[4096];

	for (int i = 0; i < 20; i++) {
		peer.queue[0].base = (uint16_t)i;
		connect_peer(1);
		ck_assert_int_eq(
			peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096),
			0);
		peer_hang_up(&peer);
	}
}
END_TEST

START_TEST(who_hangs_up_amid_a_look_is_let_in_again)
{
	connect_peer(1);
	sem_init(&overtaken, 0, 0);
	is_overtaken = true;
	peer_hang_up(&peer);
	ck_assert_int_eq(peer_connect(&peer, socket_path), 0);
	sem_post(&overtaken);
	ck_assert_int_eq(peer_negotiate(&peer), 0);
}
END_TEST

/* As they are now, and how many. */
static int note_fds(bool is_open[FDS_NOTED])
{
	int count = 0;

	for (int fd = 0; fd < FDS_NOTED; fd++)
		count += is_open[fd] = fcntl(fd, F_GETFD) >= 0;
	return count;
}

static const uint32_t events[] = { TM_VHOST_SET_VRING_CALL,
				   TM_VHOST_SET_VRING_ERR,
				   TM_VHOST_SET_VRING_KICK };

/* No descriptor has come so far, where that can be. */
static void be_new(uint32_t request)
{
	struct tm_vhost_vring_addr addr = peer_ring_address(&peer, 0);

	if (request != TM_VHOST_SET_VRING_KICK) {
		ck_assert_int_eq(peer_connect(&peer, socket_path), 0);
		ck_assert_int_eq(peer_negotiate(&peer), 0);
		return;
	}
	connect_peer(0);
	ck_assert_int_eq(
		peer_set_state(&peer, TM_VHOST_SET_VRING_NUM, 0, PEER_ENTRIES),
		0);
	ck_assert_int_eq(peer_send(&peer, TM_VHOST_SET_VRING_ADDR, 0, &addr,
				   sizeof(addr), NULL, 0),
			 0);
}

/* The last one that came has been closed. */
static void send_one_to_close(void)
{
	struct tm_vhost_region region = peer_region(&peer);

	peer.protocol |= BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
	connect_peer(1);
	region.guest_address += PEER_MEMORY_BYTES;
	region.user_address += UINT64_C(1) << 40;
	ck_assert_int_eq(
		change_region(TM_VHOST_ADD_MEM_REG, &region, peer.memory_fd),
		0);
	ck_assert_int_eq(
		change_region(TM_VHOST_REM_MEM_REG, &region, peer.memory_fd),
		0);
}

START_TEST(an_event_without_a_descriptor_has_nobody_elses)
{
	bool before[FDS_NOTED], after[FDS_NOTED];
	uint32_t request = events[_i / 2];

	note_fds(before);
	if (_i % 2)
		send_one_to_close();
	else
		be_new(request);
	/* Somebody else's has the number that is free. */
	for (int i = 0; i < 8; i++) {
		int fd = eventfd(0, EFD_CLOEXEC);

		ck_assert(fd >= 0 && fd < FDS_NOTED);
		before[fd] = true;
	}
	ck_assert_int_eq(peer_set_event(&peer, request, 0, -1), 0);
	leave();
	note_fds(after);
	for (int fd = 0; fd < FDS_NOTED; fd++)
		ck_assert_msg(after[fd] == before[fd], "descriptor %d %s", fd,
			      before[fd] ? "was closed" : "was kept");
}
END_TEST

START_TEST(a_second_front_end_is_turned_away)
{
	uint8_t data[4096];
	struct vhost_peer other;

	connect_peer(1);
	peer_init(&other);
	ck_assert_int_eq(peer_connect(&other, socket_path), 0);
	ck_assert(peer_is_dropped(&other));
	peer_close(&other);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
}
END_TEST

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* How much of a processor the threads here take during the next @ms, which on a
 * busy machine are more. */
static uint64_t busy_pct(unsigned ms)
{
	uint64_t taken_ms = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t passed_ms = clock_ms(CLOCK_MONOTONIC);

	usleep(ms * 1000);
	taken_ms = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - taken_ms;
	passed_ms = clock_ms(CLOCK_MONOTONIC) - passed_ms;
	return taken_ms * 100 / passed_ms;
}

START_TEST(it_sleeps_when_nobody_asks)
{
	uint8_t data[4096];

	connect_peer(PEER_QUEUES);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	/* A thread that polls would take all that it can have. */
	ck_assert_uint_lt(busy_pct(200), 25);
}
END_TEST

/* A semaphore takes as many reads as it was given once. */
START_TEST(who_kicks_without_end_has_no_processor)
{
	const uint64_t many = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
	uint8_t data[4096];

	connect_peer(1);
	ck_assert_int_eq(peer_set_event(&peer, TM_VHOST_SET_VRING_KICK, 0, fd),
			 0);
	ck_assert_int_eq(write(fd, &many, sizeof(many)), sizeof(many));
	usleep(100000);
	ck_assert_uint_lt(busy_pct(500), 30);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	close(fd);
}
END_TEST

/* --- a successor ---------------------------------------------------------- */

static int count_fds(void)
{
	bool is_open[FDS_NOTED];

	return note_fds(is_open);
}

START_TEST(a_ring_waits_for_its_memory_in_a_successor)
{
	static struct tm_vhost_given given;
	struct tm_vhost_config config = {
		.disk = disk,
		.name = "disk-of-a-test",
		.block_bytes = 4096,
		.queues = PEER_QUEUES,
		.given = &given,
		.log = note_warning,
	};
	uint8_t data[4096];

	peer.protocol |= BIT(TM_VHOST_PROTOCOL_CONFIGURE_MEM_SLOTS);
	connect_peer(1);
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	take_memory_away();
	config.listen_fd = listen_here();
	ck_assert_int_eq(tm_vhost_give(door, &given), 0);
	for (uint32_t i = 0; i < given.fd_count; i++)
		given.fds[i] = dup(given.fds[i]);
	tm_vhost_close(door);
	ck_assert_int_eq(tm_vhost_open(&config, &door), 0);
	bring_memory_back();
	ck_assert_int_eq(
		peer_request(&peer, 0, TM_VIRTIO_BLK_IN, 0, data, 4096), 0);
	ck_assert_uint_eq(peer_used_index(&peer, 0), 2);
}
END_TEST

static void *give_door(void *opaque)
{
	return (void *)(intptr_t)tm_vhost_give(door, opaque);
}

/* A read in a slot and of a sector of its own. */
static void offer_read(uint32_t queue, uint32_t number)
{
	const uint16_t head = (uint16_t)(3 * number);

	peer_build(&peer, queue, head, number, TM_VIRTIO_BLK_IN, number, 4096);
	peer_offer(&peer, queue, head);
	peer_kick(&peer, queue);
}

static void pass_read(uint32_t queue, uint32_t number)
{
	plain_disk_pass(disk, number * TM_VIRTIO_SECTOR);
	while (peer_used_index(&peer, queue) != 1)
		usleep(100);
}

static void wait_for_requests(int count)
{
	while (plain_disk_waiting(disk) != count)
		usleep(100);
}

/* It has the first ring, whose worker serves the third one's requests while the
 * second one is waited for, and is waited for itself then. */
START_TEST(a_successors_calls_are_left)
{
	static struct tm_vhost_given given;
	struct pollfd polled = { .events = POLLOUT };
	pthread_t giver;
	void *result;

	connect_peer(3);
	ck_assert(is_called(0));
	plain_disk_hold(disk, true);
	offer_read(1, 0);
	offer_read(2, 1);
	offer_read(2, 2);
	wait_for_requests(2);
	pthread_create(&giver, NULL, give_door, &given);
	wait_for_looks(1);
	pass_read(2, 1);
	wait_for_requests(2);
	/* Both of one worker, which does not write: it is set free of the third
	 * ring's, after a look at the first one's if there is one. */
	fill_event(peer.queue[0].call_fd);
	fill_event(peer.queue[2].call_fd);
	pass_read(1, 0);
	polled.fd = peer.queue[2].call_fd;
	ck_assert_int_eq(poll(&polled, 1, PEER_WAIT_MS), 1);
	polled.fd = peer.queue[0].call_fd;
	ck_assert_int_eq(poll(&polled, 1, 0), 0);
	plain_disk_hold(disk, false);
	pthread_join(giver, &result);
	ck_assert_int_eq((intptr_t)result, 0);
}
END_TEST

START_TEST(a_door_that_cannot_open_keeps_nothing)
{
	static struct tm_vhost_given given;
	struct tm_vhost_config config = {
		.disk = disk,
		.name = "disk-of-a-test",
		.block_bytes = 4096,
		.queues = PEER_QUEUES,
		.given = &given,
	};
	struct rlimit before, none = { 0 };
	struct tm_vhost *successor;
	int count, err;

	peer.wants_inflight = true;
	connect_peer(2);
	config.listen_fd = listen_here();
	ck_assert_int_eq(tm_vhost_give(door, &given), 0);
	count = count_fds();
	for (uint32_t i = 0; i < given.fd_count; i++)
		given.fds[i] = dup(given.fds[i]);
	/* Not one descriptor more. */
	getrlimit(RLIMIT_NOFILE, &before);
	none.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	err = tm_vhost_open(&config, &successor);
	setrlimit(RLIMIT_NOFILE, &before);
	ck_assert_int_eq(err, -EMFILE);
	for (uint32_t i = 0; i < given.fd_count; i++)
		if (given.fds[i] >= 0)
			close(given.fds[i]);
	ck_assert_int_eq(count_fds(), count);
	close(config.listen_fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vhost");
	TCase *tcase = tcase_create("vhost");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, what_is_written_is_read_from_every_queue);
	tcase_add_test(tcase, pieces_may_be_cut_anywhere);
	tcase_add_test(tcase, many_requests_are_answered_once_each);
	tcase_add_test(tcase, discard_and_write_zeroes_leave_zeros);
	tcase_add_test(tcase, errors_are_the_requests_own);
	tcase_add_test(tcase, a_request_is_what_it_was_when_it_was_taken);
	tcase_add_loop_test(tcase, what_no_driver_writes_stops_the_ring, 0,
			    sizeof(lies) / sizeof(lies[0]));
	tcase_add_test(tcase, a_readonly_disk_says_so_and_is);
	tcase_add_test(tcase, it_works_without_any_feature);
	tcase_add_test(tcase, a_queue_stops_and_goes_on_where_it_was);
	tcase_add_test(tcase, a_disabled_queue_waits);
	tcase_add_test(tcase, memory_comes_and_goes_by_the_slot);
	tcase_add_loop_test(tcase, a_ring_waits_for_its_memory, 0, 2);
	tcase_add_test(tcase, a_ring_waits_for_a_table_that_has_it);
	tcase_add_test(tcase, a_table_changes_while_a_request_is_under_way);
	tcase_add_test(tcase, memory_that_is_gone_ends_rings_and_nothing_else);
	tcase_add_test(tcase, regions_that_cannot_be_end_the_connection);
	tcase_add_test(tcase,
		       a_message_longer_than_its_request_ends_the_connection);
	tcase_add_test(tcase, memory_is_lent_within_bounds);
	tcase_add_test(tcase, a_full_event_keeps_nobody_waiting);
	tcase_add_test(tcase, a_fickle_event_keeps_nobody_waiting);
	tcase_add_test(tcase, a_call_that_is_not_heard_yet_is_left);
	tcase_add_test(tcase, a_call_that_is_taken_away_is_made_again);
	tcase_add_loop_test(tcase,
			    a_file_that_nobody_answers_for_keeps_nobody_waiting,
			    0, 3);
	tcase_add_test(tcase, requests_in_flight_are_done_again_in_order);
	tcase_add_test(tcase, a_request_that_was_not_told_stays_marked);
	tcase_add_test(tcase, what_got_into_the_used_ring_is_not_done_again);
	tcase_add_loop_test(tcase, what_a_predecessor_did_not_tell_is_told, 0,
			    2);
	tcase_add_test(tcase, what_was_told_elsewhere_is_told_again);
	tcase_add_test(tcase, a_ring_that_starts_again_calls);
	tcase_add_test(tcase, who_hangs_up_is_let_in_again_at_once);
	tcase_add_test(tcase, who_hangs_up_amid_a_look_is_let_in_again);
	tcase_add_loop_test(
		tcase, an_event_without_a_descriptor_has_nobody_elses, 0, 6);
	tcase_add_test(tcase, a_second_front_end_is_turned_away);
	tcase_add_test(tcase, it_sleeps_when_nobody_asks);
	tcase_add_test(tcase, who_kicks_without_end_has_no_processor);
	tcase_add_test(tcase, a_ring_waits_for_its_memory_in_a_successor);
	tcase_add_test(tcase, a_successors_calls_are_left);
	tcase_add_test(tcase, a_door_that_cannot_open_keeps_nothing);
	suite_add_tcase(suite, tcase);
	return tm_test_run(suite);
}
