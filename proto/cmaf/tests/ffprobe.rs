//! What ffmpeg encoded, written by us, read by ffprobe: every time, size and flag must survive.

use std::{fs, path::Path, process::Command};

use bytes::Bytes;
use millrace_cmaf::{Codec, Sample, Track, h264, init, nal, segment};

/// H.264 Annex B of a moving picture with B-frames, from ffmpeg, as access units in decode order.
fn access_units(dir: &Path, extra: &[&str]) -> (Bytes, Vec<Bytes>) {
    let stream = dir.join("in.h264");
    let filter = "testsrc2=size=320x180:rate=25:duration=2";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", filter, "-c:v", "libx264", "-preset", "fast", "-bf", "3"])
        .args(["-x264-params", "aud=1:keyint=250"])
        .args(extra)
        .arg(&stream)
        .status()
        .expect("ffmpeg can be started: install it");
    assert!(status.success());
    let bytes = fs::read(stream).unwrap();
    let config = h264::config(nal::annex_b(&bytes)).unwrap();
    let mut units: Vec<Vec<&[u8]>> = Vec::new();
    for unit in nal::annex_b(&bytes) {
        // An access unit delimiter starts each picture.
        if unit[0] & 0x1f == 9 {
            units.push(Vec::new());
        }
        units.last_mut().expect("aud=1 puts a delimiter first").push(unit);
    }
    (config, units.into_iter().map(nal::join).collect())
}

/// The place of each access unit in presentation order; a raw stream has no times, so ffprobe decodes it.
fn presentation_order(dir: &Path) -> Vec<i64> {
    let frames = probe(&dir.join("in.h264"), "frame=coded_picture_number");
    let mut order = vec![0; frames.len()];
    for (shown, coded) in frames.iter().enumerate() {
        order[coded[0].parse::<usize>().unwrap()] = shown as i64;
    }
    order
}

fn probe(file: &Path, entries: &str) -> Vec<Vec<String>> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "0", "-show_entries", entries, "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe can be started: install it");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.trim_end_matches(',').split(',').map(str::to_owned).collect())
        .collect()
}

#[test]
fn ffprobe_reads_exact_times_over_several_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (config, units) = access_units(dir.path(), &[]);
    let order = presentation_order(dir.path());
    assert!(order.windows(2).any(|pair| pair[0] > pair[1]), "the stream has B-frames");
    let video = h264::picture(&config).unwrap();
    assert_eq!((video.width, video.height, video.pixel_aspect), (320, 180, (1, 1)));
    let track = Track { timescale: 30_000, codec: Codec::H264 { video, config } };
    assert!(track.codec_string().unwrap().starts_with("avc1.6400"));
    // An uneven frame rate, a start far from zero.
    let time = |shown: i64| 1_000_000_000_000 + shown * 1_201 + shown % 3;
    let samples: Vec<_> = units
        .iter()
        .zip(&order)
        .map(|(data, shown)| Sample {
            pts: time(*shown),
            dts: time(*shown),
            duration: 0,
            key: h264::is_idr(data),
            data: data.clone(),
        })
        .collect();
    let count = samples.len() as i64;
    // The same pictures twice, as two segments that follow each other.
    let later: Vec<_> = samples.iter().map(|s| Sample { pts: s.pts - time(0) + time(count), ..s.clone() }).collect();
    let file = dir.path().join("out.mp4");
    let parts = [
        init(&track).unwrap(),
        segment(&track, 1, &samples, time(count)).unwrap(),
        segment(&track, 2, &later, 0).unwrap(),
    ];
    fs::write(&file, parts.concat()).unwrap();

    let packets = probe(&file, "packet=pts,size,flags");
    let expected: Vec<_> = samples
        .iter()
        .chain(&later)
        .map(|s| vec![s.pts.to_string(), s.data.len().to_string(), if s.key { "K_" } else { "__" }.to_owned()])
        .collect();
    assert_eq!(packets, expected);
    let stamps: Vec<_> = probe(&file, "packet=dts").into_iter().map(|p| p[0].parse::<i64>().unwrap()).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "decode times rise over the join");
    let frames = probe(&file, "frame=pts");
    assert_eq!(frames.len(), 2 * samples.len(), "every frame decodes, in order");
    assert!(frames.windows(2).all(|pair| pair[0][0] < pair[1][0]));
    assert_eq!(probe(&file, "stream=time_base"), [["1/30000"]]);
}

#[test]
fn ffprobe_sees_pixel_aspect_and_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let (config, units) = access_units(dir.path(), &["-vf", "setsar=4/3"]);
    let mut video = h264::picture(&config).unwrap();
    assert_eq!(video.pixel_aspect, (4, 3));
    assert_eq!(video.display_size(), (426, 180));
    for (rotation_deg, told) in [(90, "-90"), (180, "-180"), (270, "90")] {
        video.rotation_deg = rotation_deg;
        let track = Track { timescale: 25, codec: Codec::H264 { video, config: config.clone() } };
        let samples = [Sample { pts: 0, dts: 0, duration: 1, key: true, data: units[0].clone() }];
        let file = dir.path().join("out.mp4");
        fs::write(&file, [init(&track).unwrap(), segment(&track, 1, &samples, 1).unwrap()].concat()).unwrap();
        assert_eq!(probe(&file, "stream=width,height,sample_aspect_ratio"), [["320", "180", "4:3"]]);
        assert_eq!(probe(&file, "stream_side_data=rotation"), [[told]]);
    }
}
