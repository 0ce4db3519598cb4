/* What a fuzz target and the replay of its corpus share: libFuzzer's entry point. A target ends the process (CHECK)
 * when what it tests does not hold. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
