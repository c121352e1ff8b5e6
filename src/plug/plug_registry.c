/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry: which codecs and allocators there are.
 *
 * The built-in ones come first, in the order they are given; then modules,
 * sorted by name. Modules are looked for in codecs/ and allocators/ of the
 * installation, then in the directories that were named, then in those of
 * TMEM_PLUGIN_PATH. What is found first under a name keeps it: a later plugin
 * cannot replace what an arena's pages were made with.
 *
 * A module is a file NAME.so that holds the plugin NAME. Codecs and
 * allocators share one space of names, so that a name alone says what is
 * meant. The same file found by two ways is one plugin.
 *
 * All of it is an instance: two stores in one process may know different
 * plugins. Nothing changes after opening, so there is no lock.
 */
#include <config.h>

#include "nearest.h"
#include "plug_private.h"

#include <dirent.h>
#include <stdlib.h>
#include <time.h>

#define BUILT_IN "built in"

struct tmem_plugins {
	struct tm_plugin **items;
	size_t count;
	size_t room;
	/* What entry functions are given. */
	struct tmem_host host;
	void (*log)(void *opaque, enum tmem_log_level level, const char *text);
	void *log_opaque;
};

/* --- the host that entry functions see: no store is there to count memory */

static void entry_log(void *opaque, enum tmem_log_level level, const char *text)
{
	const struct tmem_plugins *plugins = opaque;

	if (plugins->log)
		plugins->log(plugins->log_opaque, level, text);
}

