/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a plugin's file.
 *
 * Loading a shared object runs code of whoever could write it, before any
 * check of ours. The directories of the installation are as trusted as this
 * library. A directory that somebody named is not: a file there must belong
 * to root or to us, and must not be writable by others. The file could still
 * be exchanged between the look and the loading by who may write in its
 * directory; this guards against mistakes and strangers, not against them.
 *
 * A file that was cut short passes for a shared object until its missing end
 * is touched, which would be a SIGBUS; so its segments must be within it.
 */
#include <config.h>

#include "plug_private.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_owner(const struct stat *st, struct tm_reason *reason)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return tm_reason_set(reason,
				     "it belongs to user %lu, neither root "
				     "nor the one who runs this",
				     (unsigned long)st->st_uid);
	if (st->st_mode & S_IWOTH)
		return tm_reason_set(reason, "everybody may write to it");
	return 0;
}

/* Only what could hurt; whether it is ELF for this machine, dlopen() says. */
static int check_length(int fd, const struct stat *st, struct tm_reason *reason)
{
	ElfW(Ehdr) header;
	ElfW(Phdr) segment;
	uint64_t size = (uint64_t)st->st_size;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG))
		return tm_reason_set(reason, "it is not a shared object");
	if (header.e_phentsize != sizeof(segment))
		return 0;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		off_t place = (off_t)(header.e_phoff + i * sizeof(segment));

		if (pread(fd, &segment, sizeof(segment), place) !=
			    sizeof(segment) ||
		    (segment.p_type == PT_LOAD &&
		     (segment.p_offset > size ||
		      segment.p_filesz > size - segment.p_offset)))
			return tm_reason_set(reason, "it is cut short");
	}
	return 0;
}

static int check_file(const char *path, bool trusted, struct tm_module *module,
		      struct tm_reason *reason)
{
	/* Not a pipe or device that would make us wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	int error = 0;

	if (fd < 0)
		return tm_reason_set(reason, "it cannot be opened: %s",
				     strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		error = tm_reason_set(reason, "it is not a file");
	if (!error && !trusted)
		error = check_owner(&st, reason);
	if (!error)
		error = check_length(fd, &st, reason);
	if (!error) {
		module->device = st.st_dev;
		module->inode = st.st_ino;
	}
	close(fd);
	return error;
}

int tm_module_open(const char *path, bool trusted, struct tm_module *module,
		   struct tm_reason *reason)
{
	const char *why;
	int error;

	memset(module, 0, sizeof(*module));
	error = check_file(path, trusted, module, reason);
	if (error)
		return error;
	module->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!module->handle) {
		why = dlerror();
		return tm_reason_set(reason, "it cannot be loaded: %s",
				     why ? why : "for no stated reason");
	}
	module->codec_entry = (tmem_codec_entry_fn *)(uintptr_t)dlsym(
		module->handle, TMEM_CODEC_ENTRY);
	module->allocator_entry = (tmem_allocator_entry_fn *)(uintptr_t)dlsym(
		module->handle, TMEM_ALLOCATOR_ENTRY);
	if (!module->codec_entry == !module->allocator_entry) {
		tm_module_close(module);
		return tm_reason_set(
			reason,
			module->codec_entry ? "it has both %s and %s, and must "
					      "have one of them"
					    : "it has neither %s nor %s",
			TMEM_CODEC_ENTRY, TMEM_ALLOCATOR_ENTRY);
	}
	return 0;
}

void tm_module_close(struct tm_module *module)
{
	if (module->handle)
		dlclose(module->handle);
	module->handle = NULL;
}
