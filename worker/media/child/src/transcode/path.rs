//! Which way a segment goes: through a card, or in software. Pure: what the source says of itself and what the card
//! proved decide, and a way that is not taken has its reason.

use ffmpeg_next::{codec::Id, color::TransferCharacteristic, format::Pixel};
use millrace_media::card::Able;
use millrace_proto::{profile::VideoCodec, task::Target};

/// What the headers tell of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) codec: Id,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) format: Pixel,
    pub(super) is_interlaced: bool,
    pub(super) transfer: TransferCharacteristic,
    pub(super) rotation_deg: u16,
}

/// Sides of what every card decodes: NVDEC's least, and its most for H.264.
const SIDES_PX: std::ops::RangeInclusive<u32> = 146..=4_096;
/// Encoders of cards take no smaller pictures.
const ENCODED_PX_MIN: (u32, u32) = (146, 50);

/// Whether the card does the decoding and the scaling, and as much of the encoding as it can; or why not.
pub(super) fn choose(source: &Facts, targets: &[Target], able: &Able) -> Result<(), String> {
    let codec = match source.codec {
        Id::H264 => Some(VideoCodec::H264),
        Id::HEVC => Some(VideoCodec::Hevc),
        Id::AV1 => Some(VideoCodec::Av1),
        _ => None,
    };
    if !codec.is_some_and(|codec| able.decodes.contains(&codec)) {
        return Err(format!("the card does not decode {}", source.codec.name()));
    }
    conditions(source)?;
    let (width, height) = (source.width, source.height);
    if ![width, height].iter().all(|side| SIDES_PX.contains(side)) {
        return Err(format!("the card decodes no pictures of {width}x{height}"));
    }
    // In a picture with an odd side the last row or column of colour stands for one of light; the card's scaler, which
    // knows whole ones alone, would shift colours.
    if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        return Err(format!("pictures of {width}x{height} have an odd side"));
    }
    // Decoding on the card alone pays where the machine has the cores to encode; what a card encodes in part, it does.
    if targets.is_empty() { Err("nothing is to be encoded".into()) } else { Ok(()) }
}

/// What is done to pictures before they are scaled is done in software alone.
fn conditions(source: &Facts) -> Result<(), String> {
    if source.rotation_deg != 0 {
        return Err(format!("the picture is to be turned by {} degrees", source.rotation_deg));
    }
    if source.is_interlaced {
        return Err("the pictures are interlaced".into());
    }
    if is_hdr(source.transfer) {
        return Err("the pictures are of high dynamic range".into());
    }
    match source.format {
        Pixel::YUV420P | Pixel::YUVJ420P => Ok(()),
        format => Err(format!("the pictures are no 8-bit 4:2:0 ones, but {format:?}")),
    }
}

/// The transfer functions whose pictures are tone-mapped.
pub(super) fn is_hdr(transfer: TransferCharacteristic) -> bool {
    matches!(transfer, TransferCharacteristic::SMPTE2084 | TransferCharacteristic::ARIB_STD_B67)
}

/// Whether the card encodes this rendition too.
pub(super) fn encodes(target: &Target, able: &Able) -> bool {
    let (width, height) = ENCODED_PX_MIN;
    able.encodes(target.codec).is_some() && target.width >= width && target.height >= height
}

#[cfg(test)]
mod tests {
    use millrace_media::card::Tools;
    use millrace_proto::profile::{H264Profile, Preset, Rate};

    use super::*;

    const HD: Facts = Facts {
        codec: Id::H264,
        width: 1_920,
        height: 1_080,
        format: Pixel::YUV420P,
        is_interlaced: false,
        transfer: TransferCharacteristic::BT709,
        rotation_deg: 0,
    };

    fn able() -> Able {
        Able { decodes: vec![VideoCodec::H264, VideoCodec::Hevc], encodes: vec![(VideoCodec::H264, Tools::Full)] }
    }

    fn target(codec: VideoCodec, width: u32, height: u32) -> Target {
        Target {
            name: "a".into(),
            width,
            height,
            codec,
            rate: Rate::Capped { crf: 23, bitrate_bps_max: 1_000_000 },
            preset: Preset::Veryfast,
            profile: H264Profile::High,
            fps_divisor: 1,
        }
    }

    fn reason(change: impl FnOnce(&mut Facts)) -> String {
        let mut facts = HD;
        change(&mut facts);
        choose(&facts, &[target(VideoCodec::H264, 640, 360)], &able()).expect_err("it goes in software")
    }

    #[test]
    fn plain_pictures_go_through_the_card() {
        let targets = [target(VideoCodec::H264, 640, 360)];
        assert_eq!(choose(&HD, &targets, &able()), Ok(()));
        assert_eq!(choose(&Facts { codec: Id::HEVC, format: Pixel::YUVJ420P, ..HD }, &targets, &able()), Ok(()));
    }

    #[test]
    fn what_the_card_can_not_do_goes_in_software_and_says_why() {
        assert!(reason(|facts| facts.codec = Id::VP9).contains("vp9"));
        assert!(reason(|facts| facts.codec = Id::AV1).contains("does not decode"));
        assert!(reason(|facts| facts.is_interlaced = true).contains("interlaced"));
        assert!(reason(|facts| facts.transfer = TransferCharacteristic::SMPTE2084).contains("dynamic range"));
        assert!(reason(|facts| facts.transfer = TransferCharacteristic::ARIB_STD_B67).contains("dynamic range"));
        assert!(reason(|facts| facts.rotation_deg = 90).contains("90 degrees"));
        assert!(reason(|facts| facts.format = Pixel::YUV420P10LE).contains("8-bit"));
        assert!(reason(|facts| facts.format = Pixel::YUV422P).contains("4:2:0"));
        assert!(reason(|facts| facts.format = Pixel::None).contains("8-bit"));
        assert!(reason(|facts| facts.width = 1_919).contains("odd side"));
        assert!(reason(|facts| facts.height = 32).contains("1920x32"));
        assert!(reason(|facts| facts.width = 7_680).contains("7680x1080"));
    }

    #[test]
    fn a_card_without_encoders_decodes_and_scales() {
        let h100 = Able { encodes: Vec::new(), ..able() };
        let rung = target(VideoCodec::H264, 640, 360);
        assert_eq!(choose(&HD, std::slice::from_ref(&rung), &h100), Ok(()));
        assert!(!encodes(&rung, &h100) && encodes(&rung, &able()));
        assert!(!encodes(&target(VideoCodec::Av1, 640, 360), &able()), "that one is encoded in software");
        assert!(!encodes(&target(VideoCodec::H264, 128, 72), &able()), "too small for the chip");
    }
}
