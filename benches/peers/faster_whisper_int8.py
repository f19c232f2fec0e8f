"""faster-whisper in 8 bits: FOLDER THREADS [words]. A line with a WAV file in, its text and seconds out; with `words` only
where Silero finds speech, and with the times of words."""
import json, sys, time, wave

import numpy as np
from faster_whisper import WhisperModel


def samples(path):
    with wave.open(path) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768


words = sys.argv[3:] == ["words"]
model = WhisperModel(sys.argv[1], device="cpu", compute_type="int8", cpu_threads=int(sys.argv[2]), local_files_only=True)
print('{"ready": true}', flush=True)
for line in sys.stdin:
    begun = time.monotonic()
    told, _ = model.transcribe(samples(line.strip()), language="en", beam_size=1, word_timestamps=words, vad_filter=words)
    text = " ".join(part.text for part in told)
    print("\n" + json.dumps({"s": time.monotonic() - begun, "text": text}), flush=True)
