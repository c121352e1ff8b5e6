/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May this table be called? Everything that can be known before the first
 * call is checked here, once, and answered with the reason if not.
 *
 * Versions: a table is read only as far as its own struct_size and ours both
 * go, into a zeroed copy in our layout. Every function that ABI 1 began with
 * is required; one that is added later will be optional, and its absence a
 * NULL in the copy. So "too small" always means smaller than ABI 1 began.
 *
 * The order of the checks is the order in which fields may be believed:
 * abi_version, struct_size, then the rest.
 */
#include <config.h>

#include "plug_private.h"

/* What ABI 1 began with ended with these members. Never changes. */
#define END_OF(type, member)                                                   \
	(offsetof(type, member) + sizeof(((type *)0)->member))
#define CODEC_SIZE_V1 END_OF(struct tmem_codec, decompress)
#define ALLOCATOR_SIZE_V1 END_OF(struct tmem_allocator, stats)

#define CODEC_FLAGS_KNOWN                                                      \
	(TMEM_CODEC_INPUT_MAY_CHANGE | TMEM_CODEC_OUTPUT_MAY_CHANGE |          \
	 TMEM_CODEC_STORES_RAW)

/* Levels are small numbers; zstd's -131072 is the widest known range. */
#define LEVEL_MAX (1 << 20)
#define OPTIONS_MAX 64
#define DESCRIPTION_MAX 200

bool tm_plugin_name_is_valid(const char *name)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");

	return length >= 1 && length <= TMEM_PLUGIN_NAME_MAX && !name[length] &&
	       name[0] >= 'a' && name[0] <= 'z';
}

static int check_version(uint32_t abi_version, uint32_t struct_size,
			 size_t least, struct tm_reason *reason)
{
	if (abi_version != TMEM_PLUGIN_ABI_VERSION)
		return tm_reason_set(reason, "its ABI version is %u, not %u",
				     (unsigned)abi_version,
				     (unsigned)TMEM_PLUGIN_ABI_VERSION);
	if (struct_size < least)
		return tm_reason_set(reason,
				     "its struct_size is %u, too small for "
				     "ABI version %u, which begins with %zu",
				     (unsigned)struct_size,
				     (unsigned)TMEM_PLUGIN_ABI_VERSION, least);
	return 0;
}

static int check_names(const char *name, const char *description,
		       struct tm_reason *reason)
{
	if (!name)
		return tm_reason_set(reason, "it has no name");
	if (!tm_plugin_name_is_valid(name))
		return tm_reason_set(reason,
				     "its name \"%.32s\" is not 1 to %d of "
				     "a-z 0-9 - and _, beginning with a letter",
				     name, TMEM_PLUGIN_NAME_MAX);
	if (!description || !*description || strchr(description, '\n') ||
	    strnlen(description, DESCRIPTION_MAX + 1) > DESCRIPTION_MAX)
		return tm_reason_set(reason,
				     "its description is not one line of "
				     "1 to %d bytes",
				     DESCRIPTION_MAX);
	return 0;
}

static int check_option(const struct tmem_option *option,
			struct tm_reason *reason)
{
	if (!tm_plugin_name_is_valid(option->name))
		return tm_reason_set(reason,
				     "its option \"%.32s\" has a bad "
				     "name",
				     option->name);
	if (option->type != TMEM_OPTION_INTEGER &&
	    option->type != TMEM_OPTION_BOOLEAN)
		return tm_reason_set(reason,
				     "its option %s has the unknown "
				     "type %d",
				     option->name, (int)option->type);
	if (!option->unit || !option->help)
		return tm_reason_set(reason,
				     "its option %s has no unit or no "
				     "help",
				     option->name);
	if (option->min > option->initial || option->initial > option->max)
		return tm_reason_set(reason,
				     "its option %s begins outside "
				     "its own bounds",
				     option->name);
	return 0;
}

static int check_options(const struct tmem_option *options,
			 struct tm_reason *reason)
{
	int error;

