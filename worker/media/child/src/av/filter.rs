//! A chain of FFmpeg's filters: pictures in, as many pictures out, in the same order. `transcode/condition.rs` says
//! which filters.
#![allow(unsafe_code)]

use ffmpeg_next::{
    Error, error,
    filter::{self, Graph},
    frame::Video,
};

/// The names of the chain's ends in the graph.
const IN: &str = "in";
const OUT: &str = "out";

/// An open chain.
pub(crate) struct Chain(Graph);

impl Chain {
    /// Opens `filters` (FFmpeg's syntax) for pictures of the format and size of `like`.
    pub(crate) fn open(filters: &str, like: &Video, threads: u32) -> Result<Self, Error> {
        let mut graph = Graph::new();
        // SAFETY: the graph is our own and holds no filter yet, which is when this number may be set.
        unsafe { (*graph.as_mut_ptr()).nb_threads = i32::try_from(threads).unwrap_or(1) }
        let format = like.format().descriptor().ok_or(Error::InvalidData)?.name();
        let (width, height) = (like.width(), like.height());
        let source = format!("video_size={width}x{height}:pix_fmt={format}:time_base=1/1:pixel_aspect=1/1");
        let end = |name| filter::find(name).ok_or(Error::FilterNotFound);
        graph.add(&end("buffer")?, IN, &source)?;
        graph.add(&end("buffersink")?, OUT, "")?;
        graph.output(IN, 0)?.input(OUT, 0)?.parse(filters)?;
        graph.validate()?;
        Ok(Self(graph))
    }

    /// Takes the next picture. Its time must be later than that of the one before.
    pub(crate) fn push(&mut self, picture: Video) -> Result<(), Error> {
        // The graph takes the picture's planes over and leaves it empty, so it is not the caller's any more.
        let picture = picture;
        self.0.get(IN).ok_or(Error::Bug)?.source().add(&picture)
    }

    /// No more comes.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        self.0.get(IN).ok_or(Error::Bug)?.source().flush()
    }

    /// The next picture that is ready.
    pub(crate) fn pull(&mut self) -> Result<Option<Video>, Error> {
        let mut picture = Video::empty();
        match self.0.get(OUT).ok_or(Error::Bug)?.sink().frame(&mut picture) {
            Ok(()) => Ok(Some(picture)),
            Err(Error::Eof | Error::Other { errno: error::EAGAIN }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
