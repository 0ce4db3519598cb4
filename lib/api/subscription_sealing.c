#include "api/subscription_sealing.h"
#include "api/subscription_headers.h"
#include "api/subscription_secrets.h"
#include "api/subscription_view.h"
#include "base/clock.h"
#include "store/sealing.h"
#include <jansson.h>

/* Headers as they shall be, sealed into row; what is not given stays. */
static void seal_headers(struct call *call, struct subscription_row *row, const struct subscription_change *change) {
    bool wrong;
    json_t *headers = subscription_view_headers(call->keyring, row, &wrong);
    if (change->headers) {
        json_t *former = headers;
        headers = json_is_object(change->headers) ? subscription_headers_unmasked(change->headers, former) : NULL;
        json_decref(former);
    }
    if (row->signature_header.data && headers && subscription_headers_have(headers, row->signature_header))
        call_field_error(call, "signature_header", "is also one of the headers");
    if (change->headers)
        row->sealed_headers = SPAN_NONE;
    if (change->headers && json_object_size(headers) > 0) {
        size_t len = json_dumpb(headers, NULL, 0, JSON_COMPACT);
        char *plain = arena_alloc(call->arena, len);
        json_dumpb(headers, plain, len, JSON_COMPACT);
        struct buffer sealed;
        buffer_init(&sealed, 2 * SUBSCRIPTION_MAX_HEADERS_BYTES);
        sealing_seal(call->keyring, &row->id, (struct span){plain, len}, &sealed);
        explicit_bzero(plain, len);
        row->sealed_headers = arena_span(call->arena, buffer_view(&sealed));
        buffer_deinit(&sealed);
    }
    json_decref(headers);
}

/* Ed25519 has a place in the header webhook-signature alone. */
static void check_asymmetric(struct call *call, const struct subscription_row *row, bool asymmetric, bool given) {
    if (!asymmetric || span_is(row->signature_style, "standard") || span_is(row->signature_style, "both"))
        return;
    if (given)
        call_field_error(call, "asymmetric", "goes with the signature styles standard and both alone");
    else
        call_field_error(call, "signature_style",
                         "the subscription is asymmetric, which goes with standard and both alone; "
                         "asymmetric: false ends that");
}

/* The same for secrets; who signs has one. */
static enum status seal_secrets(struct call *call, struct subscription_row *row,
                                const struct subscription_change *change, struct json_t **ret_secrets,
                                struct error *error) {
    int64_t now_ms = clock_wall_ms();
    bool signs = !span_is(row->signature_style, "none");
    enum status status =
        subscription_secrets_open(call->keyring, &row->id, row->sealed_secrets, now_ms, ret_secrets, error);
    if (status != STATUS_OK)
        return status;
    bool asymmetric = change->gave_asymmetric ? change->asymmetric : subscription_secrets_asymmetric(*ret_secrets);
    check_asymmetric(call, row, asymmetric, change->gave_asymmetric);
    if (call->errors)
        return STATUS_OK;
    bool changed = change->secret.data || (signs && json_array_size(*ret_secrets) == 0);
    if (changed)
        subscription_secrets_put(*ret_secrets, change->secret, now_ms, 0);
    if (change->gave_asymmetric)
        changed |= subscription_secrets_set_asymmetric(*ret_secrets, asymmetric);
    if (changed)
        row->sealed_secrets = subscription_secrets_seal(call->keyring, &row->id, *ret_secrets, call->arena);
    return STATUS_OK;
}

enum status subscription_seal_change(struct call *call, struct subscription_row *row,
                                     const struct subscription_change *change, struct json_t **ret_secrets,
                                     struct error *error) {
    seal_headers(call, row, change);
    return seal_secrets(call, row, change, ret_secrets, error);
}
