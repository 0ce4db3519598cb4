/* The known name nearest to one that somebody mistyped, for error messages. Any thread.
 *
 *   struct nearest nearest = nearest_to(span_of("dispach"));
 *   nearest_offer(&nearest, "dispatch");
 *   if (nearest.best) … did you mean */
#ifndef CORE_NEAREST_H
#define CORE_NEAREST_H

#include "base/span.h"

struct nearest {
    struct span given;
    const char *best; /* NULL: nothing is near enough to be meant (more than a third of the letters are wrong;
                       * capitals don't count) */
    size_t distance;
};

struct nearest nearest_to(struct span given);
void nearest_offer(struct nearest *nearest, const char *name); /* of equally near names the first stays */

#endif
