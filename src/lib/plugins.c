/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The public view of the plugin registry, and what the build was made with.
 *
 * A registry of src/plug knows no plugin by itself; here it is given the
 * built-in ones and the directory of the installed modules.
 */
#include <config.h>

#include "builtin.h"
#include "plug.h"

#include <tmem/tmem.h>

int tmem_plugins_open(const char *path,
		      void (*log)(void *opaque, enum tmem_log_level level,
				  const char *text),
		      void *opaque, struct tmem_plugins **plugins)
{
	const struct tm_plugins_config config = {
		.codecs = tm_builtin_codecs,
		.allocators = tm_builtin_allocators,
		.directory = TM_PLUGIN_DIR,
		.path = path,
		.log = log,
		.opaque = opaque,
	};

	return tm_plugins_open(&config, plugins);
}

void tmem_plugins_close(struct tmem_plugins *plugins)
{
	tm_plugins_close(plugins);
}

const struct tmem_codec *tmem_plugins_codec(const struct tmem_plugins *plugins,
					    size_t n)
{
	return tm_plugins_codec(plugins, n);
}

const struct tmem_allocator *
tmem_plugins_allocator(const struct tmem_plugins *plugins, size_t n)
{
	return tm_plugins_allocator(plugins, n);
}

const char *tmem_plugins_origin(const struct tmem_plugins *plugins,
				const char *name)
{
	return tm_plugins_origin(plugins, name);
}

const char *tmem_default_codec(void)
{
	return TM_DEFAULT_CODEC;
}

const char *tmem_default_allocator(void)
{
	return TM_DEFAULT_ALLOCATOR;
}

const char *tmem_version(void)
{
	return PACKAGE_VERSION;
}
