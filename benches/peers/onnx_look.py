"""Pictures by PyAV, Pillow and ONNX Runtime: open-nsfw|centernet MODEL THREADS EVERY_MS. A line with a film in, how many
pictures were looked at and the seconds that took out. Prepared as the models' authors do it."""
import io, json, sys, time

import av
import numpy as np
import onnxruntime
from PIL import Image

kind, path, threads, every_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) / 1000
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def nsfw(image):
    file = io.BytesIO()
    image.resize((256, 256), Image.BILINEAR).save(file, "JPEG")
    pixels = np.asarray(Image.open(file).convert("RGB"), np.float32)[16:240, 16:240, ::-1]
    return session.run(None, {"input_0": pixels[None] - np.float32([104, 117, 123])})[0][0, 1]


def things(image):
    pixels = np.asarray(image.resize((512, 512), Image.BILINEAR), np.float32)[None]
    rows = session.run(None, {"tower_0/images": pixels})[0][0]
    return rows[rows[:, 4] >= 0.25]


def pictures(path):
    """The first picture from each multiple of the interval on; where keyframes are as dense, those alone are decoded."""
    with av.open(path) as film:
        stream = film.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        if every_s >= 2:
            stream.codec_context.skip_frame = "NONKEY"
        due = 0.0
        for frame in film.decode(stream):
            if frame.time >= due - 1e-6:
                due += every_s
                yield frame.to_image()


look = nsfw if kind == "open-nsfw" else things
print('{"ready": true}', flush=True)
for line in sys.stdin:
    begun, count = time.monotonic(), 0
    for image in pictures(line.strip()):
        look(image)
        count += 1
    print("\n" + json.dumps({"s": time.monotonic() - begun, "pictures": count}), flush=True)
