"""A training script that needs nothing but Python: a small network learns a part of a sine from noisy examples.

With its defaults it is stuck: at this learning rate it hardly moves within its steps. It logs event files and settings as
other scripts do, and takes its settings from its arguments, so that whatever is suggested for it is trained.
"""

import argparse
import json
import math
import os
import random
import struct
import time

CRC = []
for value in range(256):
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    CRC.append(value)


def masked(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def varint(value):
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes(parts + [value])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


class Log:
    """One event file."""

    def __init__(self, folder):
        os.makedirs(folder)
        self.file = open(os.path.join(folder, f"events.out.tfevents.{int(time.time())}.here"), "wb")
        self.write(field(3, b"brain.Event:2"))

    def write(self, body):
        data = b"\x09" + struct.pack("<d", time.time()) + body
        size = struct.pack("<Q", len(data))
        self.file.write(size + masked(size) + data + masked(data))
        self.file.flush()

    def scalar(self, tag, step, number):
        value = field(1, tag.encode()) + b"\x15" + struct.pack("<f", number)
        self.write(b"\x10" + varint(step) + field(5, field(1, value)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True)
    parser.add_argument("--lr", type=float, default=0.00005)
    parser.add_argument("--optimizer", choices=["sgd", "adam"], default="sgd")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--mean", type=float, default=2.0)
    parser.add_argument("--seconds-per-step", type=float, default=0.02)
    options = parser.parse_args()

    log = Log(options.out)
    settings = {
        "learning_rate": options.lr, "optimizer": options.optimizer, "max_steps": options.steps,
        "batch_size": options.batch_size, "train_examples": options.examples, "activation": "tanh", "loss": "l2",
    }
    with open(os.path.join(options.out, "hparams.yaml"), "w") as file:
        file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in settings.items())

    rng = random.Random(7)
    inputs = [rng.uniform(-1.0, 1.0) for _ in range(options.examples)]
    data = [(x, options.mean + math.sin(3.0 * x) + rng.gauss(0.0, options.noise)) for x in inputs]
    units = 12
    # Per hidden unit: weight, bias, output weight; the output bias is the last parameter.
    weights = [rng.gauss(0.0, 1.0) for _ in range(2 * units)] + [rng.gauss(0.0, 0.3) for _ in range(units)] + [0.0]
    first, second = [0.0] * len(weights), [0.0] * len(weights)

    for step in range(options.steps):
        began = time.time()
        gradient, loss = [0.0] * len(weights), 0.0
        batch = [rng.choice(data) for _ in range(min(options.batch_size, options.examples))]
        for x, y in batch:
            hidden = [math.tanh(weights[unit] * x + weights[units + unit]) for unit in range(units)]
            error = sum(h * w for h, w in zip(hidden, weights[2 * units:])) + weights[-1] - y
            loss += error * error / len(batch)
            slope = 2.0 * error / len(batch)
            gradient[-1] += slope
            for unit, h in enumerate(hidden):
                gradient[2 * units + unit] += slope * h
                back = slope * weights[2 * units + unit] * (1.0 - h * h)
                gradient[unit] += back * x
                gradient[units + unit] += back
        log.scalar("train/loss", step, loss)
        for at, g in enumerate(gradient):
            if options.optimizer == "adam":
                first[at] += 0.1 * (g - first[at])
                second[at] += 0.001 * (g * g - second[at])
                g = first[at] / (1.0 - 0.9 ** (step + 1)) / (math.sqrt(second[at] / (1.0 - 0.999 ** (step + 1))) + 1e-8)
            weights[at] -= options.lr * g
        time.sleep(max(0.0, options.seconds_per_step - (time.time() - began)))


if __name__ == "__main__":
    main()
