/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The threads that serve rings.
 *
 * The problem: a guest that swaps waits for each page. Waking a sleeping thread
 * through an eventfd costs more than the page does; a thread that always polls
 * costs a processor.
 *
 * The idea: after its last request a worker polls its rings for a while, with
 * kicks unwanted, and only then asks for kicks, looks once more, and sleeps.
 * How long it polls adapts: up to poll_ns where the last polls were worth it,
 * an eighth of that where they were not. So an idle disk costs nothing.
 *
 * Requests of a ring are carried out in order, one at a time, BATCH of them
 * before the guest is told and the next ring has its turn.
 *
 * A worker parks when it is asked to, between two requests; whoever asked then
 * changes what it likes and lets it go on. A request takes as long as its disk
 * does, which is bounded while that is paused.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "clock.h"
#include "vhost_device.h"

#define BATCH 16
#define POLL_WITHOUT_KICK_MS 1
#define NUDGE_NS 100000000L
#define IDLE_KICKS 64
#define IDLE_PAUSE_MS 1

static void break_ring(struct tm_vhost_worker *worker,
		       struct tm_vhost_ring *ring)
{
	const uint64_t one = 1;

	atomic_store(&ring->is_broken, true);
	tm_vhost_say(worker->device, TMEM_LOG_WARNING, "queue %u stopped: %s",
		     ring->queue.number, ring->queue.why);
	if (ring->error_fd >= 0 && write(ring->error_fd, &one, sizeof(one)) < 0)
		return; /* nobody reads it */
}

static bool is_served(const struct tm_vhost_ring *ring)
{
	return ring->is_started && ring->is_placed && ring->is_enabled &&
	       !atomic_load_explicit(&ring->is_broken, memory_order_relaxed);
}

static bool must_leave(struct tm_vhost_worker *worker)
{
	return atomic_load_explicit(&worker->is_parking,
				    memory_order_acquire) ||
	       atomic_load_explicit(&worker->is_stopping, memory_order_acquire);
}

/* 1: one was served; 0: there is none; -EPROTO. */
static int serve_one(struct tm_vhost_worker *worker, struct tm_vhost_ring *ring)
{
	struct tm_vhost_queue *queue = &ring->queue;
	uint32_t written_bytes = 0;
	uint16_t head;
	int err = tm_vhost_queue_pop(queue, &head);

	if (err <= 0)
		return err;
	err = tm_vhost_queue_chain(queue, head, &worker->chain);
	if (!err)
		err = tm_vhost_blk_serve(&worker->device->blk, queue,
					 &worker->chain, worker->buffer,
					 &worker->counts, &written_bytes);
	if (!err)
		err = tm_vhost_queue_push(queue, head, written_bytes);
	return err ? err : 1;
}

static int signal_guest(struct tm_vhost_ring *ring)
{
	const uint64_t one = 1;
	int must = tm_vhost_queue_must_signal(&ring->queue);

	if (must < 0)
		return must;
	must |= ring->owes_call;
	ring->owes_call = false;
	/* Never waits: whoever filled it has been told often enough. */
	if (must && ring->call_fd >= 0 &&
	    write(ring->call_fd, &one, sizeof(one)) < 0)
		return 0;
	return 0;
}

/* How many were served. */
static uint32_t serve_ring(struct tm_vhost_worker *worker,
			   struct tm_vhost_ring *ring)
{
	uint32_t served = 0;
	int err = 1;

	while (err > 0 && served < BATCH && !must_leave(worker)) {
		err = serve_one(worker, ring);
		served += err > 0;
	}
	if (err >= 0 && (served || ring->owes_call))
		err = signal_guest(ring);
	if (err < 0)
		break_ring(worker, ring);
	return served;
}

static uint32_t serve_rings(struct tm_vhost_worker *worker)
{
	struct tm_vhost_device *device = worker->device;
	uint32_t served = 0;

	for (uint32_t i = worker->number; i < device->blk.queues;
	     i += device->worker_count)
		if (is_served(&device->rings[i]))
			served += serve_ring(worker, &device->rings[i]);
	if (served)
		worker->idle_kicks = 0;
	return served;
}

