/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as calls of a store, beside the model of it (tests/model/model.h).
 *
 * The first byte says what kind of store: limit, dedup, arena. Each further
 * choice that the model makes takes one byte, or two where there are more than
 * 256 possibilities; when they are used up the run ends. Now and then, and at
 * the end, everything is verified, and the store closed and opened again.
 */
#include <config.h>

#include <stdlib.h>

#include "keep_modules.h"
#include "model.h"

#define STEPS_MAX 4000
#define VERIFY_EVERY 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
	size_t at;
};

static uint32_t input_byte(struct input *input)
{
	return input->at < input->size ? input->data[input->at++] : 0;
}

static uint32_t input_below(void *opaque, uint32_t n)
{
	struct input *input = opaque;
	uint32_t choice = input_byte(input);

	if (n > 256)
		choice = choice << 8 | input_byte(input);
	return choice % n;
}

static void configure(struct tm_model *model, uint32_t kind)
{
	model->config.codec = "none";
	model->config.allocator = kind & 1 ? "zbud" : "zsmalloc";
	model->config.memory_bytes = kind & 2 ? TMEM_MEMORY_MIN : 1 << 20;
	model->config.memory_max_bytes = 4 << 20;
	model->config.flags |= TMEM_STORE_NO_THREADS;
	if (kind & 4)
		model->config.flags |= TMEM_STORE_DEDUP;
	if (kind & 8)
		model->config.flags |= TMEM_STORE_DEDUP_PERSISTENT;
	if (kind & 16)
		model->config.arena = "memfd";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size, 0 };
	struct tm_model *model = malloc(sizeof(*model));

	if (!model)
		return 0;
	keep_modules();
	tm_model_init(model, 1);
	configure(model, input_byte(&input));
	model->actors[0].source = (struct tm_model_source){ input_below,
							    &input };
	tm_model_open(model);
	while (input.at < size && model->actors[0].steps < STEPS_MAX) {
		tm_model_step(&model->actors[0]);
		if (model->actors[0].steps % VERIFY_EVERY == 0)
			tm_model_verify(model);
	}
	tm_model_verify(model);
	tm_model_reopen(model);
	tm_model_verify(model);
	tm_model_close(model);
	free(model);
	return 0;
}
