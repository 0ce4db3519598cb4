#!/usr/bin/python3
"""The rules of the house that no compiler knows, over the source files of this tree.

    scripts/lib/source_rules.py rules      complains about each breach: file:line: what; exit status 1 if there is one
    scripts/lib/source_rules.py lengths    the longest functions and files
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Which rooms may include a library's headers. Above them its types are not known, and never in a public header.
LIBRARIES = {
    "uv.h": {"core"},
    "libpq-fe.h": {"db"},
    "librdkafka/": {"kafka"},
    "curl/": {"net"},
    "microhttpd.h": {"net"},
    "openssl/": {"base"},
    "jansson.h": {"webhook", "api"},
    "zlib.h": {"base", "api"},
}
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|alloca|system)\s*\(")
# As its document prints it, letter by letter.
PRINTED = "tests/integration/node/seleqt_handler.js"
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
STRUCT_TYPEDEF = re.compile(r"^\s*typedef\s+(struct|union)\b[^(]*$")
EXTERN_VARIABLE = re.compile(r"^\s*extern\s+(?!\"C\")(?!const\b)[^()]*;")
FUNCTION_LINES, FILE_LINES = 60, 600
LONGEST = 12


def tracked():
    """Files that git knows or would take, so that build folders are left out."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE).stdout.decode().split("\0")
    return sorted(path for path in listed if path and os.path.isfile(os.path.join(ROOT, path)))


def lines_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as handle:
        return handle.read().split("\n")


def is_c(path):
    return path.endswith((".c", ".h")) and path.split("/")[0] in ("lib", "cmd", "tests")


def check_include(path, quote, target):
    """What is wrong with an include, or None."""
    if path.startswith("tests/"):
        return None
    if target.startswith("../") or "/../" in target:
        return "an include leaves its room"
    if quote == '"' and path.startswith("lib/") and "/" not in target:
        return f'include "{target}" with its room'
    room = path.split("/")[1]
    for library, rooms in LIBRARIES.items():
        if target == library or (library.endswith("/") and target.startswith(library)):
            if path.endswith(".h") and not path.endswith("_private.h"):
                return f"<{target}> in a header"
            if room not in rooms:
                return f"<{target}> belongs to {' and '.join(sorted(rooms))}"
    return None


def breaches(path):
    for number, line in enumerate(lines_of(path), 1):
        if UNFINISHED.search(line) and not path.startswith("LICENSE") and path != PRINTED:
            yield number, "unfinished: " + line.strip()
        if not is_c(path):
            continue
        code = re.sub(r"//.*|/\*.*?\*/", "", re.sub(r'"(\\.|[^"\\])*"', '""', line))
        found = BANNED.search(code)
        if found and not line.lstrip().startswith("*"):
            yield number, f"{found.group(1)} is banned"
        include = INCLUDE.match(line)
        wrong = include and check_include(path, include.group(1), include.group(2))
        if wrong:
            yield number, wrong
        if STRUCT_TYPEDEF.match(code):
            yield number, "a typedef hides a struct"
        if EXTERN_VARIABLE.match(code):
            yield number, "an extern variable"


def rules():
    count = 0
    for path in tracked():
        if path.split("/")[0] == "tests" and "/data/" in path or "/corpus/" in path:
            continue
        for number, what in breaches(path):
            print(f"{path}:{number}: {what}")
            count += 1
    return count


def functions(path):
    """(name, first line, lines) of each function, from clang-format's layout: what ends with `}` in the first column began
    at the last line before it that starts in the first column and is no label."""
    lines = lines_of(path)
    for last, line in enumerate(lines):
        if line != "}":
            continue
        first = last - 1
        while first >= 0 and (not re.match(r"[A-Za-z_]", lines[first]) or re.match(r"\w+:$", lines[first])):
            first -= 1
        name = re.search(r"(\w+)\(", lines[first]) if first >= 0 else None
        if name:
            yield name.group(1), first + 1, last - first + 1


def lengths():
    sources = [path for path in tracked() if is_c(path)]
    found = sorted(((length, f"{path}:{line}", name) for path in sources if path.endswith(".c")
                    for name, line, length in functions(path)), reverse=True)
    files = sorted(((len(lines_of(path)) - 1, path) for path in sources), reverse=True)
    above = sum(length > FUNCTION_LINES for length, _, _ in found)
    print(f"longest functions ({len(found)} in all, {above} above {FUNCTION_LINES} lines)")
    for length, place, name in found[:LONGEST]:
        print(f"  {length:4}  {name}  {place}")
    above = sum(length > FILE_LINES for length, _ in files)
    total = sum(length for length, _ in files)
    print(f"longest files ({len(files)} with {total} lines in all, {above} above {FILE_LINES} lines)")
    for length, path in files[:LONGEST]:
        print(f"  {length:4}  {path}")


if __name__ == "__main__":
    if sys.argv[1:] == ["rules"]:
        sys.exit(1 if rules() else 0)
    elif sys.argv[1:] == ["lengths"]:
        lengths()
    else:
        print(__doc__)
        sys.exit(0 if sys.argv[1:] in (["--help"], ["-h"]) else 2)
