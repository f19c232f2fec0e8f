//! Conditioning: pictures become progressive and of standard dynamic range before the ladder sees them. One in, one
//! out, at the same time; what needs nothing passes untouched.
//!
//! Every segment is worked on alone, by whoever leased it, so nothing here may depend on what a segment happens to
//! hold: two neighbours must come out looking the same.

use std::{collections::VecDeque, sync::Arc};

use ffmpeg_next::{
    color::{Primaries, Range, Space, TransferCharacteristic},
    format::Pixel,
    frame::Video,
};
use millrace_media::{Failure, FailureKind};

use super::{colour::Colour, ladder::Picture};
use crate::{
    av::{self, filter::Chain},
    trouble,
};

/// One frame for one frame, by the frames' own flags: which are interlaced, and which field is first.
const DEINTERLACE: &str = "bwdif=mode=send_frame:parity=auto:deint=interlaced";

/// FFmpeg's deinterlacers refuse fewer rows or columns than 3.
const DEINTERLACE_PX_MIN: u32 = 3;

/// White of HDR pictures in candela per square metre (ITU-R BT.2408, 2.1), which becomes the white of SDR ...
const WHITE_NITS: u32 = 203;
/// ... and the brightest light that is kept apart from what is brighter still: HLG's nominal peak (ITU-R BT.2100,
/// table 5), and what most of PQ is mastered to. A constant, though sources may tell theirs: they tell it in some
/// segments and not in others.
const PEAK_NITS: u32 = 1_000;

/// Brings pictures into the form that the ladder takes.
pub(super) struct Conditioner {
    /// The largest rendition's size, before it is turned upright.
    size: (u32, u32),
    threads: u32,
    running: Option<Running>,
}

/// Filters that run.
struct Running {
    needs: Needs,
    chain: Chain,
    /// Times and colours of the pictures that are in the filters.
    inside: VecDeque<(i64, Colour)>,
    /// Counts pictures; the filters want rising times, whatever ours are.
    pushed: i64,
}

/// What pictures of one kind need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Needs {
    picture: (Pixel, u32, u32),
    deinterlacing: bool,
    tone_mapping: Option<Hdr>,
}

/// What the numbers of an HDR picture mean, as ITU-T H.273 counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hdr {
    primaries: u8,
    transfer: u8,
    matrix: u8,
    full_range: bool,
}

impl Conditioner {
    /// For a ladder whose largest picture has this `size` before it is turned.
    pub(super) fn new(size: (u32, u32), threads: u32) -> Self {
        Self { size, threads, running: None }
    }

    /// Takes the next picture in presentation order, and passes on what is ready.
    pub(super) fn push(
        &mut self,
        picture: Picture,
        mut each: impl FnMut(Picture) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut needs = Needs::of(&picture);
        if let Some(running) = &self.running {
            // Sources switch between both, frame by frame; the filter looks at each.
            let as_before = Needs { deinterlacing: running.needs.deinterlacing, ..needs };
            if running.needs.deinterlacing && as_before == running.needs {
                needs = as_before;
            }
        }
        if self.running.as_ref().is_some_and(|running| running.needs != needs) {
            self.finish(&mut each)?;
        }
        if !needs.deinterlacing && needs.tone_mapping.is_none() {
            return each(picture);
        }
        let running = match &mut self.running {
            Some(running) => running,
            none => none.insert(Running::open(needs, &picture.frame, self.size, self.threads)?),
        };
        running.push(&picture)?;
        running.pull(&mut each)
    }

    /// Passes on what is still in the filters.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Picture) -> Result<(), Failure>) -> Result<(), Failure> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.chain.end().map_err(failed)?;
        running.pull(&mut each)?;
        if running.inside.is_empty() {
            return Ok(());
        }
        let message = format!("the filters kept {} of {} pictures", running.inside.len(), running.pushed);
        Err(Failure::new(FailureKind::Crashed, message))
    }
}

impl Running {
    fn open(needs: Needs, like: &Video, size: (u32, u32), threads: u32) -> Result<Self, Failure> {
        let chain = Chain::open(&filters(needs, size), like, threads)
            .map_err(|error| trouble::input(&format!("make filters for {:?} pictures", like.format()), error))?;
        Ok(Self { needs, chain, inside: VecDeque::new(), pushed: 0 })
    }

