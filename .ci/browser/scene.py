"""A daemon with cases in each state, for `look.mjs` to look at.

scene.py NEXTRUN FOLDER COMMAND...: starts jobs and a daemon in FOLDER, waits until it has something to show, and runs COMMAND with
the pages as NAME=ADDRESS. It needs nothing but Python.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time

nextrun, folder, command = sys.argv[1], os.path.abspath(sys.argv[2]), sys.argv[3:]
here = os.path.dirname(os.path.abspath(__file__))
os.makedirs(folder)
shutil.copy(os.path.join(here, "train.py"), folder)
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
# `short` asks a person once its only experiment has cured nothing; `article` finds the cause.
with open(os.path.join(folder, "short.yaml"), "w") as file:
    file.write("""
policy: short
summary: a lower learning rate, then a question
judge: { cured: experiment.cured }
tests:
  lower_learning_rate:
    why: "it is {baseline.learning_rate}"
    hypothesis: the learning rate is too high
    expect: the loss falls
    change: { learning_rate: /10 }
    cause: { verdict: learning_rate_too_high, summary: cured }
  look_at_data:
    why: nothing else is left
    ask: { checklist: [Do inputs and labels belong together?, Are the labels shuffled?], answers: { found_it: data } }
conclusions:
  data: { verdict: data_pipeline, summary: a person found it }
  unknown: { verdict: inconclusive, summary: nothing was found }
states:
  all: { try: [lower_learning_rate, look_at_data], empty: unknown }
""")
with open(os.path.join(folder, "nextrun.yaml"), "w") as file:
    file.write(f"""
watch: {{ logdir: {folder}/logs, quiet_after: 5s }}
state: {folder}/state
policy: {{ default: article, jobs: {{ "asks/**": ./short.yaml }} }}
limits: {{ ask_wait: 1h }}
status: {{ listen: "127.0.0.1:{port}", tensorboard: "http://127.0.0.1:6006" }}
""")


def train(name, *arguments, known=True):
    program = [sys.executable, "train.py", *arguments, "--logdir", f"logs/{name}"]
    return subprocess.Popen([nextrun, "run", "--", *program] if known else program, cwd=folder)


jobs = [
    train("rate-too-low", "--lr", "1e-5"),
    train("team/vision/healthy", "--lr", "0.1"),
    train("asks/<b>someone</b>", "--lr", "1e-6"),
]
for job in jobs:
    job.wait()
log = open(os.path.join(folder, "daemon.log"), "w")
root = ["--allow-root"] if os.getuid() == 0 else []
daemon = subprocess.Popen(
    [nextrun, "watch", "--config", "nextrun.yaml", "--runner", *root], cwd=folder, stdout=log, stderr=log
)


def cases():
    listed = subprocess.run(
        [nextrun, "cases", "list", "--all", "--format", "json", "--config", "nextrun.yaml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )
    return {case["baseline_run"]: case for case in map(json.loads, listed.stdout.splitlines())}


def ready(found):
    cured, asks = found.get("rate-too-low"), found.get("asks/<b>someone</b>")
    return cured and cured["verdict"] and asks and (asks["waiting"] or {}).get("for") == "answer"


try:
    begun = time.monotonic()
    while not ready(found := cases()):
        if time.monotonic() - begun > 300 or daemon.poll() is not None:
            sys.exit(f"the scene is not ready: {found}; see {folder}/daemon.log")
        time.sleep(1)
    at = f"http://127.0.0.1:{port}"
    closed, asks = found["rate-too-low"]["case_id"], found["asks/<b>someone</b>"]["case_id"]
    subprocess.run([nextrun, "report", closed, "-o", "report.html", "--config", "nextrun.yaml"], cwd=folder, check=True)
    link = subprocess.run(
        [nextrun, "login", "--config", "nextrun.yaml"], cwd=folder, capture_output=True, text=True, check=True
    )
    pages = [
        f"home={at}/", f"filtered={at}/?status=failing&name=rate", f"case={at}/cases/{closed}", f"question={at}/cases/{asks}",
        f"report=file://{folder}/report.html", f"login={link.stdout.strip()}",
    ]
    sys.exit(subprocess.run([*command, *pages], check=False).returncode)
finally:
    daemon.terminate()
    daemon.wait()
