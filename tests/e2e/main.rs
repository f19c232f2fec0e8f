//! End-to-end tests: the real programs, a real encoder pushing, real players reading, and faults made on purpose.
//!
//! Each test starts a [`house::House`] of its own, on free ports and in a folder of its own, and leaves no process.
//! The tests' own tools are in the modules named first; the tests are in those named after them, by theme.

mod api;
mod clip;
mod house;
mod in_page;
mod player;
mod playlist;
mod program;
mod proxy;
mod push;
mod rtmp;
mod site;
mod stranger;
mod table;
mod wait;
mod watch;
mod webdriver;

mod apps;
mod assets;
mod browser;
mod captions;
mod cards;
mod cdn;
mod clips;
mod codecs;
mod conformance;
mod dash;
mod deploy;
mod encryption;
mod errors;
mod file;
mod hls_pull;
mod hostile;
mod http_push;
mod live;
mod load;
mod matrix;
mod moderation;
mod network;
mod odd;
mod origin;
mod players;
mod products;
mod restart;
mod retention;
mod rtmps;
mod sandbox;
mod sights;
mod srt;
mod storage;
mod url;
mod workers;
