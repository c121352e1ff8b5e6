/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Modules of plugins stay loaded between the inputs of a fuzz target: libFuzzer
 * keeps the addresses of the counters in every module that was ever loaded, and
 * reads them when the store that loaded it is closed.
 */
#ifndef TM_KEEP_MODULES_H
#define TM_KEEP_MODULES_H

#include <stddef.h>

#include <tmem/tmem.h>

static inline void keep_modules(void)
{
	static struct tmem_plugins *plugins;

	if (!plugins)
		tmem_plugins_open(NULL, NULL, NULL, &plugins);
}

#endif