static void want_kicks(struct tm_vhost_worker *worker, bool is_wanted)
{
	struct tm_vhost_device *device = worker->device;

	for (uint32_t i = worker->number; i < device->blk.queues;
	     i += device->worker_count) {
		struct tm_vhost_ring *ring = &device->rings[i];

		if (is_served(ring) &&
		    tm_vhost_queue_want_kicks(&ring->queue, is_wanted))
			break_ring(worker, ring);
	}
}

/* The answer of a read that waits for nobody. Whether a descriptor waits is a
 * property that we share with the front end, and it may change that between our
 * look and our read; this is one it cannot change. */
static ssize_t read_at_once(int fd)
{
	uint64_t value;
	struct iovec iov = { .iov_base = &value, .iov_len = sizeof(value) };

	return preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
}

static void drain(const struct tm_vhost_worker *worker, int fd)
{
	uint64_t value;

	if (worker->reads_may_wait) {
		if (read(fd, &value, sizeof(value)) < 0)
			return; /* nothing in it */
	} else {
		read_at_once(fd);
	}
}

static void sleep_until_kick(struct tm_vhost_worker *worker)
{
	struct tm_vhost_device *device = worker->device;
	struct pollfd polled[TM_VHOST_QUEUES_MAX + 1];
	nfds_t count = 1;
	int timeout_ms = -1;

	polled[0] = (struct pollfd){ .fd = worker->wake_fd, .events = POLLIN };
	for (uint32_t i = worker->number; i < device->blk.queues;
	     i += device->worker_count) {
		struct tm_vhost_ring *ring = &device->rings[i];

		if (!is_served(ring))
			continue;
		if (ring->kick_fd < 0)
			timeout_ms = POLL_WITHOUT_KICK_MS;
		else
			polled[count++] = (struct pollfd){
				.fd = ring->kick_fd,
				.events = POLLIN,
			};
	}
	/* Who kicks and kicks without a request, or left a semaphore that is
	 * never empty, gets not a processor's worth of looking. */
	if (worker->idle_kicks >= IDLE_KICKS)
		poll(polled, 1, IDLE_PAUSE_MS);
	if (poll(polled, count, timeout_ms) <= 0)
		return;
	worker->idle_kicks++;
	for (nfds_t i = 0; i < count; i++)
		if (polled[i].revents & (POLLIN | POLLERR))
			drain(worker, polled[i].fd);
}

/* Did any come while we polled? */
static bool poll_rings(struct tm_vhost_worker *worker, uint64_t *patience_ns)
{
	uint64_t until_ns = tm_clock_system_now_ns(NULL) + *patience_ns;
	uint64_t most_ns = worker->device->poll_ns;

	do {
		if (must_leave(worker))
			return false;
		if (serve_rings(worker)) {
			*patience_ns = *patience_ns * 2 < most_ns
					       ? *patience_ns * 2
					       : most_ns;
			return true;
		}
		/* On a busy machine whom we wait for may need our turn. */
		sched_yield();
	} while (tm_clock_system_now_ns(NULL) < until_ns);
	if (*patience_ns > most_ns / 8)
		*patience_ns /= 2;
	return false;
}

static void park(struct tm_vhost_worker *worker)
{
	sem_post(&worker->parked);
	while (sem_wait(&worker->go_on) && errno == EINTR)
		;
}

static void *run(void *opaque)
{
	struct tm_vhost_worker *worker = opaque;
	uint64_t patience_ns = worker->device->poll_ns;

	while (!atomic_load(&worker->is_stopping)) {
		if (atomic_load(&worker->is_parking)) {
			park(worker);
			continue;
		}
		if (serve_rings(worker)) {
			want_kicks(worker, false);
			while (serve_rings(worker) ||
			       poll_rings(worker, &patience_ns))
				if (must_leave(worker))
					break;
		}
		want_kicks(worker, true);
		if (!must_leave(worker) && !serve_rings(worker))
			sleep_until_kick(worker);
	}
	return NULL;
}

static void wake(struct tm_vhost_worker *worker)
{
	const uint64_t one = 1;

	if (write(worker->wake_fd, &one, sizeof(one)) < 0)
		return; /* it could not be more awake */
}

/* What the worker writes to may be full; what is not is somebody's call that
 * has not been heard yet. Was it emptied? */
static bool empty(const struct tm_vhost_worker *worker, int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLOUT };

	if (fd < 0 || poll(&polled, 1, 0) < 0 || polled.revents & POLLOUT)
		return false;
	drain(worker, fd);
	return true;
}

