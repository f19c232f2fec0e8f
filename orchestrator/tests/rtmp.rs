//! The RTMP server with real publishers (ffmpeg, GStreamer's own RTMP and librtmp) and with hostile ones.

mod support;
