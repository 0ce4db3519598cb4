#include "api/event_type_names.h"
#include "core/nearest.h"
#include "store/catalogue.h"

#define NAMES_MAX 5000

enum status event_type_unknown(struct call *call, const char *field, struct span type, struct span dialect,
                               struct error *error) {
    struct result *names = NULL;
    enum status status = dialect.data ? catalogue_list(call->connection, SPAN_NONE, dialect, &names, error)
                                      : catalogue_names(call->connection, call->workspace_id, NAMES_MAX, &names, error);
    if (status != STATUS_OK)
        return status;
    struct nearest nearest = nearest_to(type);
    for (int i = 0; i < result_rows(names); i++)
        nearest_offer(&nearest, arena_strdup(call->arena, result_text(names, i, 0)));
    int shown = (int)(type.len < 200 ? type.len : 200);
    if (nearest.best)
        call_field_error(call, field, "there is no event type \"%.*s\"; did you mean %s?", shown, type.data,
                         nearest.best);
    else
        call_field_error(call, field, "there is no event type \"%.*s\"", shown, type.data);
    result_free(&names);
    return STATUS_OK;
}
