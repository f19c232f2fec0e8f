//! Leases and answers for the agent's tests.

use millrace_proto::{
    api,
    outcome::{Done, Rendition},
    profile::{H264Profile, Preset, Rate, VideoCodec},
    task::{Blob, Input, Lease, Target, Transcode, Work},
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

pub(crate) fn done() -> Done {
    let blob = Blob::of(b"made");
    let rendition =
        Rendition { name: "720p".into(), init: blob, segment: blob, codec: "avc1.64001f".into(), frames: 60 };
    Done { renditions: vec![rendition], frames_concealed: 0, work_ms: 1_000 }
}

pub(crate) fn error(code: &str) -> api::Error {
    api::Error { code: code.into(), message: "no".into(), hint: "do otherwise".into() }
}
