/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small records of many sizes, named by 32-bit ids, carved from slabs.
 *
 * The problem: an allocator needs one record per run, of some 32 bytes to one
 * KiB; malloc's overhead and 8-byte pointers between records would cost a
 * tenth of what the whole bookkeeping may cost.
 *
 * The idea: a record is a number of 8-byte units within a slab of 32 KiB, its
 * id is slab << 12 | unit. Free records wait on one list per size; a new one
 * comes from its list, else from the unused end of the newest slab, else from
 * a longer free record, else from a new slab.
 *
 * Accepted: neighbours are not joined, and slabs stay until destroy, so what
 * is held is bounded by the sum over the sizes of what each needed at its
 * peak: for a store's bookkeeping well below one percent of its frames.
 *
 * The allocator's table lock guards everything but tm_records_at(): an id
 * that was handed out stays valid memory for ever, and reaches other threads
 * through some lock, which also makes its slab visible to them.
 */
#ifndef TM_RECORDS_H
#define TM_RECORDS_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tmem/plugin.h>

#define TM_RECORDS_UNIT 8
#define TM_RECORDS_SLAB_UNITS UINT32_C(4096)
#define TM_RECORDS_SLAB_BYTES (TM_RECORDS_SLAB_UNITS * TM_RECORDS_UNIT)
#define TM_RECORDS_SLAB_SHIFT 12
/* Slabs are found through blocks of pointers, made when needed. */
#define TM_RECORDS_BLOCK UINT32_C(512)
#define TM_RECORDS_BLOCKS UINT32_C(1024)
/* The longest record, in units. */
#define TM_RECORDS_UNITS_MAX 264

struct tm_records {
	const struct tmem_host *host; /* constant */
	uint8_t **blocks[TM_RECORDS_BLOCKS];
	uint32_t slabs;
	uint32_t unused; /* first id of the newest slab's unused end */
	uint32_t unused_units;
	uint32_t lists[TM_RECORDS_UNITS_MAX + 1]; /* ids; 0 ends */
};

static inline void *tm_records_at(const struct tm_records *records, uint32_t id)
{
	uint32_t slab = id >> TM_RECORDS_SLAB_SHIFT;
	uint32_t unit = id & (TM_RECORDS_SLAB_UNITS - 1);

	return records->blocks[slab / TM_RECORDS_BLOCK]
			      [slab % TM_RECORDS_BLOCK] +
	       (size_t)unit * TM_RECORDS_UNIT;
}

static inline void tm_records_init(struct tm_records *records,
				   const struct tmem_host *host)
{
	memset(records, 0, sizeof(*records));
	records->host = host;
}

static inline void tm_records_destroy(struct tm_records *records)
{
	const struct tmem_host *host = records->host;

	for (uint32_t i = 0; i < records->slabs; i++)
		host->free(host->opaque,
			   records->blocks[i / TM_RECORDS_BLOCK]
					  [i % TM_RECORDS_BLOCK],
			   TM_RECORDS_SLAB_BYTES);
	for (uint32_t i = 0; i < TM_RECORDS_BLOCKS; i++)
		if (records->blocks[i])
			host->free(host->opaque, records->blocks[i],
				   TM_RECORDS_BLOCK * sizeof(uint8_t *));
	records->slabs = 0;
}

static inline void tm_records_free(struct tm_records *records, uint32_t id,
				   uint32_t units)
{
	uint32_t *link = tm_records_at(records, id);

	*link = records->lists[units];
	records->lists[units] = id;
}

static inline uint32_t tm_records_pop(struct tm_records *records,
				      uint32_t units)
{
	uint32_t id = records->lists[units];

	if (id)
		records->lists[units] = *(uint32_t *)tm_records_at(records, id);
	return id;
}

/* Makes the unused end a new slab's; what was left of it becomes free. */
static inline int tm_records_grow(struct tm_records *records)
{
	const struct tmem_host *host = records->host;
	uint32_t block = records->slabs / TM_RECORDS_BLOCK;
	uint8_t *slab;

	if (block >= TM_RECORDS_BLOCKS)
		return -ENOMEM;
	if (!records->blocks[block])
		records->blocks[block] = host->alloc(
			host->opaque, TM_RECORDS_BLOCK * sizeof(uint8_t *),
			sizeof(uint8_t *));
	if (!records->blocks[block])
		return -ENOMEM;
	slab = host->alloc(host->opaque, TM_RECORDS_SLAB_BYTES, 64);
	if (!slab)
		return -ENOMEM;
	if (records->unused_units)
		tm_records_free(records, records->unused,
				records->unused_units);
	records->blocks[block][records->slabs % TM_RECORDS_BLOCK] = slab;
	records->unused = records->slabs << TM_RECORDS_SLAB_SHIFT;
	records->unused_units = TM_RECORDS_SLAB_UNITS;
	if (!records->slabs++) {
		/* Id 0 is nobody's. */
		records->unused++;
		records->unused_units--;
	}
	return 0;
}

static inline uint32_t tm_records_split(struct tm_records *records,
					uint32_t units)
{
	for (uint32_t n = units + 1; n <= TM_RECORDS_UNITS_MAX; n++) {
		uint32_t id = tm_records_pop(records, n);

		if (!id)
			continue;
		tm_records_free(records, id + units, n - units);
		return id;
	}
	return 0;
}

/*
 * The id of a record of @units units (at most TM_RECORDS_UNITS_MAX) with
 * undefined contents, or 0 when out of memory.
 */
static inline uint32_t tm_records_alloc(struct tm_records *records,
					uint32_t units)
{
	uint32_t id = tm_records_pop(records, units);

	if (id)
		return id;
	if (records->unused_units < units) {
		id = tm_records_split(records, units);
		if (id)
			return id;
		if (tm_records_grow(records))
			return 0;
	}
	id = records->unused;
	records->unused += units;
	records->unused_units -= units;
	return id;
}

static inline size_t tm_records_bytes(const struct tm_records *records)
{
	size_t bytes = (size_t)records->slabs * TM_RECORDS_SLAB_BYTES;

	for (uint32_t i = 0; i < TM_RECORDS_BLOCKS && records->blocks[i]; i++)
		bytes += TM_RECORDS_BLOCK * sizeof(uint8_t *);
	return bytes;
}

#endif
