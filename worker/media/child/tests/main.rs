//! The media child as its parents see it: the real program, started by the real launcher, on real media.

mod codecs;
mod common;
mod condition;
mod demux;
mod follow;
mod inspect;
mod limits;
mod listen;
mod look;
mod mutants;
mod mux;
mod refusals;
mod transcode;
