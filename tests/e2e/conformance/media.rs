//! What initialization sections and segments really hold, from their bytes. Tells facts; `rules.rs` judges them.

use mp4_atom::{Any, Av1c, Codec, DecodeMaybe, Hvcc, Moof, Moov, Pasp, Trak, Visual};

/// What an initialization section says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Init {
    /// Ticks per second.
    pub(super) timescale: u32,
    /// As RFC 6381 names it.
    pub(super) codec: String,
    /// The picture in square pixels; none for audio.
    pub(super) size: Option<(u32, u32)>,
}

/// What a segment holds. Times are in the track's timescale.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    pub(super) bytes: u64,
    pub(super) decode_start: u64,
    pub(super) decode_end: u64,
    /// Presentation times, ascending.
    pub(super) shown: Vec<i64>,
    /// The first sample is marked as a sync sample, or the track has no marks.
    pub(super) starts_sync: bool,
    /// Type of the first coded slice (H.264, 7.4.1), if it looks like one.
    pub(super) slice: Option<u8>,
}

/// A slice of an IDR picture (H.264, table 7-1).
pub(super) const IDR: u8 = 5;

impl Init {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let moov = boxes(bytes)?.into_iter().find_map(|one| if let Any::Moov(moov) = one { Some(moov) } else { None });
        let moov: Moov = moov.ok_or("it has no moov")?;
        let [Trak { mdia, .. }] = &moov.trak[..] else { return Err("it has not one track".into()) };
        let (codec, size) = match mdia.minf.stbl.stsd.codecs.first() {
            Some(Codec::Avc1(entry)) => {
                let config = &entry.avcc;
                let profile =
                    [config.avc_profile_indication, config.profile_compatibility, config.avc_level_indication];
                let codec = format!("avc1.{:02x}{:02x}{:02x}", profile[0], profile[1], profile[2]);
                (codec, Some(shown(&entry.visual, entry.pasp.as_ref())))
            }
            Some(Codec::Hvc1(entry)) => (hevc(&entry.hvcc), Some(shown(&entry.visual, entry.pasp.as_ref()))),
            Some(Codec::Av01(entry)) => (av1(&entry.av1c), Some(shown(&entry.visual, entry.pasp.as_ref()))),
            Some(Codec::Mp4a(entry)) => {
                let config = &entry.esds.es_desc.dec_config;
                let kind = config.dec_specific.as_ref().map_or(0, |config| config.profile);
                (format!("mp4a.{:x}.{kind}", config.object_type_indication), None)
            }
            other => return Err(format!("its sample entry is {other:?}")),
        };
        Ok(Self { timescale: mdia.mdhd.timescale, codec, size })
    }
}

/// Size in square pixels.
fn shown(visual: &Visual, aspect: Option<&Pasp>) -> (u32, u32) {
    let (wide, high) = aspect.map_or((1, 1), |aspect| (aspect.h_spacing.max(1), aspect.v_spacing.max(1)));
    (u32::from(visual.width) * wide / high, u32::from(visual.height))
}

/// ISO/IEC 14496-15, annex E.3.
fn hevc(config: &Hvcc) -> String {
    let space = ["", "A", "B", "C"][usize::from(config.general_profile_space & 3)];
    let compatible = u32::from_be_bytes(config.general_profile_compatibility_flags).reverse_bits();
    let tier = if config.general_tier_flag { "H" } else { "L" };
    let constraints = &config.general_constraint_indicator_flags;
    let told = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let constraints = constraints[..told].iter().map(|byte| format!(".{byte:X}")).collect::<Vec<_>>().concat();
    let (profile, level) = (config.general_profile_idc, config.general_level_idc);
    format!("hvc1.{space}{profile}.{compatible:X}.{tier}{level}{constraints}")
}

/// AV1 Codec ISO Media File Format Binding, section 5.
fn av1(config: &Av1c) -> String {
    let tier = if config.seq_tier_0 { "H" } else { "M" };
    let depth = match (config.high_bitdepth, config.twelve_bit) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    format!("av01.{}.{:02}{tier}.{depth:02}", config.seq_profile, config.seq_level_idx_0)
}

impl Piece {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut moof: Option<Moof> = None;
        let mut data = Vec::new();
        for one in boxes(bytes)? {
            match one {
                Any::Moof(one) if moof.is_none() => moof = Some(one),
                Any::Moof(_) => return Err("it has two fragments".into()),
                Any::Mdat(one) => data = one.data,
                _ => {}
            }
        }
        let moof = moof.ok_or("it has no moof")?;
        let [traf] = &moof.traf[..] else { return Err("it has not one track".into()) };
        let decode_start = traf.tfdt.as_ref().ok_or("it has no decode time")?.base_media_decode_time;
        let mut decode_end = decode_start;
        let (mut shown, mut first) = (Vec::new(), None);
        for sample in traf.trun.iter().flat_map(|run| run.samples.iter()) {
            first = first.or(Some((sample.flags, sample.size)));
            shown.push(i64::try_from(decode_end).unwrap_or(i64::MAX) + sample.cts.unwrap_or(0));
            let duration = sample.duration.or(traf.tfhd.default_sample_duration).ok_or("a sample has no duration")?;
            decode_end += u64::from(duration);
        }
        shown.sort_unstable();
        let (flags, size) = first.ok_or("it has no sample")?;
        let picture = data.get(..size.unwrap_or(0) as usize).unwrap_or_default();
        Ok(Self {
            bytes: bytes.len() as u64,
            decode_start,
            decode_end,
            shown,
            // ISO/IEC 14496-12, 8.8.3.1: this bit says that a sample is not a sync sample.
            starts_sync: flags.is_none_or(|flags| flags & 0x0001_0000 == 0),
            slice: first_slice(picture),
        })
    }
}

/// Type of the first NAL unit that is a slice, of a picture with four-byte lengths.
fn first_slice(mut picture: &[u8]) -> Option<u8> {
    while let Some((length, rest)) = picture.split_first_chunk::<4>() {
        let unit = rest.get(..u32::from_be_bytes(*length) as usize)?;
        let kind = unit.first()? & 0x1f;
        if (1..=IDR).contains(&kind) {
            return Some(kind);
        }
        picture = &rest[unit.len()..];
    }
    None
}

fn boxes(bytes: &[u8]) -> Result<Vec<Any>, String> {
    let mut rest = bytes;
    let mut boxes = Vec::new();
    while !rest.is_empty() {
        match Any::decode_maybe(&mut rest) {
            Ok(Some(found)) => boxes.push(found),
            Ok(None) => return Err("it ends early".into()),
            Err(error) => return Err(format!("it can't be read: {error}")),
        }
    }
    Ok(boxes)
}
