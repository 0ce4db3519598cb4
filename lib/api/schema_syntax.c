/* A schema is walked once. References may only go to the root and to its `$defs`, so every schema that one can lead to
 * is seen by that walk. What stays at the same value ($ref, allOf, …) must come to an end: from each schema such steps
 * are followed to a depth that no honest schema reaches. */
#include "api/schema_private.h"
#include <string.h>

#define STEPS 20000
#define DEPTH 60
#define NAMES_MAX 1000 /* of `required` and the like: each is compared with each */
#define URI "https://json-schema.org/draft/2020-12/schema"

typedef bool syntax_fn(struct schema_walk *walk, const json_t *said);

static bool is_schema(struct schema_walk *walk, const json_t *schema);

static bool anything(struct schema_walk *walk, const json_t *said) {
    (void)walk, (void)said;
    return true;
}

static bool is_text(struct schema_walk *walk, const json_t *said) {
    return json_is_string(said) || schema_wrong(walk, "expected a text");
}

static bool is_flag(struct schema_walk *walk, const json_t *said) {
    return json_is_boolean(said) || schema_wrong(walk, "expected true or false");
}

static bool is_number(struct schema_walk *walk, const json_t *said) {
    return json_is_number(said) || schema_wrong(walk, "expected a number");
}

static bool is_divisor(struct schema_walk *walk, const json_t *said) {
    return (json_is_number(said) && json_number_value(said) > 0) || schema_wrong(walk, "expected a number above 0");
}

static bool is_count(struct schema_walk *walk, const json_t *said) {
    return (schema_is_integer(said) && json_number_value(said) >= 0) ||
           schema_wrong(walk, "expected an integer that is not below 0");
}

static bool is_array(struct schema_walk *walk, const json_t *said) {
    return json_is_array(said) || schema_wrong(walk, "expected an array");
}

static bool is_dialect(struct schema_walk *walk, const json_t *said) {
    return (json_is_string(said) && strcmp(json_string_value(said), URI) == 0) ||
           schema_wrong(walk, "expected \"" URI "\"");
}

static bool is_reference(struct schema_walk *walk, const json_t *said) {
    if (json_is_string(said) && schema_resolve(walk->root, json_string_value(said)))
        return true;
    return schema_wrong(walk, "expected \"#\", or \"#/$defs/\" and a name that is there");
}

static bool is_names(struct schema_walk *walk, const json_t *said) {
    if (!is_array(walk, said))
        return false;
    if (json_array_size(said) > NAMES_MAX)
        return schema_wrong(walk, "expected at most %d texts", NAMES_MAX);
    for (size_t i = 0; i < json_array_size(said); i++) {
        if (!json_is_string(json_array_get(said, i)))
            return schema_wrong(walk, "expected an array of texts");
        for (size_t n = 0; n < i; n++)
            if (json_equal(json_array_get(said, i), json_array_get(said, n)))
                return schema_wrong(walk, "expected texts that differ");
    }
    return true;
}

static bool is_type_name(const json_t *said) {
    static const char *const TYPES[] = {"null", "boolean", "object", "array", "number", "string", "integer"};
    for (size_t i = 0; json_is_string(said) && i < sizeof(TYPES) / sizeof(*TYPES); i++)
        if (strcmp(json_string_value(said), TYPES[i]) == 0)
            return true;
    return false;
}

static bool is_type(struct schema_walk *walk, const json_t *said) {
    bool valid = is_type_name(said);
    if (json_is_array(said)) {
        if (!is_names(walk, said))
            return false;
        valid = json_array_size(said) > 0;
        for (size_t i = 0; i < json_array_size(said); i++)
            valid &= is_type_name(json_array_get(said, i));
    }
    return valid || schema_wrong(walk, "expected null, boolean, object, array, number, string, integer, or an array "
                                       "of them");
}

static bool is_schemas(struct schema_walk *walk, const json_t *said) {
    bool valid = true;
    if (json_array_size(said) == 0)
        return schema_wrong(walk, "expected an array of schemas");
    for (size_t i = 0; i < json_array_size(said); i++) {
        size_t path = schema_enter_index(walk, i);
        valid &= is_schema(walk, json_array_get(said, i));
        schema_leave(walk, path);
    }
    return valid;
}

static bool each_member(struct schema_walk *walk, const json_t *said, syntax_fn *fn) {
    const char *name;
    json_t *one;
    bool valid = true;
    if (!json_is_object(said))
        return schema_wrong(walk, "expected an object");
    json_object_foreach((json_t *)said, name, one) {
        size_t path = schema_enter(walk, name);
        valid &= fn(walk, one);
        schema_leave(walk, path);
    }
    return valid;
}

static bool is_schema_map(struct schema_walk *walk, const json_t *said) {
    return each_member(walk, said, is_schema);
}

static bool is_names_map(struct schema_walk *walk, const json_t *said) {
    return each_member(walk, said, is_names);
}

