/* Feeds each file of the given folders, and each beginning of the small ones, to the fuzz target. */
#include "fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES (4 << 20)
#define SMALL_BYTES 512

static void feed(const uint8_t *data, size_t size) {
    /* A copy of exactly that size, for the address sanitizer. */
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        abort();
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static int replay_file(const char *path) {
    static uint8_t data[FILE_MAX_BYTES];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last line names the culprit */
    feed(data, size);
    for (size_t len = 0; size <= SMALL_BYTES && len < size; len++) {
        feed(data, len);
    }
    return 0;
}

static int replay_folder(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) {
        perror(folder);
        return 1;
    }
    int failed = 0;
    int files = 0;
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            char path[PATH_MAX];
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            failed |= replay_file(path);
            files++;
        }
    }
    closedir(dir);
    if (!files) {
        fprintf(stderr, "%s: no files\n", folder);
        return 1;
    }
    printf("%s: %d files\n", folder, files);
    return failed;
}

int main(int argc, char **argv) {
    int failed = argc < 2;
    for (int i = 1; i < argc; i++) {
        failed |= replay_folder(argv[i]);
    }
    return failed;
}
