/* One assignment of one Kafka partition to this process: made by the recorder when intake adopts the partition, shared
 * by reference with every delivery that came of it. A later assignment of the same partition is another object. */
#ifndef DISPATCH_PARTITION_H
#define DISPATCH_PARTITION_H

#include "base/id.h"
#include <stdatomic.h>

struct partition {
    _Atomic int refs;
    /* Constant after adoption. */
    char *topic;
    int32_t number;
    int64_t epoch;
    struct uuid lineage;
    int64_t first_offset; /* of the lineage */
    int64_t start_offset; /* progress.next_offset at adoption */
    struct uuid last_key; /* of the record before it; nil: unknown */
    char *done;           /* bitmap beyond start_offset, as adopted */
    size_t done_len;
    int64_t reread_before; /* records before it may be settled already: ask `events`; 0: none */

    struct tracked *tracked; /* the recorder's alone */

    /* Written by the recorder, read by intake. */
    _Atomic int64_t settled_offset; /* the first that is not durably settled */
    /* Raised by intake with each record announced, lowered by the recorder when that one is durably settled. */
    _Atomic int64_t open;
    /* Set by intake or the recorder, read by the lanes: no first attempt of it starts any more. */
    _Atomic bool revoked;
};

struct partition *partition_new(struct span topic, int32_t number);
struct partition *partition_ref(struct partition *partition);
void partition_unref(struct partition **partition);

/* Whether the bitmap that was adopted says that this offset is settled. */
bool partition_was_settled(const struct partition *partition, int64_t offset);

/* The metadata that goes with a committed offset: "hookcast 1 LINEAGE FIRST_OFFSET" (rule P4). */
#define PARTITION_METADATA_MAX 96
void partition_metadata(const struct partition *partition, char out[PARTITION_METADATA_MAX]);
bool partition_metadata_parse(const char *metadata, struct uuid *ret_lineage, int64_t *ret_first_offset);

#endif
