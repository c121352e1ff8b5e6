/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of numbered elements at fixed addresses; see table.h. */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "layout.h"
#include "table.h"

static uint64_t *link_of(const struct tm_table *table, uint32_t number)
{
	return (uint64_t *)((uint8_t *)tm_table_at(table, number) +
			    table->link_offset);
}

static size_t per_element(const struct tm_table *table)
{
	return (size_t)table->element_size + table->sidecar_size;
}

int tm_table_init(struct tm_table *table, const struct tm_table_config *config)
{
	assert(config->element_size % sizeof(uint64_t) == 0 &&
	       config->link_offset % sizeof(uint64_t) == 0);
	*table = (struct tm_table){
		.base = config->base,
		.element_size = config->element_size,
		.sidecar_size = config->sidecar_size,
		.link_offset = config->link_offset,
		.capacity = config->capacity,
		.chunk = config->chunk_bytes / config->element_size,
		.owns_base = !config->base,
		.fd = config->base ? config->fd : -1,
		.fd_offset = config->fd_offset,
		.high = config->high,
		.memory = config->memory,
		.bump = 1,
	};
	tm_lock_init(&table->lock, TM_RANK_TABLES);
	if (!table->base)
		table->base = tm_memory_reserve((size_t)config->capacity *
						config->element_size);
	if (table->base && config->sidecar_size)
		table->sidecar = tm_memory_reserve((size_t)config->capacity *
						   config->sidecar_size);
	if (table->base && (table->sidecar || !config->sidecar_size))
		return 0;
	if (table->owns_base && table->base)
		munmap(table->base,
		       (size_t)config->capacity * config->element_size);
	table->base = NULL;
	tm_lock_destroy(&table->lock);
	return -ENOMEM;
}

void tm_table_destroy(struct tm_table *table)
{
	if (!table->base)
		return;
	tm_memory_discharge(table->memory, tm_table_bytes(table));
	if (table->owns_base)
		munmap(table->base,
		       (size_t)table->capacity * table->element_size);
	if (table->sidecar)
		munmap(table->sidecar,
		       (size_t)table->capacity * table->sidecar_size);
	tm_lock_destroy(&table->lock);
	table->base = NULL;
}

/* File space before memory: a write to a page that the file system has no
 * room for would be a signal, not an error. */
static int back_with_file(struct tm_table *table, uint32_t from, uint32_t to)
{
	off_t begin = (off_t)((size_t)from * table->element_size);
	off_t end = (off_t)((size_t)to * table->element_size);

	if (table->fd == -1)
		return 0;
	return tm_memory_allocate_file(table->fd, table->fd_offset + begin,
				       end - begin);
}

/* A sixteenth more, in whole pages, at most a chunk: a small table stays small,
 * a large one is not grown for ever. */
static uint32_t next_ready(const struct tm_table *table)
	TM_REQUIRES(table->lock)
{
	uint32_t page = TMEM_PAGE_SIZE / table->element_size;
	uint32_t more = table->ready / 64 / page * page;

	if (more < page)
		more = page;
	return table->ready + (more < table->chunk ? more : table->chunk);
}

static int grow(struct tm_table *table) TM_REQUIRES(table->lock)
{
	uint32_t to = next_ready(table);
	uint64_t bytes;

	if (to > table->capacity || to < table->ready)
		to = table->capacity;
	if (to == table->ready)
		return -ENOMEM;
	bytes = (uint64_t)(to - table->ready) * per_element(table);
	if (!tm_memory_charge(table->memory, bytes))
		return -ENOMEM;
	if (back_with_file(table, table->ready, to)) {
		tm_memory_discharge(table->memory, bytes);
		return -ENOMEM;
	}
	table->ready = to;
	if (table->high)
		atomic_store(table->high, tm_high_make(to));
	return 0;
}

/* The first of the free ones. */
static uint32_t take_free(struct tm_table *table, bool *is_damaged)
	TM_REQUIRES(table->lock)
{
	uint32_t number = table->free_head;
	uint64_t link = __atomic_load_n(link_of(table, number),
					__ATOMIC_RELAXED);

	table->free_head = (uint32_t)link;
	table->free_count--;
	if (!tm_high_is_sound(link) || table->free_head >= table->bump) {
		table->free_head = 0;
		table->free_count = 0;
		*is_damaged = true;
	}
	return number;
}

uint32_t tm_table_take(struct tm_table *table, uint32_t *out, uint32_t count)
{
	bool is_damaged = false;
	uint32_t got = 0;

	tm_lock_acquire(&table->lock);
	while (got < count && table->free_head)
		out[got++] = take_free(table, &is_damaged);
	while (got < count) {
		if (table->bump >= table->ready && grow(table))
			break;
		out[got++] = table->bump++;
	}
	tm_lock_release(&table->lock);
	if (is_damaged)
		tm_memory_log(table->memory, TMEM_LOG_ERROR,
			      "a damaged record: those that were free before "
			      "it are not used again until the store is "
			      "reopened");
	return got;
}

void tm_table_give(struct tm_table *table, const uint32_t *numbers,
		   uint32_t count)
{
	tm_lock_acquire(&table->lock);
	for (uint32_t i = 0; i < count; i++) {
		/* Somebody with a stale number may be looking. */
		__atomic_store_n(link_of(table, numbers[i]),
				 tm_high_make(table->free_head),
				 __ATOMIC_RELAXED);
		table->free_head = numbers[i];
	}
	table->free_count += count;
	tm_lock_release(&table->lock);
}

int tm_table_restore(struct tm_table *table, uint32_t *high)
{
	uint64_t word = atomic_load(table->high);
	int err;

	*high = (uint32_t)word;
	if (!tm_high_is_sound(word) || *high > table->capacity)
		return -EBADMSG;
	if (!*high)
		return 0;
	err = back_with_file(table, 0, *high);
	if (err)
		return err;
	tm_memory_charge_anyway(table->memory,
				(uint64_t)*high * per_element(table));
	tm_lock_acquire(&table->lock);
	table->ready = *high;
	table->bump = *high;
	tm_lock_release(&table->lock);
	return 0;
}

uint64_t tm_table_bytes(struct tm_table *table)
{
	uint64_t bytes;

	tm_lock_acquire(&table->lock);
	bytes = (uint64_t)table->ready * per_element(table);
	tm_lock_release(&table->lock);
	return bytes;
}

uint32_t tm_table_end(struct tm_table *table)
{
	uint32_t end;

	tm_lock_acquire(&table->lock);
	end = table->bump;
	tm_lock_release(&table->lock);
	return end;
}
