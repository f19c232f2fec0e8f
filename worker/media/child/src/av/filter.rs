//! A chain of FFmpeg's filters: pictures in, as many pictures out, in the same order. `transcode/condition.rs` says
//! which filters.
#![allow(unsafe_code)]

use std::ffi::CStr;

use ffmpeg_next::{
    Error, error, ffi,
    filter::{self, Graph},
    frame::Video,
};

/// The names of the chain's ends in the graph.
const IN: &str = "in";
const IN_C: &CStr = c"in";
const OUT: &str = "out";

/// An open chain.
pub(crate) struct Chain(Graph);

impl Chain {
    /// Opens `filters` (FFmpeg's syntax) for pictures of the format and size of `like`.
    pub(crate) fn open(filters: &str, like: &Video, threads: u32) -> Result<Self, Error> {
        let mut graph = Graph::new();
        // SAFETY: the graph is our own and holds no filter yet, which is when this number may be set.
        unsafe { (*graph.as_mut_ptr()).nb_threads = i32::try_from(threads).unwrap_or(1) }
        let end = |name| filter::find(name).ok_or(Error::FilterNotFound);
        add_source(&mut graph, &end("buffer")?, like)?;
        graph.add(&end("buffersink")?, OUT, "")?;
        graph.output(IN, 0)?.input(OUT, 0)?.parse(filters)?;
        graph.validate()?;
        Ok(Self(graph))
    }

    /// Takes the next picture, of the format and size, and of the memory, of the one it was opened for. Its time must be later than that of the one before.
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

/// The chain's beginning. What it takes is told in a structure, since text can't name a card's memory.
fn add_source(graph: &mut Graph, buffer: &filter::Filter, like: &Video) -> Result<(), Error> {
    let out_of_memory = Error::Other { errno: error::ENOMEM };
    // SAFETY: the graph owns the filter that it makes; the parameters are ours from their making to their freeing, are
    // filled in whole, and borrow the picture's reference to its memory, of which the filter takes one of its own.
    unsafe {
        let source = ffi::avfilter_graph_alloc_filter(graph.as_mut_ptr(), buffer.as_ptr(), IN_C.as_ptr());
        let mut told = ffi::av_buffersrc_parameters_alloc();
        if source.is_null() || told.is_null() {
            ffi::av_free(told.cast());
            return Err(out_of_memory);
        }
        (*told).format = (*like.as_ptr()).format;
        (*told).width = (*like.as_ptr()).width;
        (*told).height = (*like.as_ptr()).height;
        (*told).time_base = ffi::AVRational { num: 1, den: 1 };
        (*told).sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 };
        (*told).hw_frames_ctx = (*like.as_ptr()).hw_frames_ctx;
        let mut done = ffi::av_buffersrc_parameters_set(source, told);
        ffi::av_freep((&raw mut told).cast());
        if done >= 0 {
            done = ffi::avfilter_init_str(source, std::ptr::null());
        }
        if done < 0 { Err(Error::from(done)) } else { Ok(()) }
    }
}
