/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of src/plug share and nobody else may see. */
#ifndef TM_PLUG_PRIVATE_H
#define TM_PLUG_PRIVATE_H

#include "plug.h"

#include <stdio.h>
#include <sys/types.h>

enum tm_plugin_kind {
	TM_PLUGIN_CODEC,
	TM_PLUGIN_ALLOCATOR,
};

/* One plugin that was accepted. The table is ours: see plug.h. */
struct tm_plugin {
	enum tm_plugin_kind kind;
	union { /* by kind; set at creation, then constant */
		struct tmem_codec codec;
		struct tmem_allocator allocator;
	} table;
	const char *name; /* the table's */
	char *origin; /* path of its module; NULL: built in */
	void *module; /* of dlopen(); NULL: built in */
	dev_t device;
	ino_t inode;
};

/* The reason for a refusal: one clause without a full stop. */
#define TM_REASON_BYTES 256
struct tm_reason {
	char text[TM_REASON_BYTES];
};

/* Always -EINVAL, so that a check can end with it. */
int tm_reason_set(struct tm_reason *reason, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* validate.c: 0 and a copy in our layout at @out, or -EINVAL and the reason.
 * @theirs is somebody else's table, perhaps of another version. */
int tm_validate_codec(const struct tmem_codec *theirs, struct tmem_codec *out,
		      struct tm_reason *reason);
int tm_validate_allocator(const struct tmem_allocator *theirs,
			  struct tmem_allocator *out, struct tm_reason *reason);
bool tm_plugin_name_is_valid(const char *name);

/* module.c: dlopen with care. On success *@module and exactly one entry are
 * set. @trusted: whoever wrote the directory may write the file. */
struct tm_module {
	void *handle;
	tmem_codec_entry_fn *codec_entry;
	tmem_allocator_entry_fn *allocator_entry;
	dev_t device;
	ino_t inode;
};

int tm_module_open(const char *path, bool trusted, struct tm_module *module,
		   struct tm_reason *reason);
void tm_module_close(struct tm_module *module);

/* plug_registry.c: tells the host's log that there is no plugin of that kind with
 * that name, which one is nearest, and which ones there are. -EINVAL. */
int tm_plugins_unknown(const struct tmem_plugins *plugins,
		       enum tm_plugin_kind kind, const struct tmem_host *host,
		       const char *name);

/* plug_report.c */
void tm_host_log(const struct tmem_host *host, enum tmem_log_level level,
		 const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Counts, and is true when the log should hear of it: at most once a second
 * however many threads are in trouble. */
bool tm_caught(const struct tmem_host *host, _Atomic uint64_t *errors,
	       _Atomic uint64_t *logged_ns);

#endif
