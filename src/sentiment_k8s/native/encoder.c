/* An encoder of the BERT family with a classification head: tokens in, logits out, on one core.
 *
 * Texts stand one after the other, without padding: all but attention treats each token by itself,
 * and attention takes one text at a time. So a text's logits do not depend, to the last bit, on
 * what it is computed with.
 *
 * Read it from the end: `encode` is the whole way. Weights are packed by encoder.py.
 */
#include "vectors.h"

#include <math.h>
#include <stddef.h>

#define PANEL (TILE_VECTORS * LANES) /* columns of a tile */
#define BLOCK 128                    /* rows that go through a matrix together */
#define QUERIES 4                    /* that attend together */

/* y = x W + b. Weights are in panels of PANEL columns: of floats row by row (inputs, PANEL), of
 * bytes four rows at a time (inputs / 4, PANEL, 4). `outputs` is a multiple of PANEL. */
struct linear {
    int32_t inputs, outputs;
    const void *weights;
    const float *biases;  /* (outputs) */
    const float *scales;  /* (outputs) of int8 weights; NULL: they are floats */
    const int32_t *sums;  /* (outputs) of a column's int8 weights */
    const float *factors; /* (inputs) that x is multiplied by before it is quantised, or NULL */
};

struct norm {
    const float *scales, *shifts; /* (hidden) */
    float epsilon;
};

struct layer {
    /* Queries, keys and values; the queries' share has 1 / sqrt(width of a head) in it. */
    struct linear inward;
    struct linear outward;   /* attention's output */
    struct norm attended;    /* after attention */
    struct linear widening;  /* the feed-forward network, up */
    struct linear narrowing; /* and down */
    struct norm done;        /* after it */
};

struct encoder {
    int32_t hidden, heads, layers;
    const void *words; /* (vocabulary, hidden), of floats, or of bytes when they have a scale */
    float words_scale, words_zero;
    const float *positions; /* (longest, hidden) */
    const float *types;     /* (kinds, hidden) */
    struct norm embedded;
    const struct layer *each;
    struct linear pooler;
    int32_t pooler_is_relu; /* else tanh */
    struct linear classifier;
};

/* What becomes of a matrix product. */
enum finish { PUT, ADD, GELU };

/* ---- numbers ---- */

/* e^x for x <= 0, at least e^-87; relative error 2e-7 near 0 and 4e-6 near -87, where log2(e) x has
 * fewer bits after the point. 2^f by its Taylor series on [-1/2, 1/2]. */
INLINE floats exponential(floats x) {
    x = greatest(x, all(-87.0f)) * 1.44269504f;
    ints whole = round_(x);
    floats f = x - to_floats(whole);
    floats y = all(1.54035304e-4f);
    y = fma_(y, f, all(1.33335581e-3f));
    y = fma_(y, f, all(9.61812911e-3f));
    y = fma_(y, f, all(5.55041087e-2f));
    y = fma_(y, f, all(2.40226507e-1f));
    y = fma_(y, f, all(6.93147181e-1f));
    y = fma_(y, f, all(1.0f));
    return y * (floats)((whole + 127) << 23);
}

/* x times the normal distribution up to x; absolute error 4e-6 on [-7, 7], 6e-7 |x| beyond. It is
 * 1/2 + x P(x^2) on [-5, 5], with P fitted for the least error of the whole in u = 2 x^2 / 25 - 1. */
INLINE floats gelu(floats x) {
    static const float P[] = {
        0.14136375f,  -0.07029823f,  0.051525395f,  -0.04039198f,   0.03135673f,   -0.023624958f,
        0.016910115f, -0.010165432f, 0.0051132967f, -0.0038869018f, 0.0031944436f, -0.001096341f,
    };
    floats near = least(greatest(x, all(-5.0f)), all(5.0f));
    floats u = fma_(near * near, all(2.0f / 25), all(-1.0f));
    floats y = all(P[11]);
#pragma GCC unroll 11
    for (int i = 10; i >= 0; i--) y = fma_(y, u, all(P[i]));
    return x * fma_(near, y, all(0.5f));
}

/* ---- matrix products ---- */

/* How a row was quantised: value = scale * (byte - zero). */
struct row {
    float scale;
    int32_t zero;
};

