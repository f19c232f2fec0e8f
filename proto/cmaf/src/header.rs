//! The CMAF header: `ftyp` and `moov`.

use bytes::Bytes;
use mp4_atom::{
    Codec as Entry, Dinf, Dref, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Matrix, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd,
    Nmhd, PlainText, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url, Vmhd, VttC, Wvtt,
};

use crate::{Error, Track, Video, entry, fragment};

/// The only track's id, in headers and segments.
pub(crate) const TRACK_ID: u32 = 1;

/// Brands that headers claim: CMAF without edit lists (ISO/IEC 23000-19, 7.2).
const BRANDS: [&[u8; 4]; 3] = [b"iso6", b"cmfc", b"mp41"];
/// What headers of text claim beside them (the same, 11.3.2).
const TEXT_BRAND: &[u8; 4] = b"cwvt";

/// Writes a track's CMAF header, the file that `EXT-X-MAP` names.
///
/// The same track always gives the same bytes.
///
/// # Errors
/// [`Error::Config`] if the codec configuration breaks its syntax, [`Error::Format`] if the picture or sound
/// does not fit MP4's fields.
pub fn init(track: &Track) -> Result<Bytes, Error> {
    let mut out = file(&BRANDS, trak(track)?)?;
    entry::set_name(&mut out, &track.codec);
    Ok(out.into())
}

/// The same for a track of `WebVTT`.
pub(crate) fn text(timescale: u32) -> Result<Bytes, Error> {
    let entry = Wvtt {
        plaintext: PlainText { data_reference_index: 1 },
        config: VttC { config: "WEBVTT".into() },
        label: None,
        btrt: None,
    };
    let trak = Trak {
        tkhd: tkhd(),
        mdia: mdia(
            timescale,
            (b"text", "text"),
            Minf { nmhd: Some(Nmhd::default()), ..Minf::default() },
            entry.into(),
        )?,
        ..Trak::default()
    };
    let [a, b, c] = BRANDS;
    Ok(file(&[a, b, c, TEXT_BRAND], trak)?.into())
}

/// A header of fragments of this track alone.
fn file(brands: &[&[u8; 4]], trak: Trak) -> Result<Vec<u8>, Error> {
    let ftyp = Ftyp {
        major_brand: FourCC::new(BRANDS[0]),
        minor_version: 0,
        compatible_brands: brands.iter().copied().map(FourCC::new).collect(),
    };
    let moov = Moov {
        mvhd: Mvhd {
            timescale: trak.mdia.mdhd.timescale,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: TRACK_ID + 1,
            ..Mvhd::default()
        },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex {
                track_id: TRACK_ID,
                default_sample_description_index: 1,
                default_sample_flags: fragment::SYNC,
                ..Trex::default()
            }],
        }),
        trak: vec![trak],
        ..Moov::default()
    };
    let mut out = Vec::new();
    ftyp.encode(&mut out).and_then(|()| moov.encode(&mut out)).map_err(|error| Error::config("header", error))?;
    Ok(out)
}

fn trak(track: &Track) -> Result<Trak, Error> {
    let video = track.video();
    let handler = if video.is_some() { (b"vide", "video") } else { (b"soun", "audio") };
    let mut tkhd = tkhd();
    if let Some(video) = video {
        let size = Video { rotation_deg: 0, ..video }.display_size();
        tkhd.width = u16::try_from(size.0).unwrap_or(u16::MAX).into();
        tkhd.height = u16::try_from(size.1).unwrap_or(u16::MAX).into();
        tkhd.matrix = matrix(video.rotation_deg, size)?;
    } else {
        tkhd.volume = FixedPoint::new(1, 0);
    }
    let minf =
        Minf { vmhd: video.map(|_| Vmhd::default()), smhd: video.is_none().then(Smhd::default), ..Minf::default() };
    Ok(Trak { tkhd, mdia: mdia(track.timescale, handler, minf, entry::sample_entry(track)?)?, ..Trak::default() })
}

fn tkhd() -> Tkhd {
    Tkhd { track_id: TRACK_ID, enabled: true, in_movie: true, ..Tkhd::default() }
}

/// What stands in `minf` beside this is the same for all tracks.
fn mdia(timescale: u32, (handler, name): (&[u8; 4], &str), minf: Minf, entry: Entry) -> Result<Mdia, Error> {
    if timescale == 0 {
        return Err(Error::Format("0 ticks per second".into()));
    }
    Ok(Mdia {
        mdhd: Mdhd { timescale, language: "und".into(), ..Mdhd::default() },
        hdlr: Hdlr { handler: FourCC::new(handler), name: name.into() },
        minf: Minf {
            dinf: Dinf { dref: Dref { entries: vec![Url::default().into()] } },
            stbl: Stbl { stsd: Stsd { codecs: vec![entry] }, stco: Some(Stco::default()), ..Stbl::default() },
            ..minf
        },
    })
}

/// The matrix that turns the picture clockwise and moves it back to the origin (ISO/IEC 14496-12, 6.2.2;
/// QuickTime file format, "Matrices").
fn matrix(rotation_deg: u16, (width, height): (u32, u32)) -> Result<Matrix, Error> {
    const ONE: i32 = 1 << 16;
    let fixed = |px: u32| i32::from(u16::try_from(px).unwrap_or(u16::MAX).min(i16::MAX as u16)) * ONE;
    let (width, height) = (fixed(width), fixed(height));
    let still = Matrix::default();
    match rotation_deg {
        0 => Ok(still),
        90 => Ok(Matrix { a: 0, b: ONE, c: -ONE, d: 0, x: height, ..still }),
        180 => Ok(Matrix { a: -ONE, d: -ONE, x: width, y: height, ..still }),
        270 => Ok(Matrix { a: 0, b: -ONE, c: ONE, d: 0, y: width, ..still }),
        other => Err(Error::Format(format!("a picture turned by {other} degrees"))),
    }
}
