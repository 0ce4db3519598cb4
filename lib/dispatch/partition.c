#include "dispatch/partition.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct partition *partition_new(struct span topic, int32_t number) {
    struct partition *partition = mem_calloc(1, sizeof(*partition));
    atomic_init(&partition->refs, 1);
    partition->topic = mem_strndup(topic.data, topic.len);
    partition->number = number;
    return partition;
}

struct partition *partition_ref(struct partition *partition) {
    atomic_fetch_add_explicit(&partition->refs, 1, memory_order_relaxed);
    return partition;
}

void partition_unref(struct partition **partition_ptr) {
    struct partition *partition = *partition_ptr;
    *partition_ptr = NULL;
    if (!partition || atomic_fetch_sub_explicit(&partition->refs, 1, memory_order_acq_rel) != 1)
        return;
    mem_free(partition->topic);
    mem_free(partition->done);
    mem_free(partition);
}

bool partition_was_settled(const struct partition *partition, int64_t offset) {
    if (offset < partition->start_offset)
        return true;
    uint64_t bit = (uint64_t)(offset - partition->start_offset);
    return bit / 8 < partition->done_len && ((uint8_t)partition->done[bit / 8] >> (bit % 8) & 1);
}

void partition_metadata(const struct partition *partition, char out[PARTITION_METADATA_MAX]) {
    char lineage[UUID_TEXT_LEN + 1];
    uuid_format(&partition->lineage, lineage);
    (void)snprintf(out, PARTITION_METADATA_MAX, "hookcast 1 %s %" PRId64, lineage, partition->first_offset);
}

bool partition_metadata_parse(const char *metadata, struct uuid *ret_lineage, int64_t *ret_first_offset) {
    struct span text = span_of(metadata);
    struct span start = SPAN_LITERAL("hookcast 1 ");
    if (!span_has_prefix(text, start) || text.len < start.len + UUID_TEXT_LEN + 2)
        return false;
    struct uuid lineage;
    if (uuid_parse((struct span){text.data + start.len, UUID_TEXT_LEN}, &lineage) != STATUS_OK)
        return false;
    const char *number = text.data + start.len + UUID_TEXT_LEN + 1;
    char *end = NULL;
    int64_t first = strtoll(number, &end, 10);
    if (number[-1] != ' ' || end == number || *end != '\0' || first < 0)
        return false;
    *ret_lineage = lineage;
    *ret_first_offset = first;
    return true;
}
