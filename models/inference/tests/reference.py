#!/usr/bin/env python3
"""What the models say of some frames, by Python: makes reference.json, which tests/reference.rs compares with.

  pip install numpy pillow onnxruntime==1.31.1
  millrace-worker models fetch open-nsfw centernet efficientnet-lite2
  reference.py CLIPS MODELS >reference.json     (folders: bikes.mp4 and so on; the cache of models)

Pictures are prepared as the models' authors do it: with Pillow, its JPEGs too.
"""

import io
import json
import subprocess
import sys

import numpy as np
import onnxruntime
from PIL import Image

FRAMES = [("bikes.mp4", 640, 272, 1), ("bikes.mp4", 640, 272, 6), ("bunny.mp4", 1280, 720, 2), ("trailer.mp4", 1280, 720, 30)]


def frame(clip, width, height, at_s):
    command = ["ffmpeg", "-v", "error", "-nostdin", "-ss", str(at_s), "-i", clip, "-frames:v", "1", "-sws_flags",
               "bilinear+accurate_rnd+full_chroma_int+bitexact", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return Image.frombytes("RGB", (width, height), raw)


def scaled(image, side):
    return np.asarray(image.resize((side, side), Image.BILINEAR), np.float32)


def moderation(session, image):
    file = io.BytesIO()
    image.resize((256, 256), Image.BILINEAR).save(file, "JPEG")
    pixels = np.asarray(Image.open(file).convert("RGB"), np.float32)[16:240, 16:240, ::-1]
    return float(session.run(None, {"input_0": pixels[None] - np.float32([104, 117, 123])})[0][0, 1])


def overlap(a, b):
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def detection(session, image):
    kept = []
    for row in session.run(None, {"tower_0/images": scaled(image, 512)[None]})[0][0]:
        row[:4] = np.clip(row[:4], 0, 512)
        if row[4] >= 0.25 and not any(row[5] == other[5] and overlap(row, other) > 0.5 for other in kept):
            kept.append(row)
    return [{"class": int(row[5]), "score": float(row[4]), "box": [float(x) / 512 for x in row[:4]]} for row in kept]


def look(session, image):
    pixels = (scaled(image, 260).transpose(2, 0, 1)[None] - 127) / 128
    logits, features = session.run(["logits", "feat"], {"input": pixels})
    odds = np.exp(logits[0] - logits[0].max())
    direction = features[0] / np.linalg.norm(features[0])
    # The length is 1: every 40th number is enough to tell.
    return {"class": int(odds.argmax()), "score": float(odds.max() / odds.sum()), "embedding": [float(x) for x in direction[::40]]}


def main(clips, models):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    load = lambda path: onnxruntime.InferenceSession(f"{models}/{path}", options, providers=["CPUExecutionProvider"])
    nsfw, centernet = load("open-nsfw/open_nsfw.onnx"), load("centernet/centernet.onnx")
    efficientnet = load("efficientnet-lite2/efficientnet_lite2.onnx")
    told = []
    for clip, width, height, at_s in FRAMES:
        image = frame(f"{clips}/{clip}", width, height, at_s)
        told.append({
            "clip": clip, "width": width, "height": height, "at_s": at_s, "moderation": moderation(nsfw, image),
            "found": detection(centernet, image), "look": look(efficientnet, image),
        })
    json.dump(told, sys.stdout, indent=1)
    print()


main(*sys.argv[1:])
