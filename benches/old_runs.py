"""Years of old runs: time until the daemon is ready, its memory, and its share of a core at rest.

    python benches/old_runs.py target/release/nextrun 1000000 /scratch/old --rest 120
    python benches/old_runs.py target/release/nextrun 1000000 s3://runs --rest 120

makes the runs if they are missing (one directory and one event file each, the files as hard links to a few, modified a
month ago, 1,000 runs in a folder), starts `nextrun watch` on them with its defaults, and prints one row. Run it twice: the
first time, the kernel may not have all directories in its cache. With s3://, a server in this process lists as many objects, 1,000 a page,
as fast as it can.
"""

import argparse
import http.server
import os
import pathlib
import struct
import subprocess
import tempfile
import threading
import time
import urllib.parse

LINKS = 50_000  # a file of ext4 has at most 65,000 names
AGE = 30 * 86_400


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data):
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(crc32c(length))) + data + struct.pack("<I", masked(crc32c(data)))


def scalar(step, value):
    tag = b"train/loss"
    entry = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(entry)]) + entry
    wall = b"\x09" + struct.pack("<d", time.time() - AGE + step)
    return record(wall + b"\x10" + bytes([step]) + b"\x2a" + bytes([len(summary)]) + summary)


def make(place, runs):
    old = time.time() - AGE
    events = b"".join(scalar(step, 2.3 / (step + 1)) for step in range(100))
    source = None
    for number in range(runs):
        folder = place / f"{number // 1000:04}" / f"run-{number:07}"
        folder.mkdir(parents=True)
        name = folder / f"events.out.tfevents.1700000000.node.{number}.0"
        if number % LINKS == 0:
            name.write_bytes(events)
            os.utime(name, (old, old))
            source = name
        else:
            os.link(source, name)


class Objects(http.server.BaseHTTPRequestHandler):
    """Lists made-up objects as S3 does."""

    runs = 0
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        first = int(query.get("continuation-token", ["0"])[0])
        last = min(first + 1000, self.runs)
        more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < self.runs else ""
        keys = "".join(
            f"<Contents><Key>{n // 1000:04}/run-{n:07}/events.out.tfevents.1700000000.node.{n}.0</Key><LastModified>"
            f"2025-01-01T00:00:00.000Z</LastModified><ETag>&quot;{n:032x}&quot;</ETag><Size>20000</Size></Contents>"
            for n in range(first, last)
        )
        truncated = str(bool(more)).lower()
        body = (
            f'<?xml version="1.0"?><ListBucketResult><Name>runs</Name><KeyCount>{last - first}</KeyCount>'
            f"<IsTruncated>{truncated}</IsTruncated>{more}{keys}</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(runs):
    Objects.runs = runs
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Objects)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "local",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {key: int(fields[key].split()[0]) / 1024 for key in ("VmHWM", "VmRSS")}


def processor(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nextrun")
    parser.add_argument("runs", type=int)
    parser.add_argument("place")
    parser.add_argument("--rest", type=float, default=60, help="seconds at rest that are measured")
    wanted = parser.parse_args()
    place, environment = wanted.place, dict(os.environ)
    if place.startswith("s3://"):
        environment |= serve(wanted.runs)
    else:
        place = pathlib.Path(place) / str(wanted.runs)
        if not place.exists():
            begun = time.time()
            make(place, wanted.runs)
            print(f"made {wanted.runs} runs in {time.time() - begun:.0f} s")
    with tempfile.TemporaryDirectory() as state, tempfile.TemporaryFile("w+") as log:
        begun = time.time()
        daemon = subprocess.Popen(
            [wanted.nextrun, "watch", place, "--state", state],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment,
        )
        try:
            while "all files were read" not in pathlib.Path(f"/proc/{daemon.pid}/fd/2").read_text():
                if daemon.poll() is not None:
                    raise SystemExit("the daemon ended")
                time.sleep(0.1)
            ready, at_start = time.time() - begun, processor(daemon.pid)
            time.sleep(wanted.rest)
            rest = processor(daemon.pid) - at_start
            memory = status(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait()
        log.seek(0)
        told = [line.strip() for line in log if "all files were read" in line or "WARN" in line]
    print("\n".join(told))
    print(
        f"{wanted.runs} runs: ready in {ready:.1f} s ({at_start:.1f} s of processor), peak {memory['VmHWM']:.0f} MiB, "
        f"at rest {memory['VmRSS']:.0f} MiB and {100 * rest / wanted.rest:.1f} % of a core, load {os.getloadavg()[0]:.0f}"
    )


if __name__ == "__main__":
    main()
