//! Apps' own products: catalogues, pictures of things cut out of clips, and what is found of them in streams.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use millrace_media::Launcher;
use millrace_orchestrator::{
    portraits::Portraits,
    sights::products,
    store::{
        catalogs::{Catalogs, Of, Shown},
        sqlite::SqliteStore,
    },
};
use millrace_proto::{
    CatalogId, Sha256, StreamId,
    api::{self, ProductPicture, Rematched, StreamState},
    offer::Capability,
    timeline::{Entry, Timeline},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    api::Answer,
    clip::{clip, made, text, tool},
    house::{House, built, model_folder},
    table::REFUSALS,
    wait::{s, until},
};

/// What looks, and what these take.
const MODELS: [&str; 3] = ["centernet", "efficientnet-lite2", "imagenet-labels"];
/// A picture of a product has this much more around it, of the thing's sides.
const MARGIN: f64 = 0.1;

/// A place of a thing in a clip; `products/fit.py` tells where they are from.
#[derive(Debug, Clone, Deserialize)]
struct Spot {
    clip: String,
    at_s: f64,
    place: [f64; 4],
    thing: String,
    /// The constants of the score were fitted to it.
    fit: bool,
}

impl Spot {
    /// Cut out as it is, without loss, as things of streams are; or with `margin`, as a JPEG.
    fn picture(&self, folder: &Path, margin: f64) -> Vec<u8> {
        let [x, y, width, height] = self.place;
        let (left, top) = ((x - margin * width).max(0.0), (y - margin * height).max(0.0));
        let (right, bottom) = ((x + width * (1.0 + margin)).min(1.0), (y + height * (1.0 + margin)).min(1.0));
        let file = folder.join(if margin > 0.0 { "picture.jpg" } else { "picture.png" });
        let crop =
            format!("format=rgb24,crop=w=iw*{}:h=ih*{}:x=iw*{left}:y=ih*{top}:exact=1", right - left, bottom - top);
        let (at_s, clip) = (self.at_s.to_string(), clip(&self.clip));
        let from = ["-v", "error", "-nostdin", "-y", "-ss", &at_s, "-i", text(&clip), "-frames:v", "1", "-vf", &crop];
        tool("ffmpeg", &[&from[..], &["-q:v", "2", "-update", "1", text(&file)]].concat());
        fs::read(file).expect("ffmpeg wrote it")
    }

    /// Seconds between two places, if they are in one clip.
    fn apart_s(&self, other: &Self) -> f64 {
        if self.clip == other.clip { (self.at_s - other.at_s).abs() } else { f64::INFINITY }
    }
}

fn places() -> Vec<Spot> {
    serde_json::from_str(include_str!("products/alike.json")).expect("it is as this test wants it")
}

/// The `number`-th place of a thing.
fn place(thing: &str, number: usize) -> Spot {
    places().into_iter().filter(|place| place.thing == thing).nth(number).expect("alike.json has it")
}

/// Other pictures of the same things are found, and things that are not in the catalogue are not, by the very program that
/// does it: none of this was used for fitting.
#[tokio::test]
async fn other_pictures_of_the_same_things_are_found() {
    let portraits = Portraits::new(Launcher::new(built("millrace-media")), &model_folder());
    let folder = TempDir::new().expect("a temporary folder can be made");
    let held: Vec<Spot> = places().into_iter().filter(|place| !place.fit).collect();
    let (mut catalog, mut used) = (Vec::new(), Vec::new());
    for thing in ["bunny", "red squirrel", "flying squirrel"] {
        for place in held.iter().filter(|place| place.thing == thing).take(2) {
            let picture = Bytes::from(place.picture(folder.path(), MARGIN));
            let looks = portraits.portray(picture).await.expect("it is a JPEG").looks;
            let embedder = portraits.embedder();
            catalog.push(Shown { sku: thing.into(), name: thing.into(), url: None, looks, embedder });
            used.push(place.clone());
        }
    }
    let near = |place: &Spot| used.iter().any(|other| other.thing == place.thing && other.apart_s(place) < 1.0);
    let (mut there, mut right, mut wrong, mut strange, mut taken) = (0, 0, 0, 0, 0);
    for place in held.iter().filter(|place| !near(place)) {
        let looks = portraits.portray(place.picture(folder.path(), 0.0).into()).await.expect("it is a PNG").looks;
        let told = products::compare(&looks, Some(&portraits.embedder()), &catalog)
            .expect("there is something to compare with");
        println!("{} at {} s: {:?} {:.2}", place.thing, place.at_s, told.sku, told.score);
        let known = catalog.iter().any(|shown| shown.sku == place.thing);
        match (&told.sku, known) {
            (Some(sku), true) if *sku == place.thing => right += 1,
            (Some(_), true) => wrong += 1,
            (Some(_), false) => taken += 1,
            (None, _) => {}
        }
        (there, strange) = (there + u32::from(known), strange + u32::from(!known));
    }
    println!("of {there}: {right} right, {wrong} wrong, others unknown; of {strange} others {taken} taken for one");
    assert!(right >= 4 && wrong == 0, "{right} right, {wrong} wrong of {there}");
    assert!(taken <= 1 && strange >= 6, "{taken} of {strange} strange things");
}

