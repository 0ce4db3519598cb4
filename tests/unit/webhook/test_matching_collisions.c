/* All that test_matching asks of the table, asked of one whose hashes have 256 values: many keys share a group, a
 * subscription's own patterns collide with each other, and so do ids. */
#define MATCHING_HASH_MASK 0xFF000000U
#include "webhook/matching.c"

#include "test_matching.c"
