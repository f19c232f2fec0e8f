//! What a stream of FFmpeg's is as a track of ours.

use bytes::Bytes;
use ffmpeg_next::{Stream, codec::Id};
use millrace_cmaf::{Codec, Track, Video};
use millrace_media::Failure;

use super::{input, params, params::Params};
use crate::trouble;

/// The track of a video stream. Its configuration must be in the form that MP4 keeps.
pub(crate) fn video(stream: &Stream) -> Result<Track, Failure> {
    let params = params::read(&stream.parameters());
    let (timescale, _) =
        input::timescale(stream.time_base()).ok_or_else(|| trouble::bad_input("its video has no valid time base"))?;
    let video = picture(stream, &params)?;
    let config = params.extradata.clone();
    let codec = match stream.parameters().id() {
        Id::H264 => Codec::H264 { video, config },
        Id::HEVC => Codec::Hevc { video, config },
        Id::AV1 => Codec::Av1 { video, config },
        Id::VP8 => Codec::Vp8 { video },
        Id::VP9 => Codec::Vp9 { video, config: vp9_config(&params) },
        Id::MPEG2VIDEO => Codec::InBand { video, entry: *b"m2v1" },
        Id::PRORES => Codec::InBand { video, entry: prores_entry(params.tag) },
        other => {
            let name = other.name();
            return Err(trouble::unsupported(format!("video in {name} is not supported: use H.264, HEVC, AV1 or VP9")));
        }
    };
    Ok(Track { timescale, codec })
}

fn picture(stream: &Stream, params: &Params) -> Result<Video, Failure> {
    if params.width == 0 || params.height == 0 {
        return Err(trouble::bad_input("its video has no picture size"));
    }
    let pixel_aspect = match params.pixel_aspect {
        (num, den) if num > 0 && den > 0 => (num.unsigned_abs(), den.unsigned_abs()),
        _ => (1, 1),
    };
    Ok(Video { width: params.width, height: params.height, pixel_aspect, rotation_deg: input::rotation_deg(stream) })
}

/// ProRes by the container's own name, or as 422: decoders take the rest from the frames.
fn prores_entry(tag: [u8; 4]) -> [u8; 4] {
    const NAMES: [&[u8; 4]; 6] = [b"apco", b"apcs", b"apcn", b"apch", b"ap4h", b"ap4x"];
    if NAMES.contains(&&tag) { tag } else { *b"apcn" }
}

/// The payload of `vpcC` (VP Codec ISO Media File Format Binding) from what FFmpeg read from the stream; empty
/// where that is nothing.
fn vp9_config(params: &Params) -> Bytes {
    let Ok(profile) = u8::try_from(params.profile) else { return Bytes::new() };
    let level = u8::try_from(params.level).unwrap_or(0);
    // Profiles 0 and 1 are 8-bit, 0 and 2 are 4:2:0; what else there is can't be told from here, and decoders
    // read it from the frames.
    let depth: u8 = if profile < 2 { 8 } else { 10 };
    let subsampling: u8 = if profile % 2 == 0 { 1 } else { 3 };
    let range = u8::from(params.full_range);
    let matrix = if params.color_matrix == 0 && subsampling != 3 { 2 } else { params.color_matrix };
    Bytes::copy_from_slice(&[
        profile,
        level,
        depth << 4 | subsampling << 1 | range,
        params.color_primaries,
        params.color_transfer,
        matrix,
        0,
        0,
    ])
}
