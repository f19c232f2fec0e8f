//! FFmpeg, as far as the jobs need it: opening inputs, decoding, filtering, pictures. `params`, `frame`, `filter`,
//! `device`, `cuda` and `unprobed` hold what the safe API lacks.

pub(crate) mod clip;
pub(crate) mod cuda;
pub(crate) mod decode;
pub(crate) mod device;
pub(crate) mod filter;
pub(crate) mod frame;
pub(crate) mod full_range;
pub(crate) mod input;
pub(crate) mod params;
pub(crate) mod rgb;
pub(crate) mod track;
pub(crate) mod unprobed;

use millrace_media::Failure;

use crate::trouble;

/// Makes FFmpeg ready. Its log goes to standard error, which the parent keeps for failure messages.
pub(crate) fn start() -> Result<(), Failure> {
    ffmpeg_next::init().map_err(|error| trouble::machine("start FFmpeg", error))?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Error);
    Ok(())
}
