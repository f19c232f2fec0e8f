//! bench
use millrace_orchestrator::store::{Store, sqlite::SqliteStore};
use millrace_proto::identity::{Secret, signer};
use std::time::Instant;

#[test]
fn bench() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let t = Instant::now();
        let mut v = vec![];
        for _ in 0..100 {
            v.push(SqliteStore::in_memory().await.unwrap());
        }
        println!("open {:?}", t.elapsed() / 100);
        let s = &v[0];
        let t = Instant::now();
        for _ in 0..2000 {
            s.tasks_ready(5, 256).await.unwrap();
        }
        println!("tasks_ready {:?}", t.elapsed() / 2000);
        let t = Instant::now();
        for _ in 0..2000 {
            s.ready().await.unwrap();
        }
        println!("write {:?}", t.elapsed() / 2000);
        let k = Secret::from_hex(&"11".repeat(32)).unwrap();
        let t = Instant::now();
        for _ in 0..50 {
            let s = k.sign("abc");
            signer("abc", &s).unwrap();
        }
        println!("sign+verify {:?}", t.elapsed() / 50);
    });
}