/* What it reads may be empty. */
static void fill(int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLIN | POLLOUT };
	const uint64_t one = 1;

	if (fd >= 0 && poll(&polled, 1, 0) > 0 && !(polled.revents & POLLIN) &&
	    write(fd, &one, sizeof(one)) < 0)
		return; /* it has been kicked meanwhile */
}

/* A front end can make an event wait for its writer, whatever we set at first,
 * and on old kernels for its reader. Who empties a full one, and there fills an
 * empty one, sets the worker free. This thread waits for none of them, or the
 * door could never be closed; on old kernels it can be made to.
 *
 * The worker uses no ring that is not started, and it may be a successor's.
 * Was a call taken away? */
static bool nudge(struct tm_vhost_worker *worker)
{
	struct tm_vhost_device *device = worker->device;
	bool is_taken = false;

	for (uint32_t i = worker->number; i < device->blk.queues;
	     i += device->worker_count) {
		struct tm_vhost_ring *ring = &device->rings[i];

		if (!ring->is_started)
			continue;
		is_taken |= empty(worker, ring->call_fd);
		empty(worker, ring->error_fd);
		if (worker->reads_may_wait)
			fill(ring->kick_fd);
	}
	return is_taken;
}

/* Whoever had not heard a call that was taken away hears another one. */
static void owe_calls(struct tm_vhost_worker *worker)
{
	struct tm_vhost_device *device = worker->device;

	for (uint32_t i = worker->number; i < device->blk.queues;
	     i += device->worker_count)
		if (device->rings[i].is_started)
			device->rings[i].owes_call = true;
}

static bool wait_until_parked(struct tm_vhost_worker *worker)
{
	struct timespec until;

	/* Somebody who sets the clock back makes a hostile front end wait. */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += NUDGE_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (sem_timedwait(&worker->parked, &until)) {
		if (errno != EINTR)
			return false;
	}
	return true;
}

void tm_vhost_worker_park(struct tm_vhost_worker *worker)
{
	bool is_taken = false;

	atomic_store(&worker->is_parking, true);
	wake(worker);
	while (!wait_until_parked(worker))
		is_taken |= nudge(worker);
	if (is_taken)
		owe_calls(worker);
}

void tm_vhost_worker_go_on(struct tm_vhost_worker *worker)
{
	atomic_store(&worker->is_parking, false);
	sem_post(&worker->go_on);
}

int tm_vhost_thread(pthread_t *thread, void *(*run_it)(void *), void *opaque)
{
	sigset_t set, before;
	int err;

	/* What comes from outside is for the program's own threads; a fault is
	 * for who made it. */
	sigfillset(&set);
	sigdelset(&set, SIGBUS);
	sigdelset(&set, SIGSEGV);
	sigdelset(&set, SIGILL);
	sigdelset(&set, SIGFPE);
	pthread_sigmask(SIG_SETMASK, &set, &before);
	err = pthread_create(thread, NULL, run_it, opaque);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

static void free_worker(struct tm_vhost_worker *worker)
{
	if (worker->wake_fd >= 0)
		close(worker->wake_fd);
	sem_destroy(&worker->parked);
	sem_destroy(&worker->go_on);
	free(worker);
}

int tm_vhost_worker_start(struct tm_vhost_device *device, uint32_t number)
{
	struct tm_vhost_worker *worker = calloc(1, sizeof(*worker));
	int err;

	if (!worker)
		return -ENOMEM;
	worker->device = device;
	worker->number = number;
	sem_init(&worker->parked, 0, 0);
	sem_init(&worker->go_on, 0, 0);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = worker->wake_fd < 0 ? -errno : 0;
	/* Before Linux 5.8. */
	worker->reads_may_wait =
		!err && read_at_once(worker->wake_fd) < 0 && errno != EAGAIN;
	if (!err)
		err = tm_vhost_thread(&worker->thread, run, worker);
	if (err) {
		free_worker(worker);
		return err;
	}
	device->workers[number] = worker;
	return 0;
}

void tm_vhost_worker_stop(struct tm_vhost_worker *worker)
{
	if (!worker)
		return;
	/* Parked it waits for nobody, and can be stopped. */
	tm_vhost_worker_park(worker);
	atomic_store(&worker->is_stopping, true);
	tm_vhost_worker_go_on(worker);
	pthread_join(worker->thread, NULL);
	free_worker(worker);
}