static uint64_t entry_now_ns(void *opaque)
{
	struct timespec now;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *entry_alloc(void *opaque, size_t size, size_t align)
{
	void *ptr;

	(void)opaque;
	if (posix_memalign(&ptr, align < sizeof(ptr) ? sizeof(ptr) : align,
			   size))
		return NULL;
	return memset(ptr, 0, size);
}

static void entry_free(void *opaque, void *ptr, size_t size)
{
	(void)opaque;
	(void)size;
	free(ptr);
}

static void host_init(struct tmem_plugins *plugins)
{
	plugins->host = (struct tmem_host){
		.abi_version = TMEM_PLUGIN_ABI_VERSION,
		.struct_size = sizeof(struct tmem_host),
		.opaque = plugins,
		.log = entry_log,
		.now_ns = entry_now_ns,
		.alloc = entry_alloc,
		.free = entry_free,
	};
}

/* --- the list */

static const char *origin_of(const struct tm_plugin *plugin)
{
	return plugin->origin ? plugin->origin : BUILT_IN;
}

static void refuse(struct tmem_plugins *plugins, const char *origin,
		   const struct tm_reason *reason)
{
	tm_host_log(&plugins->host, TMEM_LOG_WARNING, "plugin %s refused: %s",
		    origin, reason->text);
}

static void plugin_free(struct tm_plugin *plugin)
{
	struct tm_module module = { .handle = plugin->module };

	tm_module_close(&module);
	free(plugin->origin);
	free(plugin);
}

static const struct tm_plugin *find(const struct tmem_plugins *plugins,
				    const char *name)
{
	for (size_t i = 0; i < plugins->count; i++)
		if (!strcmp(plugins->items[i]->name, name))
			return plugins->items[i];
	return NULL;
}

static int check_duplicate(const struct tmem_plugins *plugins,
			   const struct tm_plugin *plugin,
			   struct tm_reason *reason)
{
	const struct tm_plugin *other = find(plugins, plugin->name);

	if (!other)
		return 0;
	return tm_reason_set(
		reason, "its name %s is taken by %s %s", plugin->name,
		other->kind == TM_PLUGIN_CODEC ? "the codec" : "the allocator",
		other->origin ? other->origin : "that is built in");
}

/* Takes the plugin over on success. */
static int append(struct tmem_plugins *plugins, struct tm_plugin *plugin)
{
	if (plugins->count == plugins->room) {
		size_t room = plugins->room ? plugins->room * 2 : 16;
		struct tm_plugin **items = realloc(
			plugins->items, room * sizeof(struct tm_plugin *));

		if (!items)
			return -ENOMEM;
		plugins->items = items;
		plugins->room = room;
	}
	plugins->items[plugins->count++] = plugin;
	return 0;
}

static int validate(struct tm_plugin *plugin, const void *table,
		    struct tm_reason *reason)
{
	int error;

	if (plugin->kind == TM_PLUGIN_CODEC) {
		error = tm_validate_codec(table, &plugin->table.codec, reason);
		plugin->name = plugin->table.codec.name;
	} else {
		error = tm_validate_allocator(table, &plugin->table.allocator,
					      reason);
		plugin->name = plugin->table.allocator.name;
	}
	return error;
}

/* --- built-in plugins */

static int add_built_in(struct tmem_plugins *plugins, enum tm_plugin_kind kind,
			const void *table)
{
	struct tm_plugin *plugin = calloc(1, sizeof(*plugin));
	struct tm_reason reason;
	int error;

	if (!plugin)
		return -ENOMEM;
	plugin->kind = kind;
	error = validate(plugin, table, &reason);
	if (!error)
		error = check_duplicate(plugins, plugin, &reason);
	if (error) {
		refuse(plugins, BUILT_IN, &reason);
		plugin_free(plugin);
		return 0;
	}
	error = append(plugins, plugin);
	if (error)
		plugin_free(plugin);
	return error;
}

static int add_all_built_in(struct tmem_plugins *plugins,
			    const struct tm_plugins_config *config)
{
	int error = 0;

	for (size_t i = 0; !error && config->codecs && config->codecs[i]; i++)
		error = add_built_in(plugins, TM_PLUGIN_CODEC,
				     config->codecs[i]);
	for (size_t i = 0;
	     !error && config->allocators && config->allocators[i]; i++)
		error = add_built_in(plugins, TM_PLUGIN_ALLOCATOR,
				     config->allocators[i]);
	return error;
}

/* --- modules */

static int check_file_name(const struct tm_plugin *plugin,
			   struct tm_reason *reason)
{
	const char *slash = strrchr(plugin->origin, '/');
	const char *file = slash ? slash + 1 : plugin->origin;
	size_t length = strlen(plugin->name);

	if (!strncmp(file, plugin->name, length) &&
	    !strcmp(file + length, ".so"))
		return 0;
	return tm_reason_set(reason, "it holds %s, which belongs in %s.so",
			     plugin->name, plugin->name);
}

static int take_table(struct tmem_plugins *plugins, struct tm_plugin *plugin,
		      const struct tm_module *module, struct tm_reason *reason)
{
	const void *table;
	int error;

	if (module->codec_entry) {
		plugin->kind = TM_PLUGIN_CODEC;
		table = module->codec_entry(&plugins->host);
	} else {
		plugin->kind = TM_PLUGIN_ALLOCATOR;
		table = module->allocator_entry(&plugins->host);
	}
	if (!table)
		return tm_reason_set(reason, "its entry function answers NULL");
	error = validate(plugin, table, reason);
	if (!error)
		error = check_file_name(plugin, reason);
	if (!error)
		error = check_duplicate(plugins, plugin, reason);
	return error;
}

static bool is_loaded(const struct tmem_plugins *plugins,
		      const struct tm_module *module)
{
	for (size_t i = 0; i < plugins->count; i++)
		if (plugins->items[i]->module &&
		    plugins->items[i]->device == module->device &&
		    plugins->items[i]->inode == module->inode)
			return true;
	return false;
}

/* 0 when refused, too. */
static int add_module(struct tmem_plugins *plugins, const char *path,
		      bool trusted)
{
	struct tm_plugin *plugin = NULL;
	struct tm_module module;
	struct tm_reason reason;
	int error;

	if (tm_module_open(path, trusted, &module, &reason)) {
		refuse(plugins, path, &reason);
		return 0;
	}
	error = -ENOMEM;
	if (is_loaded(plugins, &module)) {
		error = 0;
		goto out_module;
	}
	plugin = calloc(1, sizeof(*plugin));
	if (!plugin)
		goto out_module;
	plugin->origin = strdup(path);
	if (!plugin->origin)
		goto out_plugin;
	if (take_table(plugins, plugin, &module, &reason)) {
		refuse(plugins, path, &reason);
		error = 0;
		goto out_plugin;
	}
	plugin->module = module.handle;
	plugin->device = module.device;
	plugin->inode = module.inode;
	error = append(plugins, plugin);
	if (error)
		plugin_free(plugin);
	return error;

out_plugin:
	plugin_free(plugin);
out_module:
	tm_module_close(&module);
	return error;
}

static int is_module(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 3 &&
	       !strcmp(entry->d_name + length - 3, ".so");
}

/* Files that are there but cannot be listed are nobody's plugins: no error,
 * but a directory that somebody named is worth a word. */
static int add_directory(struct tmem_plugins *plugins, const char *directory,
			 bool trusted)
{
	struct dirent **entries;
	int count = scandir(directory, &entries, is_module, alphasort);
	int error = 0;

	if (count < 0) {
		if (errno == ENOMEM)
			return -ENOMEM;
		if (!trusted)
			tm_host_log(&plugins->host, TMEM_LOG_WARNING,
				    "plugin directory %s: %s", directory,
				    strerror(errno));
		return 0;
	}
	for (int i = 0; i < count; i++) {
		char *path;

		if (!error &&
		    asprintf(&path, "%s/%s", directory, entries[i]->d_name) < 0)
			error = -ENOMEM;
		if (!error) {
			error = add_module(plugins, path, trusted);
			free(path);
		}
		free(entries[i]);
	}
	free(entries);
	return error;
}

static int add_path(struct tmem_plugins *plugins, const char *path)
{
	char *copy, *rest, *directory;
	int error = 0;

	if (!path)
		return 0;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	rest = copy;
	while (!error && (directory = strsep(&rest, ":")))
		if (*directory)
			error = add_directory(plugins, directory, false);
	free(copy);
	return error;
}

static int add_installed(struct tmem_plugins *plugins, const char *directory)
{
	static const char *const parts[] = { "codecs", "allocators" };
	int error = 0;

	for (size_t i = 0; directory && !error && i < 2; i++) {
		char *path;

		if (asprintf(&path, "%s/%s", directory, parts[i]) < 0)
			return -ENOMEM;
		error = add_directory(plugins, path, true);
		free(path);
	}
	return error;
}

static int by_name(const void *a, const void *b)
{
	const struct tm_plugin *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

int tm_plugins_open(const struct tm_plugins_config *config,
		    struct tmem_plugins **plugins_out)
{
	struct tmem_plugins *plugins = calloc(1, sizeof(*plugins));
	size_t built_in;
	int error;

	if (!plugins)
		return -ENOMEM;
	plugins->log = config->log;
	plugins->log_opaque = config->opaque;
	host_init(plugins);
	error = add_all_built_in(plugins, config);
	built_in = plugins->count;
	if (!error)
		error = add_installed(plugins, config->directory);
	if (!error)
		error = add_path(plugins, config->path);
	if (!error)
		error = add_path(plugins, secure_getenv("TMEM_PLUGIN_PATH"));
	if (error) {
		tm_plugins_close(plugins);
		return error;
	}
	if (plugins->count > built_in)
		qsort(plugins->items + built_in, plugins->count - built_in,
		      sizeof(struct tm_plugin *), by_name);
	*plugins_out = plugins;
	return 0;
}

void tm_plugins_close(struct tmem_plugins *plugins)
{
	if (!plugins)
		return;
	for (size_t i = 0; i < plugins->count; i++)
		plugin_free(plugins->items[i]);
	free(plugins->items);
	free(plugins);
}

/* --- questions */

static const struct tm_plugin *nth(const struct tmem_plugins *plugins,
				   enum tm_plugin_kind kind, size_t n)
{
	for (size_t i = 0; i < plugins->count; i++)
		if (plugins->items[i]->kind == kind && !n--)
			return plugins->items[i];
	return NULL;
}

const struct tmem_codec *tm_plugins_codec(const struct tmem_plugins *plugins,
					  size_t n)
{
	const struct tm_plugin *plugin = nth(plugins, TM_PLUGIN_CODEC, n);

	return plugin ? &plugin->table.codec : NULL;
}

const struct tmem_allocator *
tm_plugins_allocator(const struct tmem_plugins *plugins, size_t n)
{
	const struct tm_plugin *plugin = nth(plugins, TM_PLUGIN_ALLOCATOR, n);

	return plugin ? &plugin->table.allocator : NULL;
}

const struct tmem_codec *
tm_plugins_find_codec(const struct tmem_plugins *plugins, const char *name)
{
	const struct tm_plugin *plugin = find(plugins, name);

	return plugin && plugin->kind == TM_PLUGIN_CODEC ? &plugin->table.codec
							 : NULL;
}

const struct tmem_allocator *
tm_plugins_find_allocator(const struct tmem_plugins *plugins, const char *name)
{
	const struct tm_plugin *plugin = find(plugins, name);

	return plugin && plugin->kind == TM_PLUGIN_ALLOCATOR
		       ? &plugin->table.allocator
		       : NULL;
}

const char *tm_plugins_origin(const struct tmem_plugins *plugins,
			      const char *name)
{
	const struct tm_plugin *plugin = find(plugins, name);

	return plugin ? origin_of(plugin) : NULL;
}

#define NAMES_MAX 32

int tm_plugins_unknown(const struct tmem_plugins *plugins,
		       enum tm_plugin_kind kind, const struct tmem_host *host,
		       const char *name)
{
	const char *what = kind == TM_PLUGIN_CODEC ? "codec" : "allocator";
	const char *names[NAMES_MAX];
	const struct tm_plugin *plugin;
	char known[NAMES_MAX * (TMEM_PLUGIN_NAME_MAX + 2) + 1] = "";
	size_t count = 0, used = 0;

	while (count < NAMES_MAX && (plugin = nth(plugins, kind, count))) {
		used += (size_t)snprintf(known + used, sizeof(known) - used,
					 "%s%s", count ? ", " : "",
					 plugin->name);
		names[count++] = plugin->name;
	}
	if (count)
		tm_host_log(host, TMEM_LOG_ERROR,
			    "there is no %s \"%.32s\"; did you mean %s? "
			    "(there are: %s)",
			    what, name,
			    tm_nearest(name, names, count, sizeof(names[0])),
			    known);
	else
		tm_host_log(host, TMEM_LOG_ERROR,
			    "there is no %s \"%.32s\", nor any other", what,
			    name);
	return -EINVAL;
}