    fn push(&mut self, picture: &Picture) -> Result<(), Failure> {
        let mut frame = av::frame::share(&picture.frame).map_err(failed)?;
        frame.set_pts(Some(self.pushed));
        self.pushed += 1;
        self.inside.push_back((picture.pts, picture.colour));
        self.chain.push(frame).map_err(failed)
    }

    fn pull(&mut self, each: &mut impl FnMut(Picture) -> Result<(), Failure>) -> Result<(), Failure> {
        while let Some(frame) = self.chain.pull().map_err(failed)? {
            let (pts, colour) = self.inside.pop_front().ok_or_else(|| {
                Failure::new(FailureKind::Crashed, "the filters made more pictures than they were given")
            })?;
            let colour = if self.needs.tone_mapping.is_some() { BT709 } else { colour };
            each(Picture { pts, frame: Arc::new(frame), colour })?;
        }
        Ok(())
    }
}

impl Needs {
    fn of(picture: &Picture) -> Self {
        let frame = &picture.frame;
        let (width, height) = (frame.width(), frame.height());
        Self {
            picture: (frame.format(), width, height),
            deinterlacing: frame.is_interlaced() && width.min(height) >= DEINTERLACE_PX_MIN,
            tone_mapping: Hdr::of(frame, picture.colour),
        }
    }
}

impl Hdr {
    fn of(frame: &Video, colour: Colour) -> Option<Self> {
        let transfer = match colour.transfer {
            TransferCharacteristic::SMPTE2084 => 16,
            TransferCharacteristic::ARIB_STD_B67 => 18,
            _ => return None,
        };
        // Both transfer functions are BT.2100's, whose primaries and matrix are BT.2020's: what is not told is that.
        let primaries = match colour.primaries {
            Primaries::BT709 => 1,
            Primaries::SMPTE431 => 11,
            Primaries::SMPTE432 => 12,
            _ => 9,
        };
        let matrix = match frame.color_space() {
            Space::RGB => 0,
            Space::BT709 => 1,
            Space::BT2020CL => 10,
            Space::ICTCP => 14,
            _ => 9,
        };
        Some(Self { primaries, transfer, matrix, full_range: colour.range == Range::JPEG })
    }
}

/// What tone-mapped pictures are.
const BT709: Colour = Colour {
    range: Range::MPEG,
    primaries: Primaries::BT709,
    transfer: TransferCharacteristic::BT709,
    matrix: Space::BT709,
};

fn filters(needs: Needs, (width, height): (u32, u32)) -> String {
    let mut filters = Vec::new();
    if needs.deinterlacing {
        filters.push(DEINTERLACE.to_owned());
    }
    if let Some(hdr) = needs.tone_mapping {
        let (_, from_width, from_height) = needs.picture;
        if from_width % 2 == 1 || from_height % 2 == 1 {
            // zscale takes subsampled pictures with even sides alone.
            filters.push("format=yuv444p10le".to_owned());
        }
        let Hdr { primaries, transfer, matrix, full_range } = hdr;
        // Scaled first, since light is expensive to compute with; then as linear light in BT.709's primaries, white
        // at 1. Below three tenths of white the curve is straight: shadows and skin keep their place under white.
        let (range, peak) = (u8::from(full_range), f64::from(PEAK_NITS) / f64::from(WHITE_NITS));
        filters.push(format!(
            "zscale=w={width}:h={height}:f=bicubic:pin={primaries}:tin={transfer}:min={matrix}:rin={range}\
             :p=bt709:t=linear:m=gbr:r=full:npl={WHITE_NITS}"
        ));
        filters.push("format=gbrpf32le".to_owned());
        filters.push(format!("tonemap=tonemap=mobius:param=0.3:desat=0:peak={peak}"));
        filters.push("zscale=pin=bt709:tin=linear:min=gbr:rin=full:p=bt709:t=bt709:m=bt709:r=limited".to_owned());
        filters.push("format=yuv420p".to_owned());
    }
    filters.join(",")
}

fn failed(error: ffmpeg_next::Error) -> Failure {
    trouble::machine("filter a picture", error)
}
