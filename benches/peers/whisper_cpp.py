"""whisper.cpp by pywhispercpp: MODEL THREADS. A line with a WAV file of 16 kHz in, its text and seconds out."""
import json, sys, time, wave

import numpy as np
from pywhispercpp.model import Model


def samples(path):
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


model = Model(sys.argv[1], n_threads=int(sys.argv[2]), print_progress=False, print_realtime=False)
print('{"ready": true}', flush=True)
for line in sys.stdin:
    begun = time.monotonic()
    told = model.transcribe(samples(line.strip()), language="en")
    text = " ".join(part.text for part in told)
    print("\n" + json.dumps({"s": time.monotonic() - begun, "text": text}), flush=True)
