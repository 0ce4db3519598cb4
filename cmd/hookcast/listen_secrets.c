#include "listen_secrets.h"

enum status listen_signer_new(const char *list, struct signer **ret_signer, struct error *error) {
    struct span secrets[SIGNATURE_MAX_SECRETS];
    size_t count = 0;
    const char *at = list;
    while (at) {
        size_t len = strcspn(at, ",");
        if (count == SIGNATURE_MAX_SECRETS)
            return error_set(error, STATUS_INVALID, "--secret: more than %d secrets", SIGNATURE_MAX_SECRETS);
        secrets[count++] = (struct span){at, len};
        at = at[len] ? at + len + 1 : NULL;
    }
    return signer_new(secrets, count, ret_signer, error);
}
