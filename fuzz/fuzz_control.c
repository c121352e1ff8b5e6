/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as a request on the control socket.
 *
 *	METHOD SP URI LF BODY
 *
 * The body comes in two pieces. HTTP's own framing is the library's and is not
 * fuzzed here. Whatever is asked: there is one answer, an error is an object
 * with one sentence, JSON is JSON, the metrics end as they must, and the
 * store's sums are right afterwards. The same is asked of the metrics listener first,
 * where it must not end a client.
 */
#include <config.h>

#include "config.h"
#include "control_request.h"
#include "keep_modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MUST(x) ((x) ? (void)0 : fail(#x))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "fuzz_control: not so: %s\n", what);
	abort();
}

/* Names as in an old arena: the daemon itself would not give all of them. */
static void add_client(struct tm_control *control, const char *name)
{
	struct tmem_oid oid = { { 1, 2, 3 } };
	char page[TMEM_PAGE_SIZE] = "page";
	struct tmem_client_config config;
	struct tmem_client *client;

	tmem_client_config_init(&config);
	config.name = name;
	MUST(tmem_client_attach(control->host.store, &config, &client) >= 0);
	MUST(tmem_pool_create(client, TMEM_POOL_PERSISTENT, NULL) >= 0);
	tmem_put(client, 0, &oid, 0, page, 0);
	MUST(!tm_registry_adopt(control->host.registry, client, NULL));
}

static void open_control(struct tm_control *control,
			 const struct tm_daemon_config *settings)
{
	struct tmem_store_config config;
	struct tmem_xen_config xen;

	tmem_store_config_init(&config);
	config.memory_bytes = UINT64_C(8) << 20;
	config.memory_max_bytes = UINT64_C(16) << 20;
	config.flags = TMEM_STORE_NO_LOCK | TMEM_STORE_NO_THREADS;
	tm_lock_init(&control->saves_lock, TM_RANK_SAVES);
	MUST(!tmem_store_open(&config, &control->host.store));
	tmem_xen_config_init(&xen);
	xen.store = control->host.store;
	MUST(!tmem_xen_open(&xen, &control->host.xen));
	MUST(!tm_registry_open(control->host.store, control->host.xen, settings,
			       &control->host.registry));
}

static void close_control(struct tm_control *control)
{
	tm_registry_close(control->host.registry);
	tmem_xen_close(control->host.xen);
	tmem_store_close(control->host.store);
}

static void check_answer(const struct tm_request *request)
{
	json_t *json;

	MUST(request->status >= 200 && request->status < 600);
	MUST(request->text && request->type && !request->stream);
	if (!strcmp(request->type, "text/plain")) {
		MUST(request->status == 200);
		MUST(!request->text_size || request->text_size > 3);
		return;
	}
	if (strcmp(request->type, "application/json")) {
		MUST(request->status == 200 && request->text_size > 6);
		MUST(!memcmp(request->text + request->text_size - 6, "# EOF\n",
			     6));
		return;
	}
	json = json_loadb(request->text, request->text_size, 0, NULL);
	MUST(json != NULL);
	if (request->status != 200) {
		const char *error =
			json_string_value(json_object_get(json, "error"));

		MUST(json_object_size(json) == 1 && error && strlen(error) > 4);
	}
	json_decref(json);
}

/* A word of the input up to @end, as a string. */
static char *word(const uint8_t **data, size_t *size, char end)
{
	const uint8_t *stop = memchr(*data, end, *size);
	size_t length = stop ? (size_t)(stop - *data) : *size;
	char *text = strndup((const char *)*data, length);

	MUST(text);
	*data += length + (stop != NULL);
	*size -= length + (stop != NULL);
	return text;
}

static void ask(struct tm_control *control, const struct tm_route *routes,
		const uint8_t *data, size_t size)
{
	char *method = word(&data, &size, ' ');
	char *uri = word(&data, &size, '\n');
	struct tm_request *request =
		tm_request_begin(control, routes, method, uri);

	MUST(request);
	tm_request_data(request, (const char *)data, size / 2);
	tm_request_data(request, (const char *)data + size / 2,
			size - size / 2);
	tm_request_end(request);
	check_answer(request);
	tm_request_free(request);
	free(method);
	free(uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tm_control control = { 0 };
	struct tm_daemon_config *settings;
	char error[TM_CONFIG_ERROR_SIZE];
	struct tm_member *attached, *member;

	keep_modules();
	MUST(!tm_config_parse("", 0, &settings, error, sizeof(error)));
	open_control(&control, settings);
	add_client(&control, "web");
	MUST(!tm_registry_attach(control.host.registry, "web", 1, 1,
				 &attached));
	add_client(&control, "a/b\xff\"\\");
	ask(&control, tm_metrics_routes, data, size);
	member = tm_registry_find(control.host.registry, "web");
	MUST(member);
	tm_registry_release(control.host.registry, member);
	ask(&control, tm_control_routes, data, size);
	ask(&control, tm_control_routes, (const uint8_t *)"GET /clients", 12);
	ask(&control, tm_control_routes, (const uint8_t *)"GET /metrics", 12);
	MUST(!tmem_store_check(control.host.store));
	/* Whatever became of its client, a peer that was there goes. */
	tm_registry_detach(control.host.registry, attached);
	close_control(&control);
	tm_config_free(settings);
	return 0;
}
