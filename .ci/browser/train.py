"""A small training program for the suite `browser`: logistic regression with momentum, logged as TensorBoard events.

It needs nothing but Python. With a learning rate that is too high its loss does not fall, as with a real one.
"""

import argparse
import math
import os
import random
import struct
import time

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def masked_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = b""
    while number >= 128:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


class Writer:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.host.{os.getpid()}.0"
        self.file = open(os.path.join(folder, name), "ab")
        self.record(struct.pack("<Bd", 9, time.time()) + field(3, b"brain.Event:2"))

    def record(self, data):
        length = struct.pack("<Q", len(data))
        sums = struct.pack("<I", masked_crc32c(length)), struct.pack("<I", masked_crc32c(data))
        self.file.write(length + sums[0] + data + sums[1])
        self.file.flush()

    def scalar(self, tag, step, value):
        summary = field(5, field(1, field(1, tag.encode()) + struct.pack("<Bf", 0x15, value)))
        self.record(struct.pack("<Bd", 9, time.time()) + varint(16) + varint(step) + summary)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--max-steps", type=int, default=1500, help="optimizer steps")
    parser.add_argument("--train-examples", type=int, default=0, help="training examples used; 0 for all")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logdir", default="logs/run")
    args = parser.parse_args()
    draw = random.Random(7)
    truth = [draw.gauss(0, 1) for _ in range(8)]
    data = []
    for _ in range(512):
        x = [draw.gauss(0, 1) for _ in truth]
        data.append((x, 1.0 if sum(a * b for a, b in zip(truth, x)) > 0 else 0.0))
    if args.train_examples:
        data = data[: args.train_examples]
    draw = random.Random(args.seed)
    weights, momentum = [draw.gauss(0, 0.01) for _ in truth], [0.0] * len(truth)
    writer = Writer(args.logdir)
    for step in range(args.max_steps):
        batch = [draw.choice(data) for _ in range(min(args.batch_size, len(data)))]
        loss, right, gradient = 0.0, 0, [0.0] * len(truth)
        for x, y in batch:
            logit = max(-500.0, min(500.0, sum(a * b for a, b in zip(weights, x))))
            p = 1 / (1 + math.exp(-logit))
            loss += max(logit, 0) - logit * y + math.log1p(math.exp(-abs(logit)))
            right += (p > 0.5) == (y > 0.5)
            for i, a in enumerate(x):
                gradient[i] += (p - y) * a / len(batch)
        for i, g in enumerate(gradient):
            momentum[i] = 0.9 * momentum[i] + g
            weights[i] -= args.lr * momentum[i]
        if step % 5 == 0:
            writer.scalar("train/loss", step, loss / len(batch))
            writer.scalar("train/accuracy", step, right / len(batch))
            writer.scalar("train/gradient_norm", step, math.sqrt(sum(g * g for g in gradient)))
            time.sleep(0.002)


main()