	for (size_t i = 0; options && options[i].name; i++) {
		if (i == OPTIONS_MAX)
			return tm_reason_set(reason,
					     "its option table has no "
					     "end within %d rows",
					     OPTIONS_MAX);
		error = check_option(&options[i], reason);
		if (error)
			return error;
		for (size_t j = 0; j < i; j++)
			if (!strcmp(options[i].name, options[j].name))
				return tm_reason_set(reason,
						     "it has two options "
						     "named %s",
						     options[i].name);
	}
	return 0;
}

/* Answers the first function that is missing, or NULL. */
static const char *missing_codec_function(const struct tmem_codec *codec)
{
	return !codec->library           ? "library"
	       : !codec->bound           ? "bound"
	       : !codec->params_create   ? "params_create"
	       : !codec->params_destroy  ? "params_destroy"
	       : !codec->context_create  ? "context_create"
	       : !codec->context_destroy ? "context_destroy"
	       : !codec->compress        ? "compress"
	       : !codec->decompress      ? "decompress"
					 : NULL;
}

static const char *
missing_allocator_function(const struct tmem_allocator *allocator)
{
	return !allocator->create      ? "create"
	       : !allocator->destroy   ? "destroy"
	       : !allocator->max_size  ? "max_size"
	       : !allocator->alloc     ? "alloc"
	       : !allocator->free      ? "free"
	       : !allocator->address   ? "address"
	       : !allocator->set_owner ? "set_owner"
	       : !allocator->victims   ? "victims"
	       : !allocator->adopt     ? "adopt"
	       : !allocator->stats     ? "stats"
				       : NULL;
}

static int check_bound(const struct tmem_codec *codec, struct tm_reason *reason)
{
	static const size_t sizes[] = { 1, 64, 4096, 65536 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t n = sizes[i];
		size_t bound = codec->bound(n);

		if (bound < 1 || bound > n + n / 8 + 1024)
			return tm_reason_set(reason,
					     "its bound(%zu) is %zu, outside "
					     "1 to n + n / 8 + 1024",
					     n, bound);
	}
	return 0;
}

int tm_validate_codec(const struct tmem_codec *theirs, struct tmem_codec *out,
		      struct tm_reason *reason)
{
	const char *missing;
	size_t common;
	int error;

	error = check_version(theirs->abi_version, theirs->struct_size,
			      CODEC_SIZE_V1, reason);
	if (error)
		return error;
	common = theirs->struct_size < sizeof(*out) ? theirs->struct_size
						    : sizeof(*out);
	memset(out, 0, sizeof(*out));
	memcpy(out, theirs, common);
	out->struct_size = (uint32_t)common;
	/* Flags are permissions: one that we do not know is one less to use. */
	out->flags &= CODEC_FLAGS_KNOWN;

	error = check_names(out->name, out->description, reason);
	if (error)
		return error;
	missing = missing_codec_function(out);
	if (missing)
		return tm_reason_set(reason, "it has no function %s()",
				     missing);
	if (!out->library())
		return tm_reason_set(reason, "its library() answers NULL");
	if (out->level_min > out->level_default ||
	    out->level_default > out->level_max ||
	    out->level_min < -LEVEL_MAX || out->level_max > LEVEL_MAX)
		return tm_reason_set(reason,
				     "its levels %d to %d, by default %d, "
				     "make no sense",
				     (int)out->level_min, (int)out->level_max,
				     (int)out->level_default);
	error = check_options(out->options, reason);
	if (error)
		return error;
	return check_bound(out, reason);
}

int tm_validate_allocator(const struct tmem_allocator *theirs,
			  struct tmem_allocator *out, struct tm_reason *reason)
{
	const char *missing;
	size_t common;
	int error;

	error = check_version(theirs->abi_version, theirs->struct_size,
			      ALLOCATOR_SIZE_V1, reason);
	if (error)
		return error;
	common = theirs->struct_size < sizeof(*out) ? theirs->struct_size
						    : sizeof(*out);
	memset(out, 0, sizeof(*out));
	memcpy(out, theirs, common);
	out->struct_size = (uint32_t)common;
	out->flags = 0;

	error = check_names(out->name, out->description, reason);
	if (error)
		return error;
	missing = missing_allocator_function(out);
	if (missing)
		return tm_reason_set(reason, "it has no function %s()",
				     missing);
	return check_options(out->options, reason);
}
