/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The codec "wk": an example of a tmem codec, whole and small.
 *
 * Memory of programs is not text. Much of it is 32-bit words that are zero,
 * that were seen a moment ago, or that differ from such a one in their low
 * bits only: pointers into one region, counters, table entries. Wilson and
 * Kaplan built a family of compressors on this ("The Case for Compressed
 * Caching in Virtual Memory Systems", USENIX 1999); this one is in their
 * spirit, with a layout of its own.
 *
 * A page is taken as little-endian words. A small dictionary holds, for each
 * value of a hash of a word's upper bits, the last word that had it. Each
 * word gets a tag of two bits:
 *
 *	ZERO	the word is 0				0 bytes
 *	EXACT	it is the dictionary's word		1 byte: which
 *	NEAR	it differs in the low 10 bits only	2 bytes: which, and
 *	NEW	anything else				4 bytes: the word
 *
 * The compressed form is n in two bytes, so that it is of exactly one length;
 * all tags, four to a byte; the bytes of each word in turn; and the page's last
 * 0 to 3 bytes if n is no multiple of 4.
 *
 * Bound: when all words are NEW, a page grows by its tags, n / 16, and 2 bytes.
 *
 * To make a codec of your own, copy this folder and begin at the bottom: the
 * table is what tmem sees. The promises are in <tmem/codec.h>, with advice in
 * tmem-plugin(7).
 */
#include <errno.h>
#include <string.h>

#include <tmem/codec.h>

/* The one symbol that tmem looks for. */
extern tmem_codec_entry_fn tmem_codec_entry;

enum tag {
	TAG_ZERO,
	TAG_EXACT,
	TAG_NEAR,
	TAG_NEW,
};

/* Before the tags: n. */
#define HEAD 2

#define LOW_BITS 10
#define LOW_MASK ((1u << LOW_BITS) - 1)
#define DICTIONARY_WORDS 64 /* 6 bits, so that NEAR fits into two bytes */

/*
 * Scratch memory. It belongs to one thread at a time, and nothing in it may
 * carry over from one page to the next: it is cleared with every call.
 */
struct context {
	uint32_t dictionary[DICTIONARY_WORDS];
};

/* Pages may lie at any address, and machines may be big-endian. */
static uint32_t word_read(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static void word_write(uint8_t *p, uint32_t word)
{
	p[0] = (uint8_t)word;
	p[1] = (uint8_t)(word >> 8);
	p[2] = (uint8_t)(word >> 16);
	p[3] = (uint8_t)(word >> 24);
}

static unsigned place_of(uint32_t word)
{
	return ((word >> LOW_BITS) * UINT32_C(2654435761)) >> 26;
}

/* Writes what follows the tag of @word; answers the tag, moves *@out on. */
static enum tag pack(struct context *context, uint32_t word, uint8_t **out)
{
	unsigned place = place_of(word);
	uint32_t known = context->dictionary[place];
	unsigned near;

	if (!word)
		return TAG_ZERO;
	context->dictionary[place] = word;
	if (word == known) {
		*(*out)++ = (uint8_t)place;
		return TAG_EXACT;
	}
	if (word >> LOW_BITS == known >> LOW_BITS) {
		near = place << LOW_BITS | (word & LOW_MASK);
		*(*out)++ = (uint8_t)near;
		*(*out)++ = (uint8_t)(near >> 8);
		return TAG_NEAR;
	}
	word_write(*out, word);
	*out += 4;
	return TAG_NEW;
}

static size_t compress_page(void *context_in, const void *src_in, size_t n,
			    void *dst, size_t limit, uint32_t flags)
{
	struct context *context = context_in;
	const uint8_t *src = src_in;
	size_t words = n / 4, tags = (words + 3) / 4;
	uint8_t *form = dst, *tag = form + HEAD, *out = tag + tags;

	if (flags)
		return 0;
	memset(context, 0, sizeof(*context));
	form[0] = (uint8_t)n;
	form[1] = (uint8_t)(n >> 8);
	memset(tag, 0, tags);
	for (size_t i = 0; i < words; i++) {
		tag[i / 4] |=
			(uint8_t)(pack(context, word_read(src + 4 * i), &out)
				  << i % 4 * 2);
		/* Stopping early is allowed, and cheap here. */
		if ((size_t)(out - form) > limit)
			return 0;
	}
	memcpy(out, src + 4 * words, n % 4);
	out += n % 4;
	return (size_t)(out - form) <= limit ? (size_t)(out - form) : 0;
}

/*
 * The input may be any bytes at all: it comes from memory that may have been
 * damaged. So every read is preceded by a look at how much is left. Answers
 * how many bytes were taken, or -1.
 */
static int unpack(struct context *context, enum tag tag, const uint8_t *in,
		  size_t left, uint32_t *word)
{
	static const uint8_t sizes[] = { 0, 1, 2, 4 };
	unsigned near;

	if (sizes[tag] > left)
		return -1;
	switch (tag) {
	case TAG_ZERO:
		*word = 0;
		return 0;
	case TAG_EXACT:
		if (in[0] >= DICTIONARY_WORDS)
			return -1;
		*word = context->dictionary[in[0]];
		break;
	case TAG_NEAR:
		near = in[0] | (unsigned)in[1] << 8;
		*word = (context->dictionary[near >> LOW_BITS] & ~LOW_MASK) |
			(near & LOW_MASK);
		break;
	case TAG_NEW:
		*word = word_read(in);
		break;
	}
	context->dictionary[place_of(*word)] = *word;
	return sizes[tag];
}

static int decompress_page(void *context_in, const void *src, size_t len,
			   void *dst_in, size_t n, uint32_t flags)
{
	struct context *context = context_in;
	size_t words = n / 4, tags = (words + 3) / 4;
	const uint8_t *form = src, *end = form + len;
	const uint8_t *tag, *in;
	uint8_t *dst = dst_in;
	uint32_t word;
	int taken;

	if (flags || len < HEAD + tags ||
	    (form[0] | (size_t)form[1] << 8) != (n & 0xffff))
		return -EBADMSG;
	tag = form + HEAD;
	in = tag + tags;
	memset(context, 0, sizeof(*context));
	for (size_t i = 0; i < words; i++) {
		taken = unpack(context, (enum tag)(tag[i / 4] >> i % 4 * 2 & 3),
			       in, (size_t)(end - in), &word);
		if (taken < 0)
			return -EBADMSG;
		in += taken;
		word_write(dst + 4 * i, word);
	}
	/* Exactly n bytes out of exactly len, or it is no page of ours. */
	if ((size_t)(end - in) != n % 4)
		return -EBADMSG;
	memcpy(dst + 4 * words, in, n % 4);
	return 0;
}

/* --- what every codec has, however little it needs ----------------------- */

static const char *library(void)
{
	return "wk 1.0";
}

static size_t bound(size_t n)
{
	return n + n / 16 + 4 + HEAD;
}

/*
 * Parameters are made once for a store and shared by all its contexts. This
 * codec has neither levels nor options, so there is nothing to keep; it does
 * not know what to do with a dictionary, and says so.
 */
static int params_create(const struct tmem_host *host,
			 const struct tmem_codec_config *config, void **params)
{
	(void)host;
	*params = NULL;
	return config->dictionary_size ? -EINVAL : 0;
}

static void params_destroy(const struct tmem_host *host, void *params)
{
	(void)host;
	(void)params;
}

/* All memory comes from the host, which counts it, and all of it here. */
static int context_create(const struct tmem_host *host, const void *params,
			  void **context)
{
	(void)params;
	*context = host->alloc(host->opaque, sizeof(struct context),
			       sizeof(uint32_t));
	return *context ? 0 : -ENOMEM;
}

static void context_destroy(const struct tmem_host *host, void *context)
{
	host->free(host->opaque, context, sizeof(struct context));
}

/*
 * The flag: decompress_page() only ever writes to dst, so somebody else may
 * be writing there meanwhile. Promise this only where you have looked.
 */
static const struct tmem_codec codec = {
	.abi_version = TMEM_PLUGIN_ABI_VERSION,
	.struct_size = sizeof(struct tmem_codec),
	.flags = TMEM_CODEC_OUTPUT_MAY_CHANGE,
	.name = "wk",
	.description = "repeated and similar words, an example",
	.library = library,
	.format = 1,
	.bound = bound,
	.params_create = params_create,
	.params_destroy = params_destroy,
	.context_create = context_create,
	.context_destroy = context_destroy,
	.compress = compress_page,
	.decompress = decompress_page,
};

const struct tmem_codec *tmem_codec_entry(const struct tmem_host *host)
{
	(void)host;
	return &codec;
}
