//! Messages of workers that are older than what they leave out.

use millrace_proto::offer::{Device, Model};
use serde_json::json;

#[test]
fn a_model_of_an_older_worker_ran_on_its_processor() {
    let mut told = json!({
        "id": "whisper-base", "version": "1", "capability": "captions", "languages": ["any"],
        "memory_bytes": 800_000_000, "load_ms": 250, "warm": true
    });
    let device = |told: &serde_json::Value| serde_json::from_value::<Model>(told.clone()).unwrap().device;
    assert_eq!(device(&told), Device::Cpu);
    told["device"] = json!("cuda");
    assert_eq!(device(&told), Device::Cuda);
}
