//! The part of the suite that is about catalogues.

use millrace_proto::{
    CatalogId, Sha256,
    api::{Catalog, Product, ProductPicture},
    vision::Embedder,
};

use crate::store::{
    Store,
    catalogs::{Added, Of, PicturesMax, Put},
};

pub(super) async fn have_products_and_what_their_pictures_look_like(store: impl Store) {
    let id: CatalogId = "summer".parse().unwrap();
    let product = |sku: &str, name: &str| Product {
        catalog: id.clone(),
        sku: sku.into(),
        name: name.into(),
        url: Some("https://example.org".into()),
        created_ms: 7,
        pictures: vec![],
    };
    let picture = |bytes: &[u8]| ProductPicture {
        id: Sha256::of(bytes),
        kind: "image/png".into(),
        bytes: 9,
        width: 3,
        height: 2,
        model: "m".into(),
        version: "1".into(),
    };
    assert_eq!(store.catalog(&id).await.unwrap(), None);
    assert_eq!(store.put_product(&product("b", "B"), 2).await.unwrap(), Put::New);
    assert_eq!(store.put_product(&product("a", "A"), 2).await.unwrap(), Put::New);
    assert_eq!(store.put_product(&product("c", "C"), 2).await.unwrap(), Put::Full);
    let (of, most) = (Of { catalog: &id, sku: "a" }, PicturesMax { product: 2, catalog: 2 });
    assert_eq!(store.add_picture(of, &picture(b"1"), &[1, -127], most).await.unwrap(), Added::Done);
    assert_eq!(store.add_picture(of, &picture(b"0"), &[3, 4], most).await.unwrap(), Added::Done);
    assert_eq!(store.add_picture(of, &picture(b"1"), &[1, 2], most).await.unwrap(), Added::Known);
    assert_eq!(store.add_picture(Of { sku: "b", ..of }, &picture(b"1"), &[1], most).await.unwrap(), Added::Full);
    assert_eq!(store.add_picture(Of { sku: "x", ..of }, &picture(b"1"), &[1], most).await.unwrap(), Added::Gone);
    // A new name leaves the pictures alone.
    assert_eq!(store.put_product(&product("a", "Another"), 2).await.unwrap(), Put::Changed);
    let told = Product { pictures: vec![picture(b"1"), picture(b"0")], ..product("a", "Another") };
    assert_eq!(store.product(&id, "a").await.unwrap(), Some(told.clone()));
    assert_eq!(store.products(&id, "", 9).await.unwrap(), [told.clone(), product("b", "B")]);
    assert_eq!(store.products(&id, "", 1).await.unwrap(), [told]);
    assert_eq!(store.products(&id, "a", 9).await.unwrap(), [product("b", "B")]);
    let counted = Catalog { id: id.clone(), products: 2, pictures: 2 };
    assert_eq!(store.catalog(&id).await.unwrap().as_ref(), Some(&counted));
    assert_eq!(store.catalogs().await.unwrap(), [counted]);
    let shown = store.shown(&id).await.unwrap();
    assert_eq!(shown.iter().map(|shown| &shown.looks[..]).collect::<Vec<_>>(), [&[1, -127][..], &[3, 4]]);
    assert_eq!((shown[0].sku.as_str(), shown[0].name.as_str()), ("a", "Another"));
    let by = |version: &str| Embedder { model: "m".into(), version: version.into() };
    assert_eq!(shown[0].embedder, by("1"));
    // All of them, page by page; and one is looked at by another model.
    let all = store.pictures(None, 9).await.unwrap();
    let mut ids = [Sha256::of(b"0"), Sha256::of(b"1")];
    ids.sort_by_key(Sha256::to_string);
    assert_eq!(
        all.iter().map(|kept| (kept.sku.as_str(), kept.picture.id)).collect::<Vec<_>>(),
        ids.map(|id| ("a", id))
    );
    assert_eq!(store.pictures(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.pictures(Some(&all[0]), 9).await.unwrap(), all[1..]);
    let anew = ProductPicture { version: "2".into(), ..picture(b"0") };
    assert!(store.portray(of, &anew, &[5]).await.unwrap());
    assert!(!store.portray(Of { sku: "b", ..of }, &anew, &[5]).await.unwrap());
    let shown = store.shown(&id).await.unwrap();
    assert_eq!((&shown[1].looks[..], &shown[1].embedder), (&[5][..], &by("2")));
    assert_eq!(store.product(&id, "a").await.unwrap().unwrap().pictures, [picture(b"1"), anew]);
    // What is deleted takes its pictures with it.
    assert!(store.delete_picture(of, Sha256::of(b"1")).await.unwrap());
    assert!(!store.delete_picture(of, Sha256::of(b"1")).await.unwrap());
    assert!(store.delete_product(&id, "a").await.unwrap() && !store.delete_product(&id, "a").await.unwrap());
    assert!(store.shown(&id).await.unwrap().is_empty());
    assert!(store.delete_catalog(&id).await.unwrap() && !store.delete_catalog(&id).await.unwrap());
    assert!(store.catalogs().await.unwrap().is_empty());
}
