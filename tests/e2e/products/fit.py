#!/usr/bin/env python3
"""Fits the constants of orchestrator/src/sights/products.rs: how likely a thing is the product that it is likest to.

  pip install numpy pillow onnxruntime==1.31.1
  millrace-worker models fetch efficientnet-lite2
  fit.py CLIPS MODELS          (folders: bikes.mp4 and so on; the cache of models)

alike.json has places of things in clips, found by CenterNet and named by eye. Catalogues of some of the things that are
for fitting are made up again and again, of one to three pictures each, cut out with more or less around them; all other
places, of those things and of others, are compared with them, but for those within a second of a picture. The logistic
regression's features are the cosine, and by how much it leads the next product's. Then the same is done with the things
that were not fitted to, and told for each step of the score: how many were right.

The clips are few, the things are cartoons, cars and a cyclist: that is all the natural video that was at hand.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
import onnxruntime
from PIL import Image

CLIPS, MODELS = map(pathlib.Path, sys.argv[1:3])
MARGINS = (0.1, 0.35, 1.0)
OTHERS = 0.45
# These are one animal: nothing is learned from taking one for the other.
SAME = {"bunny", "bunny up close", "bunny in its burrow"}
SIZES = {"bikes.mp4": (640, 272), "bunny.mp4": (1280, 720), "trailer.mp4": (1280, 720)}

random = np.random.default_rng(1)
session = onnxruntime.InferenceSession(str(MODELS / "efficientnet-lite2/efficientnet_lite2.onnx"))


def frame(clip, at_s):
    command = ["ffmpeg", "-v", "error", "-nostdin", "-ss", str(at_s), "-i", str(CLIPS / clip), "-frames:v", "1",
               "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    return Image.frombytes("RGB", SIZES[clip], subprocess.run(command, check=True, capture_output=True).stdout)


def looks(image, place, margin):
    x, y, width, height = place
    left, top = max(0, x - margin * width), max(0, y - margin * height)
    right, bottom = min(1, x + width * (1 + margin)), min(1, y + height * (1 + margin))
    box = [round(part * side) for part, side in zip((left, top, right, bottom), image.size * 2)]
    pixels = np.asarray(image.crop(box).resize((260, 260), Image.BILINEAR), np.float32)
    feat = session.run(["feat"], {"input": (pixels.transpose(2, 0, 1)[None] - 127) / 128})[0].ravel()
    return feat / np.linalg.norm(feat)


def compared(seen, rounds):
    """Rows of: cosine, lead, whether the likest product is the right one, whether the right one is in the catalogue."""
    rows, things = [], sorted({one["thing"] for one in seen})
    for _ in range(rounds):
        pictures = []
        for thing in (thing for thing in things if random.random() < 0.5):
            own = [one for one in seen if one["thing"] == thing]
            for at in random.choice(len(own), min(len(own), random.integers(1, 4)), replace=False):
                pictures.append((own[at], own[at]["pictures"][random.integers(len(MARGINS))]))
        for one in seen:
            best = {}
            for other, picture in pictures:
                near = one["clip"] == other["clip"] and abs(one["at_s"] - other["at_s"]) < 1
                if not (near and one["thing"] == other["thing"]):
                    best[other["thing"]] = max(best.get(other["thing"], -1), float(one["looks"] @ picture))
            if not best or any(thing != one["thing"] for thing in best) and one["thing"] in SAME and SAME & set(best) - {one["thing"]}:
                continue
            (thing, cosine), *others = sorted(best.items(), key=lambda pair: -pair[1])
            lead = cosine - max([OTHERS] + [other for _, other in others[:1]])
            rows.append((cosine, lead, thing == one["thing"], one["thing"] in best))
    return np.array(rows, float)


def fitted(rows):
    features, right, weights = np.c_[rows[:, 0], rows[:, 1], np.ones(len(rows))], rows[:, 2], np.zeros(3)
    for _ in range(100):
        odds = 1 / (1 + np.exp(-features @ weights))
        bend = (features * (odds * (1 - odds))[:, None]).T @ features + 1e-3 * np.eye(3)
        weights += np.linalg.solve(bend, features.T @ (right - odds) - 1e-3 * weights)
    return weights


def tell(name, rows, weights):
    score = 1 / (1 + np.exp(-(np.c_[rows[:, :2], np.ones(len(rows))] @ weights)))
    print(f"{name}: {len(rows)} comparisons")
    for low in (0, 0.2, 0.4, 0.6, 0.8):
        these = (score >= low) & (score < low + 0.2)
        if these.any():
            print(f"  score {low:.1f} to {low + 0.2:.1f}: {these.sum():6}, said {score[these].mean():.2f}, right {rows[these, 2].mean():.2f}")
    known, there = score >= 0.5, rows[:, 3] == 1
    print(f"  from 0.5 on: {rows[known, 2].mean():.3f} are right; {(known & there & (rows[:, 2] == 1)).sum() / there.sum():.2f} "
          f"of what is in the catalogue are found, {(known & ~there).sum() / (~there).sum():.3f} of what is not are taken for it")


seen = json.loads((pathlib.Path(__file__).parent / "alike.json").read_text())
for one in seen:
    image = frame(one["clip"], one["at_s"])
    one["looks"] = looks(image, one["place"], 0)
    one["pictures"] = [looks(image, one["place"], margin) for margin in MARGINS]
weights = fitted(rows := compared([one for one in seen if one["fit"]], 400))
print("COSINE {:.2f}, LEAD {:.2f}, CONSTANT {:.2f}".format(*weights))
tell("things that were fitted to", rows, weights)
tell("other things", compared([one for one in seen if not one["fit"]], 400), weights)
