//! Scales pictures to a rendition's size: upright, square pixels, YUV 4:2:0, 8-bit.
//!
//! What has that form already is scaled by zimg, in half of swscale's time; other forms, odd sides, and what an FFmpeg
//! without zimg gets, by swscale.

use std::sync::Arc;

use ffmpeg_next::{color, filter, format::Pixel, frame::Video, software::scaling};
use millrace_media::{Failure, FailureKind};

use super::rotate::rotate;
use crate::{
    av::{self, filter::Chain},
    trouble,
};

/// Half a point of VMAF above swscale's bicubic kernel in a cascade, for a bit or two of a hundred.
const ZIMG_KERNEL: &str = "spline36";
/// Area and bilinear scaling are faster and cost 2 to 16 points of VMAF in a cascade.
const KERNEL: scaling::Flags = scaling::Flags::BICUBIC;

/// Scales to one size, and turns on the way.
pub(crate) struct Scaler {
    width: u32,
    height: u32,
    rotation_deg: u16,
    context: Option<scaling::Context>,
    zimg: Option<Zimg>,
    /// Whether this FFmpeg is built with it.
    has_zimg: bool,
}

/// A filter for pictures of one size.
struct Zimg {
    size: (u32, u32),
    chain: Chain,
    /// Counts pictures; filters want rising times.
    pushed: i64,
}

impl Scaler {
    /// To `width` x `height` after turning clockwise by `rotation_deg`.
    pub(crate) fn new(width: u32, height: u32, rotation_deg: u16) -> Self {
        Self { width, height, rotation_deg, context: None, zimg: None, has_zimg: filter::find("zscale").is_some() }
    }

    /// The scaled picture; the same one if there is nothing to do.
    pub(crate) fn scale(&mut self, picture: &Arc<Video>) -> Result<Arc<Video>, Failure> {
        let sideways = self.rotation_deg % 180 == 90;
        let (width, height) = if sideways { (self.height, self.width) } else { (self.width, self.height) };
        let fits =
            |picture: &Video| (picture.format(), picture.width(), picture.height()) == (Pixel::YUV420P, width, height);
        let scaled = if fits(picture) { Arc::clone(picture) } else { Arc::new(self.run(picture, width, height)?) };
        if self.rotation_deg == 0 { Ok(scaled) } else { rotate(&scaled, self.rotation_deg).map(Arc::new) }
    }

    fn run(&mut self, picture: &Video, width: u32, height: u32) -> Result<Video, Failure> {
        // zimg takes subsampled pictures with even sides alone.
        let is_even = picture.width().is_multiple_of(2) && picture.height().is_multiple_of(2);
        if self.has_zimg && is_even && picture.format() == Pixel::YUV420P {
            self.run_zimg(picture, width, height)
        } else {
            self.run_swscale(picture, width, height)
        }
    }

    fn run_zimg(&mut self, picture: &Video, width: u32, height: u32) -> Result<Video, Failure> {
        let failed = |error| trouble::machine("scale a picture", error);
        let mut frame = av::frame::share(picture).map_err(failed)?;
        // The numbers stay as they are, whatever they mean, and whatever a stranger says that they mean.
        frame.set_color_range(color::Range::Unspecified);
        frame.set_color_primaries(color::Primaries::Unspecified);
        frame.set_color_transfer_characteristic(color::TransferCharacteristic::Unspecified);
        frame.set_color_space(color::Space::Unspecified);
        let size = (frame.width(), frame.height());
        let zimg = match &mut self.zimg {
            Some(zimg) if zimg.size == size => zimg,
            other => {
                // The encoders' threads are enough for all cores.
                let filter = format!("zscale=w={width}:h={height}:f={ZIMG_KERNEL}");
                let chain = Chain::open(&filter, &frame, 1).map_err(failed)?;
                other.insert(Zimg { size, chain, pushed: 0 })
            }
        };
        frame.set_pts(Some(zimg.pushed));
        zimg.pushed += 1;
        zimg.chain.push(frame).map_err(failed)?;
        let scaled = zimg.chain.pull().map_err(failed)?;
        scaled.ok_or_else(|| Failure::new(FailureKind::Crashed, "the scaler kept a picture"))
    }

    /// Sources may change their size or format between any two frames.
    fn run_swscale(&mut self, picture: &Video, width: u32, height: u32) -> Result<Video, Failure> {
        let failed = |error| trouble::machine("scale a picture", error);
        let source = (picture.format(), picture.width(), picture.height());
        let known = self.context.as_ref().map(|context| {
            let input = context.input();
            (input.format, input.width, input.height)
        });
        if known != Some(source) {
            let (format, from_width, from_height) = source;
            let context = scaling::Context::get(format, from_width, from_height, Pixel::YUV420P, width, height, KERNEL)
                .map_err(|error| {
                    trouble::input(&format!("scale {from_width}x{from_height} pixels in {format:?}"), error)
                })?;
            self.context = Some(context);
        }
        let mut scaled = av::frame::picture(Pixel::YUV420P, width, height).map_err(failed)?;
        self.context.as_mut().expect("just made").run(picture, &mut scaled).map_err(failed)?;
        Ok(scaled)
    }
}