static struct row quantise(const float *x, const float *factors, int count, uint8_t *bytes) {
    floats low = all(0), high = all(0);
    for (int i = 0; i < count; i += LANES) {
        floats value = load(x + i);
        if (factors) value *= load(factors + i);
        low = least(low, value);
        high = greatest(high, value);
    }
    float lowest = least_of(low), range = greatest_of(high) - lowest;
    struct row row = {range > 0 ? range / 255 : 1, 0};
    float inverse = 1 / row.scale;
    row.zero = (int32_t)lrintf(-lowest * inverse);
    for (int i = 0; i < count; i += LANES) {
        floats value = load(x + i);
        if (factors) value *= load(factors + i);
        store_bytes(bytes + i, round_(value * inverse) + row.zero);
    }
    return row;
}

INLINE void put(float *y, floats value, enum finish finish) {
    if (finish == ADD) value += load(y);
    if (finish == GELU) value = gelu(value);
    store(y, value);
}

/* One panel's columns for `rows` rows, a constant: their sums stay in registers. */
INLINE void int8_tile(const struct linear *linear, int first, const uint8_t *x,
                      const struct row *quantised, const int rows, float *y, ptrdiff_t stride,
                      enum finish finish) {
    const ptrdiff_t inputs = linear->inputs;
    const int8_t *weights = (const int8_t *)linear->weights + first * inputs;
    ints sums[TILE_ROWS][TILE_VECTORS] = {0};
    for (ptrdiff_t i = 0; i < inputs; i += 4, weights += 4 * PANEL) {
        ints w[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < TILE_VECTORS; v++) w[v] = load_ints(weights + 4 * LANES * v);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + r * inputs + i, 4);
            ints all_four = all_ints(four);
#pragma GCC unroll 8
            for (int v = 0; v < TILE_VECTORS; v++) sums[r][v] = dot(sums[r][v], all_four, w[v]);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int column = first + v * LANES;
        floats scales = load(linear->scales + column), biases = load(linear->biases + column);
        ints columns = load_ints(linear->sums + column);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            floats sum = to_floats(sums[r][v] - columns * quantised[r].zero);
            put(y + r * stride + column, fma_(sum, scales * quantised[r].scale, biases), finish);
        }
    }
}

INLINE void fp32_tile(const struct linear *linear, int first, const float *x, const int rows,
                      float *y, ptrdiff_t stride, enum finish finish) {
    const ptrdiff_t inputs = linear->inputs;
    const float *weights = (const float *)linear->weights + first * inputs;
    floats sums[TILE_ROWS][TILE_VECTORS] = {0};
    for (ptrdiff_t i = 0; i < inputs; i++, weights += PANEL) {
        floats w[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < TILE_VECTORS; v++) w[v] = load(weights + LANES * v);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            floats one = all(x[r * inputs + i]);
#pragma GCC unroll 8
            for (int v = 0; v < TILE_VECTORS; v++) sums[r][v] = fma_(one, w[v], sums[r][v]);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < TILE_VECTORS; v++) {
        const int column = first + v * LANES;
        floats biases = load(linear->biases + column);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) put(y + r * stride + column, sums[r][v] + biases, finish);
    }
}

#if TILE_ROWS == 6
#define EACH_COUNT(TILE) TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#else
#define EACH_COUNT(TILE) TILE(1) TILE(2) TILE(3) TILE(4)
#endif

/* y (rows, stride) of x (rows, inputs), a panel after the other, each for all rows: a panel stays in
 * the nearest cache while rows come and go. The rows are shared evenly among as few tiles as do. */
INLINE void multiply(const struct linear *linear, const float *x, const uint8_t *bytes,
                     const struct row *quantised, int rows, float *y, int stride,
                     enum finish finish) {
    const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int first = 0; first < linear->outputs; first += PANEL) {
        for (int tile = 0, row = 0; tile < tiles; tile++) {
            const int count = rows / tiles + (tile < rows % tiles);
            float *to = y + (ptrdiff_t)row * stride;
            if (linear->scales) {
                const uint8_t *from = bytes + (ptrdiff_t)row * linear->inputs;
                switch (count) {
#define TILE(n) \
    case n: int8_tile(linear, first, from, quantised + row, n, to, stride, finish); break;
                    EACH_COUNT(TILE)
#undef TILE
                }
            } else {
                const float *from = x + (ptrdiff_t)row * linear->inputs;
                switch (count) {
#define TILE(n) \
    case n: fp32_tile(linear, first, from, n, to, stride, finish); break;
                    EACH_COUNT(TILE)
#undef TILE
                }
            }
            row += count;
        }
    }
}

struct scratch {
    float *x, *inward, *context, *wide, *head; /* see `lay_out` */
    uint8_t *bytes;                            /* (BLOCK, widest) */
    struct row *rows;                          /* (BLOCK) */
};