static const struct {
    const char *name;
    syntax_fn *fn;
    const char *with; /* the keyword that it has no meaning without; NULL: none */
    bool root_only;
} KEYWORDS[] = {
    {"$schema", is_dialect, NULL, true},
    {"$id", is_text, NULL, true},
    {"$comment", is_text, NULL, false},
    {"$defs", is_schema_map, NULL, true},
    {"$ref", is_reference, NULL, false},
    {"title", is_text, NULL, false},
    {"description", is_text, NULL, false},
    {"default", anything, NULL, false},
    {"examples", is_array, NULL, false},
    {"deprecated", is_flag, NULL, false},
    {"readOnly", is_flag, NULL, false},
    {"writeOnly", is_flag, NULL, false},
    {"type", is_type, NULL, false},
    {"enum", is_array, NULL, false},
    {"const", anything, NULL, false},
    {"multipleOf", is_divisor, NULL, false},
    {"maximum", is_number, NULL, false},
    {"exclusiveMaximum", is_number, NULL, false},
    {"minimum", is_number, NULL, false},
    {"exclusiveMinimum", is_number, NULL, false},
    {"maxLength", is_count, NULL, false},
    {"minLength", is_count, NULL, false},
    {"items", is_schema, NULL, false},
    {"prefixItems", is_schemas, NULL, false},
    {"contains", is_schema, NULL, false},
    {"maxContains", is_count, "contains", false},
    {"minContains", is_count, "contains", false},
    {"maxItems", is_count, NULL, false},
    {"minItems", is_count, NULL, false},
    {"uniqueItems", is_flag, NULL, false},
    {"properties", is_schema_map, NULL, false},
    {"additionalProperties", is_schema, NULL, false},
    {"propertyNames", is_schema, NULL, false},
    {"required", is_names, NULL, false},
    {"dependentRequired", is_names_map, NULL, false},
    {"dependentSchemas", is_schema_map, NULL, false},
    {"maxProperties", is_count, NULL, false},
    {"minProperties", is_count, NULL, false},
    {"allOf", is_schemas, NULL, false},
    {"anyOf", is_schemas, NULL, false},
    {"oneOf", is_schemas, NULL, false},
    {"not", is_schema, NULL, false},
    {"if", is_schema, NULL, false},
    {"then", is_schema, "if", false},
    {"else", is_schema, "if", false},
};
#define KEYWORD_COUNT (sizeof(KEYWORDS) / sizeof(*KEYWORDS))

static bool is_keyword(struct schema_walk *walk, const json_t *schema, const char *name, const json_t *said) {
    for (size_t i = 0; i < KEYWORD_COUNT; i++) {
        if (strcmp(KEYWORDS[i].name, name) != 0)
            continue;
        if (KEYWORDS[i].root_only && schema != walk->root)
            return schema_wrong(walk, "may stand at the root alone");
        if (KEYWORDS[i].with && !json_object_get(schema, KEYWORDS[i].with))
            return schema_wrong(walk, "has no meaning without %s", KEYWORDS[i].with);
        return KEYWORDS[i].fn(walk, said);
    }
    return schema_wrong(walk, "this keyword is not supported");
}

static bool is_schema(struct schema_walk *walk, const json_t *schema) {
    const char *name;
    json_t *said;
    bool valid = true;
    if (json_is_boolean(schema))
        return true;
    if (!json_is_object(schema))
        return schema_wrong(walk, "expected a schema: an object, true or false");
    if (walk->depth >= DEPTH)
        return schema_wrong(walk, "is too deep");
    walk->depth++;
    json_object_foreach((json_t *)schema, name, said) {
        size_t path = schema_enter(walk, name);
        valid &= is_keyword(walk, schema, name, said);
        schema_leave(walk, path);
    }
    walk->depth--;
    return valid;
}

/* ---- that it ends ---- */

static bool ends(struct schema_walk *walk, const json_t *schema);

static bool all_end(struct schema_walk *walk, const json_t *schemas) {
    const char *name;
    size_t i;
    json_t *one;
    json_array_foreach(schemas, i, one) {
        if (!ends(walk, one))
            return false;
    }
    json_object_foreach((json_t *)schemas, name, one) {
        if (!ends(walk, one))
            return false;
    }
    return true;
}

/* Follows what is said of the same value. */
static bool ends(struct schema_walk *walk, const json_t *schema) {
    static const char *const ONE[] = {"not", "if", "then", "else"};
    static const char *const MANY[] = {"allOf", "anyOf", "oneOf", "dependentSchemas"};
    bool valid = true;
    if (!json_is_object(schema))
        return true;
    if (--walk->steps < 0 || walk->depth >= DEPTH)
        return false;
    walk->depth++;
    const json_t *reference = json_object_get(schema, "$ref");
    if (reference)
        valid = ends(walk, schema_resolve(walk->root, json_string_value(reference)));
    for (size_t i = 0; i < sizeof(ONE) / sizeof(*ONE) && valid; i++)
        valid = ends(walk, json_object_get(schema, ONE[i]));
    for (size_t i = 0; i < sizeof(MANY) / sizeof(*MANY) && valid; i++)
        valid = all_end(walk, json_object_get(schema, MANY[i]));
    walk->depth--;
    return valid;
}

/* A loop goes through a reference, so it goes through the root or one of `$defs`. */
static bool has_no_loop(struct schema_walk *walk) {
    const char *name;
    json_t *one;
    bool valid = ends(walk, walk->root);
    json_object_foreach(json_object_get(walk->root, "$defs"), name, one) {
        walk->depth = 0;
        valid = valid && ends(walk, one);
    }
    walk->depth = 0;
    return valid || schema_wrong(walk, "refers to itself without an end, or is too complex");
}

bool schema_check_schema(const struct json_t *schema, schema_complain_fn *complain, void *ctx) {
    struct schema_walk walk = {.root = schema, .complain = complain, .ctx = ctx, .steps = STEPS};
    if (json_dumpb(schema, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) > SCHEMA_MAX_BYTES)
        return schema_wrong(&walk, "is longer than %d bytes", SCHEMA_MAX_BYTES);
    return is_schema(&walk, schema) && has_no_loop(&walk);
}
