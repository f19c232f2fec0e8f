//! The CMAF header: `ftyp` and `moov`.

use bytes::Bytes;
use mp4_atom::{
    Dinf, Dref, Encode, FixedPoint, FourCC, Ftyp, Hdlr, Matrix, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd, Smhd, Stbl, Stco,
    Stsd, Tkhd, Trak, Trex, Url, Vmhd,
};

use crate::{Error, Track, Video, entry, fragment};

/// The only track's id, in headers and segments.
pub(crate) const TRACK_ID: u32 = 1;

/// Brands that headers claim: CMAF without edit lists (ISO/IEC 23000-19, 7.2).
const BRANDS: [&[u8; 4]; 3] = [b"iso6", b"cmfc", b"mp41"];

/// Writes a track's CMAF header, the file that `EXT-X-MAP` names.
///
/// The same track always gives the same bytes.
///
/// # Errors
/// [`Error::Config`] if the codec configuration breaks its syntax, [`Error::Format`] if the picture or sound
/// does not fit MP4's fields.
pub fn init(track: &Track) -> Result<Bytes, Error> {
    let ftyp = Ftyp {
        major_brand: FourCC::new(BRANDS[0]),
        minor_version: 0,
        compatible_brands: BRANDS.map(FourCC::new).to_vec(),
    };
    let moov = Moov {
        mvhd: Mvhd {
            timescale: track.timescale,
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
        trak: vec![trak(track)?],
        ..Moov::default()
    };
    let mut out = Vec::new();
    ftyp.encode(&mut out).and_then(|()| moov.encode(&mut out)).map_err(|error| Error::config("header", error))?;
    entry::set_name(&mut out, &track.codec);
    Ok(out.into())
}

fn trak(track: &Track) -> Result<Trak, Error> {
    if track.timescale == 0 {
        return Err(Error::Format("0 ticks per second".into()));
    }
    let video = track.video();
    let (handler, name) = if video.is_some() { (b"vide", "video") } else { (b"soun", "audio") };
    let mut tkhd = Tkhd { track_id: TRACK_ID, enabled: true, in_movie: true, ..Tkhd::default() };
    if let Some(video) = video {
        let size = Video { rotation_deg: 0, ..video }.display_size();
        tkhd.width = u16::try_from(size.0).unwrap_or(u16::MAX).into();
        tkhd.height = u16::try_from(size.1).unwrap_or(u16::MAX).into();
        tkhd.matrix = matrix(video.rotation_deg, size)?;
    } else {
        tkhd.volume = FixedPoint::new(1, 0);
    }
    Ok(Trak {
        tkhd,
        mdia: Mdia {
            mdhd: Mdhd { timescale: track.timescale, language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: FourCC::new(handler), name: name.into() },
            minf: Minf {
                vmhd: video.map(|_| Vmhd::default()),
                smhd: video.is_none().then(Smhd::default),
                dinf: Dinf { dref: Dref { entries: vec![Url::default().into()] } },
                stbl: Stbl {
                    stsd: Stsd { codecs: vec![entry::sample_entry(track)?] },
                    stco: Some(Stco::default()),
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
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
