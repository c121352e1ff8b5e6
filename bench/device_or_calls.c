/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A swap device that cannot refuse, beside calls that can; for
 * doc/device-or-calls.md.
 *
 *	device_or_calls [-m STORE_MIB] [-s SLOTS] [PAGES...]
 *
 * The same pages go out and come back in four ways, to stores of the same size,
 * which is too small for all of them.
 *
 *	calls		frontswap and its driver; a refused page is written to
 *the swap file by whoever was refused
 *	device		a disk over tmem with that file behind it: it takes all,
 *			and passes on what tmem refused
 *	queued device	the same by way of a queue and a thread of its own, as a
 *			block device is reached: who waits is woken
 *	bare device	the disk without a file: what tmem refuses is an I/O
 *error
 *
 * All slots go out once, then pages come in and go out at random, a page being
 * another each time. What comes in is compared. PAGES are dumps of raw pages;
 * without any, those of this program and its libraries are used. The file is in
 * TMPDIR; the system keeps it in memory, so a refused page costs a copy here,
 * and not a disk's time.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tmem/linux.h>

#include "disk.h"

#define PAGE TMEM_PAGE_SIZE
#define SOURCE_PAGES_MAX 65536u

struct source {
	uint8_t *pages;
	uint32_t count;
};

struct options {
	uint64_t store_bytes;
	uint64_t slots;
	struct source source;
	char file[256];
};

struct way;

/* 0, or negative: the page is not kept, or not there. */
struct way_ops {
	const char *name;
	void (*open)(struct way *way);
	void (*close)(struct way *way);
	int (*out)(struct way *way, uint64_t slot, const void *page);
	int (*in)(struct way *way, uint64_t slot, void *page);
};

struct samples {
	uint64_t *ns;
	uint64_t count;
};

struct way {
	const struct way_ops *ops;
	const struct options *options;
	struct tmem_store *store;
	struct tmem_client *client;
	/* calls */
	struct tmem_hypercall *hypercall;
	struct tmem_frontswap *frontswap;
	struct tmem_driver *driver;
	int file;
	uint64_t file_pages;
	/* device */
	struct tm_disk *disk;
	/* queued: one request at a time */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int state; /* 0 idle, 1 asked, 2 answered, 3 end */
	bool is_write;
	uint64_t slot;
	void *page;
	int result;
	/* what happened */
	struct samples outs, ins;
	uint64_t failed;
};

__attribute__((noreturn)) static void die(const char *what, int err)
{
	fprintf(stderr, "device_or_calls: %s: %s\n", what, strerror(-err));
	exit(EXIT_FAILURE);
}

