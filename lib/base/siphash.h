/* SipHash-2-4 with a result of 128 bits (Aumasson and Bernstein): a fast keyed hash of short input. Any thread. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/span.h"
#include <stdint.h>

void siphash128(const uint8_t key[16], struct span data, uint8_t out[16]);

#endif
