//! The media child as its parents see it: the real program, started by the real launcher, on real media.

mod common;
mod demux;
mod inspect;
mod limits;
mod transcode;
