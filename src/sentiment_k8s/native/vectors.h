/* The few vector operations that encoder.c needs, for the instruction set it is compiled for.
 *
 * GCC's vector types give + - * and comparisons, and __builtin_shuffle, which clang lacks; the rest is
 * one intrinsic each.
 */
#ifndef VECTORS_H
#define VECTORS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define LANES 16
/* 6 rows x 4 vectors of sums, 4 of weights and one of inputs: 29 of the 32 registers. */
#define TILE_ROWS 6
#define TILE_VECTORS 4
#else
#define LANES 8
/* 4 rows x 2 vectors of sums, and what a product takes: 13 of the 16 registers. */
#define TILE_ROWS 4
#define TILE_VECTORS 2
#endif

typedef float floats __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE floats load(const float *from) {
    floats value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE ints load_ints(const void *from) {
    ints value;
    memcpy(&value, from, sizeof value);
    return value;
}

INLINE void store(float *to, floats value) { memcpy(to, &value, sizeof value); }

INLINE floats to_floats(ints value) { return __builtin_convertvector(value, floats); }

#if LANES == 16

INLINE floats all(float value) { return (floats)_mm512_set1_ps(value); }
INLINE ints all_ints(int32_t value) { return (ints)_mm512_set1_epi32(value); }
INLINE floats greatest(floats a, floats b) { return (floats)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE floats least(floats a, floats b) { return (floats)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE floats fma_(floats a, floats b, floats c) {
    return (floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
}
/* To the nearest, halves to even. */
INLINE ints round_(floats value) { return (ints)_mm512_cvtps_epi32((__m512)value); }
INLINE float sum_of(floats value) { return _mm512_reduce_add_ps((__m512)value); }
INLINE float greatest_of(floats value) { return _mm512_reduce_max_ps((__m512)value); }
INLINE float least_of(floats value) { return _mm512_reduce_min_ps((__m512)value); }
/* As bytes; below 0 and above 255 they become these. */
INLINE void store_bytes(uint8_t *to, ints value) {
    __m512i clipped = _mm512_max_epi32((__m512i)value, _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(clipped));
}
INLINE floats load_bytes(const uint8_t *from) {
    return (floats)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)));
}
/* Each sum plus four products of unsigned with signed bytes. */
INLINE ints dot(ints sums, ints unsigned_bytes, ints signed_bytes) {
    return (ints)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)unsigned_bytes, (__m512i)signed_bytes);
}

#else

INLINE floats all(float value) { return (floats)_mm256_set1_ps(value); }
INLINE ints all_ints(int32_t value) { return (ints)_mm256_set1_epi32(value); }
INLINE floats greatest(floats a, floats b) { return (floats)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE floats least(floats a, floats b) { return (floats)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE floats fma_(floats a, floats b, floats c) {
    return (floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
INLINE ints round_(floats value) { return (ints)_mm256_cvtps_epi32((__m256)value); }
INLINE float sum_of(floats value) {
    float sum = 0;
    for (int lane = 0; lane < LANES; lane++) sum += value[lane];
    return sum;
}
INLINE float greatest_of(floats value) {
    float found = value[0];
    for (int lane = 1; lane < LANES; lane++) found = value[lane] > found ? value[lane] : found;
    return found;
}
INLINE float least_of(floats value) {
    float found = value[0];
    for (int lane = 1; lane < LANES; lane++) found = value[lane] < found ? value[lane] : found;
    return found;
}
INLINE void store_bytes(uint8_t *to, ints value) {
    __m128i low = _mm256_castsi256_si128((__m256i)value);
    __m128i high = _mm256_extracti128_si256((__m256i)value, 1);
    __m128i words = _mm_packus_epi32(low, high);
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}
INLINE floats load_bytes(const uint8_t *from) {
    return (floats)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}
/* Two products are added in 16 bits, so the signed bytes must have 7 bits. */
INLINE ints dot(ints sums, ints unsigned_bytes, ints signed_bytes) {
#ifdef __AVXVNNI__
    return (ints)_mm256_dpbusd_avx_epi32((__m256i)sums, (__m256i)unsigned_bytes,
                                         (__m256i)signed_bytes);
#else
    __m256i pairs = _mm256_maddubs_epi16((__m256i)unsigned_bytes, (__m256i)signed_bytes);
    return sums + (ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#endif
}

#endif
#endif
