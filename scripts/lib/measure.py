"""What the measurements of scripts/bench share: processor time, memory, failing."""
import os
import sys

TICK = os.sysconf("SC_CLK_TCK")


def say(text):
    print(text, file=sys.stderr, flush=True)


def process_cpu(pid, children=False):
    """Seconds of processor time; children: with those that it has waited for. 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15 if children else 13]) / TICK


def parent(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def cluster_cpu(postmaster):
    """PostgreSQL's processor time: the postmaster, its backends, and the backends that have ended."""
    backends = [int(name) for name in os.listdir("/proc") if name.isdigit() and parent(int(name)) == postmaster]
    return process_cpu(postmaster, True) + sum(process_cpu(pid) for pid in backends)


def status_bytes(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))


def at(samples, when, column):
    """A column of the samples at a moment between two of them."""
    for before, after in zip(samples, samples[1:]):
        if after[0] >= when:
            part = (when - before[0]) / (after[0] - before[0])
            return before[column] + min(max(part, 0), 1) * (after[column] - before[column])
    return samples[-1][column]


class Failed(Exception):
    """A measurement came to nothing; the others go on."""