static void must(const char *what, int err)
{
	if (err < 0)
		die(what, err);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* --- calls --------------------------------------------------------------- */

static void calls_open(struct way *w)
{
	struct tmem_driver_config config;

	must("hypercall", tmem_hypercall_open_client(w->client, &w->hypercall));
	must("frontswap", tmem_frontswap_create(&w->frontswap));
	tmem_driver_config_init(&config);
	config.hypercall = w->hypercall;
	config.frontswap = w->frontswap;
	config.is_enabled = true;
	must("driver", tmem_driver_open(&config, &w->driver));
	must("swapon",
	     tmem_frontswap_swapon(w->frontswap, 0, w->options->slots));
	w->file = open(w->options->file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
		       0600);
	if (w->file < 0)
		die(w->options->file, -errno);
}

static void calls_close(struct way *w)
{
	w->file_pages =
		w->options->slots - tmem_frontswap_pages(w->frontswap, -1);
	tmem_frontswap_destroy(w->frontswap);
	tmem_driver_close(w->driver);
	tmem_hypercall_close(w->hypercall);
	close(w->file);
}

static int calls_out(struct way *w, uint64_t slot, const void *page)
{
	if (tmem_frontswap_store(w->frontswap, 0, slot, page) ==
	    TMEM_FRONTSWAP_STORED)
		return 0;
	return pwrite(w->file, page, PAGE, (off_t)(slot * PAGE)) == PAGE ? 0
									 : -EIO;
}

static int calls_in(struct way *w, uint64_t slot, void *page)
{
	int result = tmem_frontswap_load(w->frontswap, 0, slot, page);

	if (result == TMEM_FRONTSWAP_HIT)
		return 0;
	return pread(w->file, page, PAGE, (off_t)(slot * PAGE)) == PAGE ? 0
									: -EIO;
}

/* --- devices ------------------------------------------------------------- */

static void disk_open(struct way *w, const char *backing)
{
	const struct tm_disk_config config = {
		.kind = TM_DISK_SWAP,
		.client = w->client,
		.size_bytes = w->options->slots * PAGE,
		.backing = backing,
	};

	must("disk", tm_disk_open(&config, &w->disk));
}

static void device_open(struct way *w)
{
	disk_open(w, w->options->file);
}

static void bare_open(struct way *w)
{
	disk_open(w, NULL);
}

static void device_close(struct way *w)
{
	struct tm_disk_info info;

	tm_disk_get_info(w->disk, &info);
	w->file_pages = info.blocks_in_file;
	tm_disk_close(w->disk);
}

static int device_out(struct way *w, uint64_t slot, const void *page)
{
	return tm_disk_write(w->disk, page, slot * PAGE, PAGE);
}

static int device_in(struct way *w, uint64_t slot, void *page)
{
	return tm_disk_read(w->disk, page, slot * PAGE, PAGE);
}

/* --- a device that is reached by a queue --------------------------------- */

static void *serve(void *argument)
{
	struct way *w = argument;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (w->state != 1 && w->state != 3)
			pthread_cond_wait(&w->changed, &w->lock);
		if (w->state == 3)
			break;
		pthread_mutex_unlock(&w->lock);
		w->result = w->is_write ? device_out(w, w->slot, w->page)
					: device_in(w, w->slot, w->page);
		pthread_mutex_lock(&w->lock);
		w->state = 2;
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static int ask(struct way *w, bool is_write, uint64_t slot, void *page)
{
	pthread_mutex_lock(&w->lock);
	w->is_write = is_write;
	w->slot = slot;
	w->page = page;
	w->state = 1;
	pthread_cond_broadcast(&w->changed);
	while (w->state != 2)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->result;
}

static int queued_out(struct way *w, uint64_t slot, const void *page)
{
	return ask(w, true, slot, (void *)(uintptr_t)page);
}

static int queued_in(struct way *w, uint64_t slot, void *page)
{
	return ask(w, false, slot, page);
}

static void queued_open(struct way *w)
{
	device_open(w);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	must("thread", -pthread_create(&w->thread, NULL, serve, w));
}

static void queued_close(struct way *w)
{
	pthread_mutex_lock(&w->lock);
	w->state = 3;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	device_close(w);
}

static const struct way_ops ways[] = {
	{ "calls", calls_open, calls_close, calls_out, calls_in },
	{ "device", device_open, device_close, device_out, device_in },
	{ "queued device", queued_open, queued_close, queued_out, queued_in },
	{ "bare device", bare_open, device_close, device_out, device_in },
};

/* --- the measurement ----------------------------------------------------- */

static const uint8_t *content(const struct options *o, uint64_t slot,
			      uint32_t version)
{
	uint64_t n = (slot * 7 + version * UINT64_C(1009)) % o->source.count;

	return o->source.pages + n * PAGE;
}

static void send_out(struct way *w, uint64_t slot, uint32_t *versions)
{
	const uint8_t *page = content(w->options, slot, versions[slot] + 1);
	uint64_t begin = now_ns();
	int err = w->ops->out(w, slot, page);

	w->outs.ns[w->outs.count++] = now_ns() - begin;
	if (!err) {
		versions[slot]++;
		return;
	}
	/* A kernel would have to keep it. */
	versions[slot] = 0;
	w->failed++;
}

static void bring_in(struct way *w, uint64_t slot, uint32_t *versions)
{
	uint8_t page[PAGE];
	uint64_t begin;
	int err;

	if (!versions[slot])
		return;
	begin = now_ns();
	err = w->ops->in(w, slot, page);
	w->ins.ns[w->ins.count++] = now_ns() - begin;
	if (err ||
	    memcmp(page, content(w->options, slot, versions[slot]), PAGE) != 0)
		die("another page comes back", err ? err : -EBADMSG);
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Who else is busy shows in means, and hardly in medians. */
static void print_samples(const struct samples *s)
{
	qsort(s->ns, s->count, sizeof(*s->ns), by_time);
	printf("  %8.2f %8.2f",
	       s->count ? (double)s->ns[s->count / 2] / 1000 : 0.0,
	       s->count ? (double)s->ns[s->count * 99 / 100] / 1000 : 0.0);
}

static void open_store(struct way *w)
{
	struct tmem_store_config config;
	struct tmem_client_config client;

	tmem_store_config_init(&config);
	config.memory_bytes = w->options->store_bytes;
	must("store", tmem_store_open(&config, &w->store));
	tmem_client_config_init(&client);
	client.name = "bench";
	must("client", tmem_client_attach(w->store, &client, &w->client));
}

static void run(const struct options *o, const struct way_ops *ops)
{
	struct way w = { .ops = ops, .options = o };
	uint32_t *versions = calloc(o->slots, sizeof(*versions));
	uint64_t state = 1;

	w.outs.ns = calloc(2 * o->slots, sizeof(uint64_t));
	w.ins.ns = calloc(o->slots, sizeof(uint64_t));
	if (!versions || !w.outs.ns || !w.ins.ns)
		die("memory", -ENOMEM);
	unlink(o->file);
	open_store(&w);
	ops->open(&w);
	for (uint64_t i = 0; i < o->slots; i++)
		send_out(&w, i, versions);
	for (uint64_t i = 0; i < o->slots; i++) {
		uint64_t slot = mix(&state) % o->slots;

		bring_in(&w, slot, versions);
		send_out(&w, slot, versions);
	}
	ops->close(&w);
	tmem_client_destroy(w.client);
	tmem_store_close(w.store);
	printf("%-14s", ops->name);
	print_samples(&w.outs);
	print_samples(&w.ins);
	printf("  %8" PRIu64 " %8" PRIu64 "\n", w.file_pages, w.failed);
	free(versions);
	free(w.outs.ns);
	free(w.ins.ns);
	unlink(o->file);
}

/* --- pages --------------------------------------------------------------- */

static void add_file(struct source *source, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && source->count < SOURCE_PAGES_MAX &&
	       read(fd, source->pages + (size_t)source->count * PAGE, PAGE) ==
		       PAGE)
		source->count++;
	if (fd >= 0)
		close(fd);
}

static void add_mapped_files(struct source *source)
{
	char line[512], path[256], before[256] = "";
	FILE *maps = fopen("/proc/self/maps", "re");

	while (maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%*s %*s %*s %*s %*s %255s", path) == 1 &&
		    *path == '/' && strcmp(path, before) != 0) {
			add_file(source, path);
			strcpy(before, path);
		}
	if (maps)
		fclose(maps);
}

static void parse(struct options *o, int argc, char **argv)
{
	const char *dir = getenv("TMPDIR");
	int c;

	while ((c = getopt(argc, argv, "m:s:")) != -1) {
		if (c == 'm')
			o->store_bytes = strtoull(optarg, NULL, 10) << 20;
		else if (c == 's')
			o->slots = strtoull(optarg, NULL, 10);
		else
			exit(EXIT_FAILURE);
	}
	snprintf(o->file, sizeof(o->file), "%s/device-or-calls-%d",
		 dir ? dir : "/var/tmp", (int)getpid());
	o->source.pages = malloc((size_t)SOURCE_PAGES_MAX * PAGE);
	if (!o->source.pages || !o->slots)
		die("what was asked for", -EINVAL);
	for (; optind < argc; optind++)
		add_file(&o->source, argv[optind]);
	if (!o->source.count)
		add_mapped_files(&o->source);
	if (!o->source.count)
		die("no pages", -ENOENT);
}

int main(int argc, char **argv)
{
	struct options o = { .store_bytes = 64 << 20, .slots = 65536 };

	parse(&o, argc, argv);
	printf("%" PRIu64 " slots, %" PRIu64 " MiB; %u different pages; store "
	       "%" PRIu64 " MiB\n\n",
	       o.slots, o.slots * PAGE >> 20, o.source.count,
	       o.store_bytes >> 20);
	printf("%-14s  %17s  %17s  %8s %8s\n", "", "out, us", "in, us", "slots",
	       "I/O");
	printf("%-14s  %8s %8s  %8s %8s  %8s %8s\n", "", "median", "p99",
	       "median", "p99", "in file", "errors");
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++)
		run(&o, &ways[i]);
	free(o.source.pages);
	return EXIT_SUCCESS;
}
