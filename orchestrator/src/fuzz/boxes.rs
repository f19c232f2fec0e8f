//! What workers deliver and sources declare: CMAF boxes and codec configurations.

use bytes::Bytes;
use millrace_cmaf::{
    Codec, Track, aac, av1, h264, hevc,
    movie::{Kind, Movie},
    nal, read,
};

use super::take_part;

/// A header, and what calls itself its segment.
pub(super) fn fragments(mut bytes: &[u8]) {
    let Some(init) = take_part(&mut bytes) else { return };
    let header = read::header(init);
    if let (Ok(header), Ok(fragment)) = (&header, read::fragment(bytes)) {
        assert!(fragment.decode_end >= fragment.decode_start);
        assert!(fragment.key_bytes <= bytes.len() as u64);
        fragment.end(*header);
    }
    // It is read from its first bytes, as many as it takes.
    let half = read::head(&bytes[..bytes.len() / 2]);
    let Ok(Some(head)) = read::head(bytes) else { return };
    assert!(matches!(half, Ok(None)) || half == Ok(Some(head.clone())), "a head is the same however much follows");
    for kind in [Kind::Video, Kind::Audio] {
        let mut movie = Movie::new(1_000_000_000, Some(3_000_000_000));
        let init = Bytes::copy_from_slice(init);
        if movie.add(kind, &init, &head).is_ok() && movie.add(kind, &init, &head).is_ok() {
            // Whether it makes a movie is the movie's to say.
            let _ = movie.finish();
        }
    }
}

/// Codec configurations, elementary streams, samples. The first byte says which.
pub(super) fn codecs(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 8 {
        0 => {
            let _ = h264::length_bytes(bytes);
            if let Ok(video) = h264::picture(bytes) {
                track(Codec::H264 { video, config: Bytes::copy_from_slice(bytes) });
            }
        }
        1 => {
            let _ = hevc::length_bytes(bytes);
            if let Ok(video) = hevc::picture(bytes) {
                track(Codec::Hevc { video, config: Bytes::copy_from_slice(bytes) });
            }
        }
        2 => {
            if let Ok(video) = av1::picture(bytes) {
                track(Codec::Av1 { video, config: Bytes::copy_from_slice(bytes) });
            }
            if let Ok(config) = av1::config(bytes) {
                av1::picture(&config).expect("a configuration that we made");
            }
            // The last unit may come without its size, which then takes a few bytes.
            assert!(av1::sample(bytes).len() <= bytes.len() + 8);
        }
        3 => {
            let _ = (aac::frame_samples(bytes), aac::silence(bytes));
            if let Ok(audio) = aac::audio(bytes) {
                let _ = aac::config(audio);
                track(Codec::Aac { audio, config: Bytes::copy_from_slice(bytes) });
            }
        }
        4 => {
            if let Some(adts) = aac::Adts::open(bytes) {
                let _ = adts.config();
            }
        }
        5 => {
            let units: Vec<&[u8]> = nal::annex_b(bytes).collect();
            assert!(units.iter().map(|unit| unit.len()).sum::<usize>() <= bytes.len());
            if let Ok(config) = h264::config(units.iter().copied()) {
                let _ = h264::picture(&config);
            }
            if let Ok(config) = hevc::config(units.iter().copied()) {
                let _ = hevc::picture(&config);
            }
        }
        6 => {
            for length_bytes in 1..=4 {
                let units: Vec<&[u8]> = nal::prefixed(bytes, length_bytes).collect();
                nal::join(units.iter().copied());
            }
        }
        _ => {
            let _ = (h264::is_idr(bytes), hevc::is_idr(bytes), hevc::slice(bytes));
            let _ = (h264::is_parameter_set(bytes), hevc::is_parameter_set(bytes));
        }
    }
}

/// A track that declares this; whether it can be written is for the writer to say.
fn track(codec: Codec) {
    let track = Track { timescale: 90_000, codec };
    let _ = track.codec_string();
    if let Ok(init) = millrace_cmaf::init(&track) {
        read::header(&init).expect("a header that we wrote");
    }
}
