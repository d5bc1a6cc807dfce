#!/usr/bin/env python3
"""Compare nextrun with other readers of event files, on the same files and the same machine.

    cargo bench --bench decode -- --keep DIR          # writes the data sets and measures nextrun
    python3 benches/compare.py DIR [--scale 1] [--repeat 3] [--readers rustboard,rustboard_all,accumulator,tbparse]

Each reader runs in a fresh process per repetition with the page cache warm. Printed are the median by the clock and the
least processor time, which other work on the machine disturbs less; throughput is per second of processor time. RustBoard is the
server of the wheel tensorboard-data-server, timed by its own line "Finished load cycle"; EventAccumulator is that of
tensorboard, keeping all points; tbparse is used if it is installed. RustBoard's default checks no data checksums and
keeps a sample of at most 1,000 points a tag; `rustboard_all` checks them and keeps all, which is the work that nextrun
does not do either: it checks all and keeps a sketch.
"""

import argparse
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

SETS = {"a": 4.0, "b": 10.0, "c": 0.0446, "d": 2.0}

ACCUMULATOR = """
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
dirs = sorted({str(p.parent) for p in __import__('pathlib').Path(sys.argv[1]).rglob('*tfevents*')})
for d in dirs:
    keep = {k: 0 for k in ('scalars', 'histograms', 'tensors', 'images', 'audio', 'compressedHistograms')}
    acc = EventAccumulator(d, size_guidance=keep)
    acc.Reload()
    for tag in acc.Tags()['scalars']:
        acc.Scalars(tag)
"""

TBPARSE = """
import sys
from tbparse import SummaryReader
SummaryReader(sys.argv[1], event_types={'scalars', 'tensors', 'histograms'}).scalars
"""


def warm(directory):
    for path in directory.rglob("*tfevents*"):
        with open(path, "rb") as file:
            while file.read(1 << 22):
                pass


def in_python(code, directory):
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, cpu, after.ru_maxrss / 1024


def rustboard(directory, *options):
    from tensorboard_data_server import server_binary

    with tempfile.TemporaryDirectory() as scratch:
        log = open(os.path.join(scratch, "log"), "w+")
        port_file = os.path.join(scratch, "port")
        command = [server_binary(), "--logdir", str(directory), "--reload", "once", "--port", "0", "-v"]
        server = subprocess.Popen([*command, "--port-file", port_file, *options], stderr=log)
        try:
            while True:
                time.sleep(0.05)
                found = re.search(r"Finished load cycle \(([0-9.]+)(m?s|µs)\)", pathlib.Path(log.name).read_text())
                if found:
                    seconds = float(found[1]) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[found[2]]
                    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
                    fields = pathlib.Path(f"/proc/{server.pid}/stat").read_text().rsplit(") ", 1)[1].split()
                    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    return seconds, cpu, int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
                if server.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended: {pathlib.Path(log.name).read_text()[-500:]}")
        finally:
            server.kill()
            server.wait()
            log.close()


READERS = {
    "rustboard": lambda d: rustboard(d),
    "rustboard_all": lambda d: rustboard(d, "--checksum", "--samples-per-plugin", "scalars=all,histograms=all"),
    "accumulator": lambda d: in_python(ACCUMULATOR, d),
    "tbparse": lambda d: in_python(TBPARSE, d),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--scale", default="1")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--sets", default=",".join(SETS))
    arguments = parser.parse_args()
    print("| reader | set | s | CPU s | MB/s | M events/s | peak RSS MiB |\n|---|---|---|---|---|---|---|")
    for name in arguments.sets.split(","):
        directory = arguments.directory / f"{name}-{arguments.scale}"
        size = sum(path.stat().st_size for path in directory.rglob("*tfevents*")) / 1e6
        events = SETS[name] * float(arguments.scale)
        for reader in arguments.readers.split(","):
            warm(directory)
            try:
                runs = [READERS[reader](directory) for _ in range(arguments.repeat)]
            except (subprocess.CalledProcessError, RuntimeError, ImportError) as error:
                print(f"| {reader} | {name} | not measured: {error} | | | | |", flush=True)
                continue
            seconds = statistics.median(run[0] for run in runs)
            cpu, peak = min(run[1] for run in runs), max(run[2] for run in runs)
            figures = f"{seconds:.3f} | {cpu:.2f} | {size / cpu:.1f} | {events / cpu:.3f} | {peak:.0f}"
            print(f"| {reader} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
