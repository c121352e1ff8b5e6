/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A main() for fuzz targets in builds without libFuzzer: it runs every file
 * that is named, or found in a directory that is named, through the target
 * once. So the seeds, and every crash that was ever found, are a regression
 * test for any compiler.
 *
 * Files are run in the order of their names, and each name is printed before
 * its run, so that the last line of a log says which input crashed.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	/* Of the exact size, so that a sanitizer sees a read past the end. */
	uint8_t *data = malloc(size ? size : 1);
	size_t got;

	if (!file || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	got = fread(data, 1, size, file);
	fclose(file);
	printf("%s (%zu bytes)\n", path, got);
	fflush(stdout);
	LLVMFuzzerTestOneInput(data, got);
	free(data);
	return 1;
}

static int replay(const char *path)
{
	struct dirent **names;
	struct stat st;
	int runs = 0;
	int count;

	if (stat(path, &st)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path, (size_t)st.st_size);
	count = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char child[4096];

		if (names[i]->d_name[0] != '.') {
			snprintf(child, sizeof(child), "%s/%s", path,
				 names[i]->d_name);
			runs += replay(child);
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return runs;
}

int main(int argc, char **argv)
{
	int runs = 0;

	for (int i = 1; i < argc; i++)
		runs += replay(argv[i]);
	printf("%d inputs\n", runs);
	return runs ? EXIT_SUCCESS : EXIT_FAILURE;
}