fn put(house: &House, catalog: &str, sku: &str, name: &str) -> Answer {
    let body = json!({"name": name, "url": format!("https://shop.example.org/{sku}")});
    house.api.call("PUT", &format!("/v1/catalogs/{catalog}/products/{sku}"), Some(&body))
}

fn send(house: &House, path: &str, picture: &[u8]) -> Answer {
    let bearer = house.api.bearer();
    let headers = [("authorization", bearer.as_str())];
    house.api.send("POST", path, &headers, Some(picture)).unwrap_or_else(|error| panic!("POST {path}: {error}"))
}

/// A product of the catalogue `street` with pictures of a thing.
fn add(house: &House, sku: &str, thing: &str, numbers: &[usize]) {
    let answer = put(house, "street", sku, thing);
    assert_eq!(answer.status, 201, "{}", answer.text());
    for number in numbers {
        let picture = place(thing, *number).picture(house.scratch(), MARGIN);
        let answer = send(house, &format!("/v1/catalogs/street/products/{sku}/pictures"), &picture);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

fn things(house: &House, id: &StreamId, filter: &str) -> Vec<Entry> {
    let path = format!("/v1/streams/{id}/timeline?kind=products{filter}");
    let line: Timeline = house.api.call("GET", &path, None).json();
    line.items
}

fn skus(entries: &[Entry]) -> Vec<&str> {
    entries.iter().filter_map(|entry| entry.product.as_ref()?.sku.as_deref()).collect()
}

#[test]
fn products_of_a_catalogue_are_found_in_a_recording_and_those_that_come_later_by_asking_again() {
    // Bicycles, and cars, in a street.
    let source = made("bikes-street.mp4", &["-i", text(&clip("bikes.mp4"))], "-c:v libx264 -qp 18 -g 50 -an");
    let mut house = House::configured(0, &format!("models = {:?}\n", model_folder()));
    house.add_hearing_worker(&MODELS);
    house.until_online(1);
    add(&house, "RIDER", "cyclist", &[3]);
    add(&house, "BUNNY", "bunny", &[0]);
    let ladder = json!([{"name": "240p", "short_side_px": 240, "bitrate_bps_max": 400_000, "preset": "ultrafast"}]);
    let profile = json!({"ladder": ladder, "products": {"every_ms": 400, "catalog": "street"}});
    let stream = house.api.create("file", &profile);
    let again = format!("/v1/streams/{}/products/match", stream.id);
    assert_eq!(house.api.call("POST", &again, None).error(409).code, "not_complete");
    house.api.upload_all(&stream, &fs::read(&source).expect("the clip can be read"));
    house.api.until(&stream, StreamState::Ended, s(120));
    let path = format!("/v1/streams/{}/timeline", stream.id);
    let line: Timeline = until("the timeline to be complete", s(120), || {
        let line: Timeline = house.api.call("GET", &path, None).json();
        line.tracks.iter().all(|track| track.kind == Capability::Products && track.complete).then_some(line)
    });
    for entry in &line.items {
        println!("{}-{} {:?} {:?} {:?}", entry.start_ms, entry.end_ms, entry.label, entry.finer, entry.product);
    }
    // The cyclist, whose picture is of another time; cars are unknown, with a low score.
    let is_rider = |entry: &&Entry| skus(std::slice::from_ref(*entry)) == ["RIDER"];
    let riders: Vec<&Entry> = line.items.iter().filter(is_rider).collect();
    let rides = |entry: &&Entry| entry.label.as_deref() == Some("person") && (2_500..5_600).contains(&entry.start_ms);
    assert!(!riders.is_empty() && riders.iter().all(rides), "{riders:?}");
    let product = riders[0].product.clone().expect("it has one");
    assert_eq!(product.url.as_deref(), Some("https://shop.example.org/RIDER"));
    assert!(product.name.as_deref() == Some("cyclist") && product.score >= products::KNOWN, "{product:?}");
    let cars: Vec<&Entry> = line.items.iter().filter(|entry| entry.label.as_deref() == Some("car")).collect();
    assert!(!cars.is_empty() && cars.iter().all(|car| car.product.as_ref().is_none_or(|is| is.sku.is_none())));
    assert!(!skus(&line.items).contains(&"BUNNY"), "{:?}", line.items);
    // The filter takes the SKU as well as the label.
    assert_eq!(things(&house, &stream.id, "&label=RIDER").len(), riders.len());

    let events: Value = house.api.call("GET", &format!("/v1/events?after=0&stream={}", stream.id), None).json();
    let appeared = |event: &&Value| event["kind"] == "product.appeared";
    let appeared: Vec<&Value> = events["items"].as_array().expect("a list").iter().filter(appeared).collect();
    assert!(
        !appeared.is_empty() && appeared.iter().all(|event| event["body"]["product"]["sku"] == "RIDER"),
        "{events}"
    );

    // Nothing has changed; a car comes into the catalogue, and is found; asking once more changes nothing.
    let ask = || house.api.call("POST", &again, None).json::<Rematched>();
    let first = ask();
    assert_eq!((first.changes, first.appearances), (0, line.items.len() as u64), "{first:?}");
    add(&house, "CAR", "silver hatchback", &[0, 4]);
    let second = ask();
    assert!(second.changes > 0 && skus(&second.changed).contains(&"CAR"), "{second:?}");
    let found = things(&house, &stream.id, "&label=CAR");
    assert!(!found.is_empty() && found.iter().all(|car| car.label.as_deref() == Some("car")), "{found:?}");
    assert_eq!(ask().changes, 0);
    // What was found stays when the catalogue goes; there is nothing to compare with then.
    assert_eq!(house.api.call("DELETE", "/v1/catalogs/street", None).status, 204);
    assert_eq!(house.api.call("POST", &again, None).error(404).code, "unknown_catalog");
    assert_eq!(things(&house, &stream.id, "&label=CAR"), found);
}

/// After an update with another model, and after a crash while a picture came in.
#[test]
fn pictures_are_put_in_order_after_a_start() {
    let mut house = House::configured(0, &format!("models = {:?}\n", model_folder()));
    add(&house, "BUNNY", "bunny", &[0]);
    let read =
        |house: &House| -> api::Product { house.api.call("GET", "/v1/catalogs/street/products/BUNNY", None).json() };
    let was = read(&house);
    let data = house.data();
    house.stop_orchestrator();
    // As a model of before left it, and nobody can compare it now.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let id: CatalogId = "street".parse().expect("it is one");
    let looks = runtime.block_on(async {
        let store = SqliteStore::open(&data.join("millrace.db")).await.expect("it is there");
        let looks = store.shown(&id).await.expect("it can be read")[0].looks.clone();
        let old = ProductPicture { version: "of before".into(), ..was.pictures[0].clone() };
        assert!(store.portray(Of { catalog: &id, sku: "BUNNY" }, &old, &[1, 2]).await.expect("it can be written"));
        looks
    });
    let folder = data.join("media").join("catalog.street").join("BUNNY");
    let [left, coming] = [b"of a crash", b"of a while"].map(|bytes| folder.join(Sha256::of(bytes).to_string()));
    for file in [&left, &coming] {
        fs::write(file, b"bytes").expect("the folder is there");
    }
    tool("touch", &["-d", "2 hours ago", text(&left)]);

    house.start_orchestrator();
    until("the picture to be looked at anew", s(60), || (read(&house) == was).then_some(()));
    until("the bytes to be freed", s(30), || (!left.exists()).then_some(()));
    assert!(coming.exists(), "a picture may be just coming in");
    house.stop_orchestrator();
    let shown = runtime.block_on(async {
        let store = SqliteStore::open(&data.join("millrace.db")).await.expect("it is there");
        store.shown(&id).await.expect("it can be read")
    });
    assert_eq!(shown[0].looks, looks);
}

/// A phone writes what its sensor saw, and in EXIF how it was held.
#[tokio::test]
async fn a_picture_that_is_turned_by_its_exif_is_seen_upright() {
    let portraits = Portraits::new(Launcher::new(built("millrace-media")), &model_folder());
    let folder = TempDir::new().expect("a temporary folder can be made");
    let (upright, lying) = (folder.path().join("upright.jpg"), folder.path().join("lying.jpg"));
    fs::write(&upright, place("bunny", 0).picture(folder.path(), MARGIN)).expect("it can be written");
    let turn = ["-v", "error", "-nostdin", "-i", text(&upright), "-vf", "transpose=cclock", "-q:v", "2"];
    tool("ffmpeg", &[&turn[..], &["-update", "1", text(&lying)]].concat());
    let lying = fs::read(lying).expect("ffmpeg wrote it");
    // Big-endian TIFF of one entry: 0x0112, a short, 6: to be turned clockwise (EXIF 3.0, 4.6.5).
    let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let exif = [b"\xff\xe1\0\x22Exif\0\0", &tiff[..]].concat();
    assert_eq!(exif.len(), 2 + 0x22);
    let turned = [&lying[..2], &exif, &lying[2..]].concat();
    let portray = async |bytes: Vec<u8>| portraits.portray(bytes.into()).await.expect("it is a JPEG");
    let (told, lies, right) =
        (portray(turned).await, portray(lying).await, { portray(fs::read(&upright).expect("it is there")).await });
    assert_eq!((told.width, told.height), (right.width, right.height));
    let alike = |looks: &[i8]| {
        let product = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        product(looks, &right.looks) / (product(looks, looks) * product(&right.looks, &right.looks)).sqrt()
    };
    let (as_held, as_stored) = (alike(&told.looks), alike(&lies.looks));
    assert!(as_held > 0.95 && as_stored < as_held, "{as_held} as it was held, {as_stored} as it is stored");
}

/// A picture that ffmpeg draws.
fn drawn(name: &str, size: &str, args: &str) -> Vec<u8> {
    let source = format!("testsrc2=s={size}");
    fs::read(made(name, &["-f", "lavfi", "-i", &source], &format!("-frames:v 1 -update 1 {args}")))
        .expect("it is there")
}

/// Grey, deep, with a palette, and of 8K.
fn other_forms_are_taken(house: &House, path: &str) {
    for (name, size, args) in [
        ("deep.png", "320x200", "-pix_fmt rgb48be"),
        ("few.png", "320x200", "-pix_fmt pal8"),
        ("grey.jpg", "320x200", "-pix_fmt gray"),
        ("8k.jpg", "7680x4320", "-q:v 20"),
    ] {
        let answer = send(house, path, &drawn(name, size, args));
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        let told: api::Product = answer.json();
        assert!(told.pictures[0].width <= 1_920, "{told:?}");
        assert_eq!(house.api.call("DELETE", &format!("{path}/{}", told.pictures[0].id), None).status, 204);
    }
}

#[test]
fn wrong_products_and_pictures_are_answered_with_what_to_do() {
    let config = format!("models = {:?}\n[catalogs]\nproducts_max = 2\nproduct_pictures_max = 2\n", model_folder());
    let house = House::configured(0, &config);
    let mut told = Vec::new();
    let mut row = |what: &str, status: u16, code: &str, answer: &Answer| {
        assert_eq!(answer.error(status).code, code, "{what}");
        told.push(vec![what.to_owned(), status.to_string(), format!("`{code}`")]);
    };
    let call = |method: &str, path: &str, body: Option<Value>| house.api.call(method, path, body.as_ref());
    let products = "/v1/catalogs/shop/products";
    row("a catalogue that is not there", 404, "unknown_catalog", &call("GET", "/v1/catalogs/shop", None));
    row("its products", 404, "unknown_catalog", &call("GET", products, None));
    row("a catalogue's id with capital letters", 400, "bad_catalog", &put(&house, "Shop", "A", "a"));
    let named =
        json!({"name": "x", "source": "live", "profile": {"preset": "mobile", "products": {"catalog": "shop"}}});
    row(
        "a stream that names no catalogue that is there",
        400,
        "unknown_catalog",
        &call("POST", "/v1/streams", Some(named)),
    );
    row("a SKU with a space", 400, "bad_sku", &put(&house, "shop", "a%20b", "a"));
    row("a product without a name", 400, "bad_name", &put(&house, "shop", "A", " "));
    let page = json!({"name": "a", "url": "javascript:alert(1)"});
    row("a product's page that is no web page", 400, "bad_url", &call("PUT", &format!("{products}/A"), Some(page)));
    row("a list of no products", 400, "bad_list", &call("POST", products, Some(json!([]))));
    row("a list with something else", 400, "bad_json", &call("POST", products, Some(json!([{"sku": "A"}]))));

    // One, and the same again with another name; a list; and one too many.
    assert_eq!((put(&house, "shop", "A", "a").status, put(&house, "shop", "A", "b").status), (201, 200));
    let list = json!([{"sku": "A", "name": "A mug"}, {"sku": "B", "name": "A hat", "url": "https://example.org/hat"}]);
    assert_eq!(call("POST", products, Some(list)).json::<api::Page<api::Product>>().items.len(), 2);
    row("a product too many", 409, "too_many_products", &put(&house, "shop", "C", "c"));
    row("a product that is not there", 404, "unknown_product", &call("GET", &format!("{products}/C"), None));

    let path = format!("{products}/A/pictures");
    let good = drawn("product.jpg", "640x480", "-q:v 3");
    row(
        "a picture of a product that is not there",
        404,
        "unknown_product",
        &send(&house, &format!("{products}/C/pictures"), &good),
    );
    row("a picture without a byte", 400, "bad_picture", &send(&house, &path, b""));
    row("a GIF", 400, "bad_picture", &send(&house, &path, &drawn("product.gif", "64x48", "")));
    row("a JPEG that breaks off", 400, "bad_picture", &send(&house, &path, &good[..good.len() / 2]));
    let png = drawn("product.png", "640x480", "-pix_fmt rgba");
    row("a PNG that breaks off", 400, "bad_picture", &send(&house, &path, &png[..png.len() / 2]));
    let noise: Vec<u8> = (0..4_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    row(
        "noise behind a JPEG's first bytes",
        400,
        "bad_picture",
        &send(&house, &path, &[b"\xff\xd8\xff", &noise[..]].concat()),
    );
    let huge =
        made("huge.png", &["-f", "lavfi", "-i", "color=gray:s=8192x8192"], "-frames:v 1 -update 1 -pix_fmt gray");
    row("a picture larger than 8K", 400, "bad_picture", &send(&house, &path, &fs::read(huge).expect("it is there")));
    row("a byte more than 16 MiB", 413, "too_large", &send(&house, &path, &vec![0; (16 << 20) + 1]));

    // All of that left nothing behind, and the next ones are taken.
    assert_eq!(send(&house, &path, &good).status, 201);
    assert_eq!(send(&house, &path, &good).status, 200, "the same picture is there already");
    let known: api::Product = send(&house, &path, &png).json();
    assert_eq!(known.pictures.iter().map(|told| told.kind.as_str()).collect::<Vec<_>>(), ["image/jpeg", "image/png"]);
    assert_eq!((known.pictures[1].width, known.pictures[1].height), (640, 480));
    row(
        "a picture too many",
        409,
        "too_many_pictures",
        &send(&house, &path, &drawn("third.png", "96x96", "-pix_fmt gray")),
    );
    for picture in &known.pictures {
        let one = format!("{path}/{}", picture.id);
        let answer = call("GET", &one, None);
        assert_eq!((answer.status, answer.header("content-type")), (200, picture.kind.as_str()));
        assert_eq!(call("DELETE", &one, None).status, 204);
        call("DELETE", &one, None).error(404);
    }
    other_forms_are_taken(&house, &path);
    row("a picture that is not there", 404, "unknown_picture", &call("DELETE", &format!("{path}/nothing"), None));
    let unnamed = house.api.create("file", &json!("mobile"));
    let again = format!("/v1/streams/{}/products/match", unnamed.id);
    row("comparing a stream that names no catalogue", 409, "no_catalog", &call("POST", &again, None));
    let catalog: api::Catalog = call("GET", "/v1/catalogs/shop", None).json();
    assert_eq!((catalog.products, catalog.pictures), (2, 0));
    assert_eq!(call("DELETE", &format!("{products}/B"), None).status, 204);
    assert_eq!(call("DELETE", "/v1/catalogs/shop", None).status, 204);
    assert!(call("GET", "/v1/catalogs", None).json::<api::Page<api::Catalog>>().items.is_empty());
    let left = fs::read_dir(house.data().join("media")).expect("the media store is a folder");
    let left: Vec<PathBuf> = left.map(|entry| entry.expect("it can be read").path()).collect();
    let files = |folder: &PathBuf| fs::read_dir(folder.join("A")).map_or(0, Iterator::count);
    assert_eq!(left.iter().map(files).sum::<usize>(), 0, "{left:?}");

    // A server without models says so, and which command gets them.
    let bare = House::configured(0, "models = \"/nowhere\"\n");
    assert_eq!(put(&bare, "shop", "A", "a").status, 201);
    let refused = send(&bare, &path, &good);
    row("a picture where the server has no model", 503, "no_model", &refused);
    assert!(refused.error(503).message.contains("millrace-worker models fetch"), "{}", refused.text());
    REFUSALS.tell("Catalogues", &["what is asked", "status", "code"], &told);
}
