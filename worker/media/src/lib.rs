//! Launcher of the media child, `millrace-media`: the only program that links FFmpeg.
//!
//! Owns the jobs, their limits, the handshake with the child and the typed failures. Never decodes a byte
//! itself. Called by the worker (transcode, probe) and by the orchestrator (demux, inspect).

pub mod job;