/* A function for each finish, so that a profile tells them apart. */
static void put_block(const struct linear *l, const float *x, const struct scratch *s, int rows,
                      float *y, int stride) {
    multiply(l, x, s->bytes, s->rows, rows, y, stride, PUT);
}
static void add_block(const struct linear *l, const float *x, const struct scratch *s, int rows,
                      float *y, int stride) {
    multiply(l, x, s->bytes, s->rows, rows, y, stride, ADD);
}
static void gelu_block(const struct linear *l, const float *x, const struct scratch *s, int rows,
                       float *y, int stride) {
    multiply(l, x, s->bytes, s->rows, rows, y, stride, GELU);
}

/* Puts x W + b, or its GELU, to y, or adds it. x is (rows, inputs), y (rows, stride). */
static void apply(const struct linear *linear, const float *x, int rows, float *y, int stride,
                  enum finish finish, const struct scratch *s) {
    for (int first = 0; first < rows; first += BLOCK) {
        const int count = rows - first < BLOCK ? rows - first : BLOCK;
        const float *from = x + (ptrdiff_t)first * linear->inputs;
        float *to = y + (ptrdiff_t)first * stride;
        if (linear->scales)
            for (int r = 0; r < count; r++)
                s->rows[r] = quantise(from + (ptrdiff_t)r * linear->inputs, linear->factors,
                                      linear->inputs, s->bytes + (ptrdiff_t)r * linear->inputs);
        switch (finish) {
        case PUT: put_block(linear, from, s, count, to, stride); break;
        case ADD: add_block(linear, from, s, count, to, stride); break;
        case GELU: gelu_block(linear, from, s, count, to, stride); break;
        }
    }
}

/* ---- layers ---- */

/* Each row to mean 0 and variance 1, then scaled and shifted. */
static void normalise(const struct norm *norm, float *x, int rows, int hidden) {
    for (int r = 0; r < rows; r++, x += hidden) {
        floats sum = all(0), squares = all(0);
        for (int i = 0; i < hidden; i += LANES) sum += load(x + i);
        const float mean = sum_of(sum) / hidden;
        for (int i = 0; i < hidden; i += LANES) {
            floats off = load(x + i) - mean;
            squares = fma_(off, off, squares);
        }
        const float inverse = 1 / sqrtf(sum_of(squares) / hidden + norm->epsilon);
        for (int i = 0; i < hidden; i += LANES)
            store(x + i, fma_((load(x + i) - mean) * inverse, load(norm->scales + i),
                              load(norm->shifts + i)));
    }
}

static void embed(const struct encoder *e, const int32_t *ids, const int32_t *types, int tokens,
                  float *x) {
    const ptrdiff_t hidden = e->hidden;
    for (int t = 0; t < tokens; t++, x += hidden) {
        const float *position = e->positions + t * hidden, *type = e->types + types[t] * hidden;
        for (int i = 0; i < hidden; i += LANES) {
            const ptrdiff_t at = ids[t] * hidden + i;
            floats word =
                e->words_scale
                    ? (load_bytes((const uint8_t *)e->words + at) - e->words_zero) * e->words_scale
                    : load((const float *)e->words + at);
            store(x + i, word + load(position + i) + load(type + i));
        }
    }
}

/* The transpose of LANES rows of LANES values, the rows at from[0], from[1] and so on: pairs of rows
 * change half of their values, then pairs of pairs (Eklundh, 1972). */
INLINE void transpose(const float *const *from, float *to, ptrdiff_t stride) {
    floats rows[LANES];
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) rows[r] = load(from[r]);
#pragma GCC unroll 4
    for (int half = 1; half < LANES; half *= 2) {
        ints low, high; /* of two rows one after the other, which values to take */
#pragma GCC unroll 16
        for (int lane = 0; lane < LANES; lane++) {
            low[lane] = lane & half ? LANES + lane - half : lane;
            high[lane] = lane & half ? LANES + lane : lane + half;
        }
#pragma GCC unroll 16
        for (int r = 0; r < LANES; r++) {
            if (r & half) continue;
            floats a = rows[r], b = rows[r + half];
            rows[r] = __builtin_shuffle(a, b, low);
            rows[r + half] = __builtin_shuffle(a, b, high);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) store(to + r * stride, rows[r]);
}

