/* Filters: JSON conditions on an event, compiled once per subscription version, evaluated for each event that its
 * types take. docs/filter.md has the grammar with examples; in short:
 *
 *   {"payload.amount": {"gte": 100, "lt": 1000}, "payload.lang": "de"}     every member has to hold
 *   {"any": [filter, …]}   {"all": [filter, …]}   {"not": filter}
 *
 * A path is id, workspace_id, workspace_name, event_type, event_source, event_triggered_by, occurred_at, payload or
 * payload.a.b.0, as templates have them ('.' between member names, a decimal index into an array). An operator is eq
 * (what a bare scalar means), ne, in, gt, gte, lt, lte, prefix or exists. Rules that matter everywhere:
 *
 *   - Values of different types are never equal, and never greater or less. ne is the exact opposite of eq.
 *   - What is missing is not null: eq null takes a null that is there, exists false what is not there.
 *   - Of duplicate members the last one counts. Names and strings are compared by what they mean, not by their escapes.
 *   - Two integers that fit 64 bits compare exactly, other numbers as doubles.
 *
 * Immutable and reference-counted with atomics after compilation; any thread may evaluate. */
#ifndef WEBHOOK_FILTER_H
#define WEBHOOK_FILTER_H

#include "webhook/event.h"

#define FILTER_MAX_BYTES (16 * 1024)
#define FILTER_MAX_DEPTH 8        /* filters within filters, the outermost counted */
#define FILTER_MAX_CONDITIONS 100 /* operators in all: {"gte": 1, "lt": 9} is two */
#define FILTER_MAX_IN 1000        /* values of one `in` */
#define FILTER_MAX_PATH_NAMES 32  /* of one path, `payload` not counted */

struct filter;

/* One reference. STATUS_INVALID: error says where and what, e.g. "filter.all[1].payload.contact.interest.gt: expected a
 * number or a string". */
MUST_USE enum status filter_compile(struct span json, struct filter **ret_filter, struct error *error);

/* Whether the event passes. Allocates nothing; reads the payload at most once, and only if a condition on it is
 * reached. */
bool filter_takes(const struct filter *filter, const struct event *event);

struct filter *filter_ref(struct filter *filter);
void filter_unref(struct filter **filter); /* sets NULL; NULL is fine */
size_t filter_footprint_bytes(const struct filter *filter);

#endif
