//! Of the golden messages: catalogues, and things that are compared with them.

use std::collections::BTreeSet;

use millrace_proto::{CatalogId, Sha256, api, offer::Capability, timeline::Entry, vision::Product};

use super::{check, stream_id};

pub(super) fn mug() -> Product {
    Product {
        sku: Some("MUG-1".into()),
        name: Some("Blue mug".into()),
        url: Some("https://shop.example.org/mug".into()),
        score: 0.875,
    }
}

pub(super) fn all(seen: &mut BTreeSet<String>) {
    let (name, url) = ("Blue mug".to_owned(), Some("https://shop.example.org/mug".to_owned()));
    check(seen, "put_product", &api::PutProduct { name: name.clone(), url: url.clone() });
    check(seen, "new_product", &api::NewProduct { sku: "MUG-1".into(), name: name.clone(), url: url.clone() });
    let id: CatalogId = "summer".parse().unwrap();
    let picture = api::ProductPicture {
        id: Sha256::of(b"picture"),
        kind: "image/jpeg".into(),
        bytes: 48_213,
        width: 1_200,
        height: 900,
        model: "efficientnet-lite2".into(),
        version: "0.1.0".into(),
    };
    let (sku, created_ms) = ("MUG-1".into(), 1_795_000_000_000);
    let product = api::Product { catalog: id.clone(), sku, name, url, created_ms, pictures: vec![picture] };
    check(seen, "product", &product);
    check(seen, "catalog", &api::Catalog { id: id.clone(), products: 40, pictures: 112 });
    let none = Product { sku: None, name: None, url: None, score: 0.125 };
    let hat = Entry { product: Some(none), ..Entry::blank(Capability::Products, "products", 7_000, 8_000) };
    let changed = vec![hat];
    let rematched = api::Rematched { stream: stream_id(), catalog: id, appearances: 12, changes: 1, changed };
    check(seen, "rematched", &rematched);
}