/* Softmax of QUERIES rows of `count` values, in place, but for the division by what is returned. */
INLINE void soften(float *x, int count, float *sums) {
    floats most[QUERIES], sum[QUERIES];
    for (int q = 0; q < QUERIES; q++) most[q] = load(x + q * count), sum[q] = all(0);
    for (int t = LANES; t < count; t += LANES)
        for (int q = 0; q < QUERIES; q++) most[q] = greatest(most[q], load(x + q * count + t));
    for (int q = 0; q < QUERIES; q++) most[q] = all(greatest_of(most[q]));
    for (int t = 0; t < count; t += LANES)
#pragma GCC unroll 4
        for (int q = 0; q < QUERIES; q++) {
            floats value = exponential(load(x + q * count + t) - most[q]);
            store(x + q * count + t, value);
            sum[q] += value;
        }
    for (int q = 0; q < QUERIES; q++) sums[q] = sum_of(sum[q]);
}

/* Attention of one text. `inward` has a token's queries, keys and values of all heads in a row;
 * `context` (queries, hidden) is for the first `queries` tokens. `head` is for one head's keys
 * (width, padded), which a mask (padded) says are there, and scores (QUERIES, padded). */
static void attend(const struct encoder *e, const float *inward, int tokens, int queries,
                   float *context, float *head) {
    const int hidden = e->hidden, width = hidden / e->heads, step = 2 * LANES;
    const ptrdiff_t stride = 3 * hidden;
    const int padded = (tokens + step - 1) / step * step;
    float *keys = head, *mask = keys + width * padded, *scores = mask + padded;
    for (int t = 0; t < padded; t++) mask[t] = t < tokens ? 0 : -1e30f;
    for (int h = 0; h < e->heads; h++, inward += width, context += width) {
        for (int t = 0; t < padded; t += LANES)
            for (int d = 0; d < width; d += LANES) {
                const float *rows[LANES];
                for (int r = 0; r < LANES; r++) /* past the end, the last one again */
                    rows[r] = inward + (t + r < tokens ? t + r : tokens - 1) * stride + hidden + d;
                transpose(rows, keys + d * padded + t, padded);
            }
        for (int first = 0; first < queries; first += QUERIES) {
            const float *query[QUERIES];
            for (int q = 0; q < QUERIES; q++)
                query[q] = inward + stride * (first + q < queries ? first + q : queries - 1);
            for (int t = 0; t < padded; t += step) {
                floats sums[QUERIES][2];
#pragma GCC unroll 4
                for (int q = 0; q < QUERIES; q++)
                    sums[q][0] = load(mask + t), sums[q][1] = load(mask + t + LANES);
                for (int d = 0; d < width; d++) {
                    floats here = load(keys + d * padded + t),
                           next = load(keys + d * padded + t + LANES);
#pragma GCC unroll 4
                    for (int q = 0; q < QUERIES; q++) {
                        floats one = all(query[q][d]);
                        sums[q][0] = fma_(one, here, sums[q][0]);
                        sums[q][1] = fma_(one, next, sums[q][1]);
                    }
                }
#pragma GCC unroll 4
                for (int q = 0; q < QUERIES; q++) {
                    store(scores + q * padded + t, sums[q][0]);
                    store(scores + q * padded + t + LANES, sums[q][1]);
                }
            }
            float totals[QUERIES];
            soften(scores, padded, totals);
            for (int d = 0; d < width; d += step) {
                floats sums[QUERIES][2] = {0};
                const float *value = inward + 2 * hidden + d;
                for (int t = 0; t < tokens; t++, value += stride) {
                    floats here = load(value), next = load(value + LANES);
#pragma GCC unroll 4
                    for (int q = 0; q < QUERIES; q++) {
                        floats one = all(scores[q * padded + t]);
                        sums[q][0] = fma_(one, here, sums[q][0]);
                        sums[q][1] = fma_(one, next, sums[q][1]);
                    }
                }
                for (int q = 0; q < QUERIES && first + q < queries; q++) {
                    float *to = context + (ptrdiff_t)(first + q) * hidden + d;
                    const float share = 1 / totals[q];
                    store(to, sums[q][0] * share);
                    store(to + LANES, sums[q][1] * share);
                }
            }
        }
    }
}

/* The feed-forward network and the norms around it, for rows of x whose attention is in `context`. */
static void feed_forward(const struct encoder *e, const struct layer *layer, const float *context,
                         float *x, int rows, const struct scratch *s) {
    const int hidden = e->hidden, wide = layer->widening.outputs;
    for (int first = 0; first < rows; first += BLOCK) {
        const int count = rows - first < BLOCK ? rows - first : BLOCK;
        float *here = x + (ptrdiff_t)first * hidden;
        apply(&layer->outward, context + (ptrdiff_t)first * hidden, count, here, hidden, ADD, s);
        normalise(&layer->attended, here, count, hidden);
        apply(&layer->widening, here, count, s->wide, wide, GELU, s);
        apply(&layer->narrowing, s->wide, count, here, hidden, ADD, s);
        normalise(&layer->done, here, count, hidden);
    }
}

