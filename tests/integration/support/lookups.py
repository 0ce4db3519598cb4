"""Name look-ups as a test wants them: a library that hookcast loads in front of the C library's getaddrinfo.

    process = installation.process("dispatch")
    process.env.update(lookups.environment(tmp_path))

`*.hang.test` never gets an answer, `*.unknown.test` is not known, `*.inside.test` is 127.0.0.1, everything else is looked
up as usual."""
import os
import subprocess

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

static int ends_in(const char *name, const char *suffix) {
    size_t len = strlen(name), end = strlen(suffix);
    return len >= end && strcmp(name + len - end, suffix) == 0;
}

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *next = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    while (name && ends_in(name, ".hang.test"))
        pause();
    if (name && ends_in(name, ".unknown.test"))
        return EAI_NONAME;
    return next(name && ends_in(name, ".inside.test") ? "127.0.0.1" : name, service, hints, found);
}
"""


def environment(directory):
    """Settings for the environment of a process whose look-ups go this way."""
    source, library = os.path.join(directory, "lookups.c"), os.path.join(directory, "lookups.so")
    with open(source, "w", encoding="ascii") as file:
        file.write(SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    # A sanitizer's runtime wants to be the first library, and is content to be the second.
    options = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    return {"LD_PRELOAD": library, "ASAN_OPTIONS": options}
