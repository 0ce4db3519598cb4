#include "core/nearest.h"

#define MAX_LEN 64 /* longer names are never near */

static size_t smallest(size_t a, size_t b, size_t c) {
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool same(char a, char b) {
    return lower(a) == lower(b);
}

/* The number of letters to insert, delete, replace, or swap with their neighbour (optimal string alignment).
 * Capitals and small letters are the same: who wrote MESSAGE.NEW meant message.new. */
static size_t distance(struct span a, struct span b) {
    size_t rows[3][MAX_LEN + 1];
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = rows[i % 3], *above = rows[(i - 1) % 3], *above2 = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            now[j] = smallest(above[j] + 1, now[j - 1] + 1, above[j - 1] + !same(a.data[i - 1], b.data[j - 1]));
            bool swapped = i > 1 && j > 1 && same(a.data[i - 1], b.data[j - 2]) && same(a.data[i - 2], b.data[j - 1]);
            if (swapped && above2[j - 2] + 1 < now[j])
                now[j] = above2[j - 2] + 1;
        }
    }
    return rows[a.len % 3][b.len];
}

struct nearest nearest_to(struct span given) {
    size_t allowed = given.len < 3 ? 1 : given.len / 3;
    return (struct nearest){given, NULL, allowed + 1};
}

void nearest_offer(struct nearest *nearest, const char *name) {
    struct span span = span_of(name);
    if (nearest->given.len > MAX_LEN || span.len > MAX_LEN)
        return;
    size_t away = distance(nearest->given, span);
    if (away < nearest->distance) {
        nearest->distance = away;
        nearest->best = name;
    }
}