static ptrdiff_t aligned(ptrdiff_t bytes) { return (bytes + 63) / 64 * 64; }

/* Lays out the working memory from `memory` on, which is NULL to ask for its size. */
static ptrdiff_t lay_out(const struct encoder *e, int tokens, int texts, int longest, char *memory,
                         struct scratch *s) {
    const ptrdiff_t hidden = e->hidden, wide = e->each->widening.outputs, width = hidden / e->heads;
    const ptrdiff_t padded = longest + 2 * LANES, together = longest > BLOCK ? longest : BLOCK;
    const ptrdiff_t sizes[] = {
        tokens * hidden * 4,                                /* x: a token's state */
        together * 3 * hidden * 4,                          /* inward */
        (together > texts ? together : texts) * hidden * 4, /* context */
        BLOCK * wide * 4,
        (width + 1 + QUERIES) * padded * 4,
        BLOCK * (wide > hidden ? wide : hidden),
        BLOCK * sizeof(struct row),
    };
    void *parts[7];
    ptrdiff_t end = 0;
    for (int i = 0; i < 7; i++) {
        parts[i] = memory + end;
        end += aligned(sizes[i]);
    }
    *s = (struct scratch){parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6]};
    return end;
}

/* Bytes of working memory that `encode` takes for so many tokens, the longest text having `longest`. */
int64_t working_memory(const struct encoder *e, int32_t tokens, int32_t texts, int32_t longest) {
    struct scratch s;
    return lay_out(e, tokens, texts, longest, NULL, &s);
}

/* Columns of a panel: the packing that the caller makes. */
int32_t panel(void) { return PANEL; }

/* For a caller to see that it speaks of the same sources and structures. */
uint64_t sources(void) { return SOURCES; }
int32_t size_of_encoder(void) { return sizeof(struct encoder); }
int32_t size_of_layer(void) { return sizeof(struct layer); }

/* The logits of texts.
 *
 * ids, types: (tokens) of all texts, one after the other
 * ends:       (texts), where each text ends
 * memory:     as `working_memory` says, aligned to 64 bytes
 * logits:     (texts, classifier.outputs)
 */
void encode(const struct encoder *e, const int32_t *ids, const int32_t *types, const int32_t *ends,
            int32_t texts, int32_t longest, char *memory, float *logits) {
    const int hidden = e->hidden, tokens = ends[texts - 1];
    struct scratch s;
    lay_out(e, tokens, texts, longest, memory, &s);
    for (int i = 0, begin = 0; i < texts; begin = ends[i++])
        embed(e, ids + begin, types + begin, ends[i] - begin, s.x + (ptrdiff_t)begin * hidden);
    normalise(&e->embedded, s.x, tokens, hidden);

    for (int l = 0; l < e->layers; l++) {
        /* Of the last layer the head reads the first tokens only. */
        const int last = l == e->layers - 1;
        for (int text = 0, done = 0; text < texts;) {
            const int first = text, begin = done;
            while (text < texts && (text == first || ends[text] - begin <= BLOCK)) text++;
            float *x = s.x + (ptrdiff_t)(last ? first : begin) * hidden;
            apply(&e->each[l].inward, s.x + (ptrdiff_t)begin * hidden, ends[text - 1] - begin,
                  s.inward, 3 * hidden, PUT, &s);
            for (int i = first; i < text; done = ends[i++]) {
                const int tokens = ends[i] - done, at = last ? i - first : done - begin;
                attend(e, s.inward + (ptrdiff_t)(done - begin) * 3 * hidden, tokens,
                       last ? 1 : tokens, s.context + (ptrdiff_t)at * hidden, s.head);
                if (last)
                    memmove(s.x + (ptrdiff_t)i * hidden, s.x + (ptrdiff_t)done * hidden,
                            hidden * sizeof(float));
            }
            feed_forward(e, e->each + l, s.context, x, last ? text - first : done - begin, &s);
        }
    }

    apply(&e->pooler, s.x, texts, s.context, hidden, PUT, &s);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)texts * hidden; i++)
        s.context[i] = e->pooler_is_relu ? fmaxf(s.context[i], 0) : tanhf(s.context[i]);
    apply(&e->classifier, s.context, texts, logits, e->classifier.outputs, PUT, &s);
}
