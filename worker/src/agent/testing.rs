//! Leases and answers for the agent's tests.

use millrace_proto::{
    api,
    offer::{Capability, Device, Model},
    outcome::{Done, Rendition},
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::{Blob, Captions, Input, Lease, Target, Transcode, Work},
};

pub(crate) fn lease(id: &str) -> Lease {
    let input =
        |name: &str| Input { name: name.into(), url: format!("/v1/in/{name}"), blob: Blob::of(name.as_bytes()) };
    Lease {
        id: id.parse().unwrap(),
        token: format!("token-of-{id}"),
        task: "t-1".parse().unwrap(),
        lease_ms: 15_000,
        work_ms_max: 60_000,
        media_ms: 2_000,
        due_ms: None,
        work: Work::Transcode(Transcode {
            renditions: vec![Target {
                name: "720p".into(),
                width: 1_280,
                height: 720,
                codec: VideoCodec::H264,
                rate: Rate::Capped { crf: 23, bitrate_bps_max: 3_000_000 },
                preset: Preset::Veryfast,
                profile: H264Profile::High,
                fps_divisor: 1,
            }],
        }),
        inputs: vec![input("init"), input("segment")],
        output_url: "/v1/worker/leases/x/outputs/{output}".into(),
    }
}

/// A model for captions.
pub(crate) fn model(id: &str, language: &str) -> Model {
    Model {
        id: id.into(),
        version: "1".into(),
        capability: Capability::Captions,
        device: Device::Cpu,
        languages: vec![language.into()],
        audio_s_per_s: 10.0,
        pictures_per_s: 0.0,
        memory_bytes: 1 << 30,
        load_ms: 300,
        warm: false,
    }
}

/// A window of sound in two segments.
pub(crate) fn window(id: &str) -> Lease {
    let input =
        |name: &str| Input { name: name.into(), url: format!("/v1/in/{name}"), blob: Blob::of(name.as_bytes()) };
    let work = Captions { end_ms: 4_000, patience_ms: 5_000, ..Captions::default() };
    Lease {
        media_ms: 4_000,
        work: Work::Captions(work),
        inputs: vec![input("init"), input("segment-0"), input("segment-1")],
        ..lease(id)
    }
}

pub(crate) fn done() -> Done {
    let blob = Blob::of(b"made");
    let rendition =
        Rendition { name: "720p".into(), init: blob, segment: blob, codec: "avc1.64001f".into(), frames: 60 };
    Done { renditions: vec![rendition], report: None, frames_concealed: 0, work_ms: 1_000 }
}

pub(crate) fn error(code: &str) -> api::Error {
    api::Error { code: code.into(), message: "no".into(), hint: "do otherwise".into() }
}
