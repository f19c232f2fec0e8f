//! Appearances are compared with the catalogue that their stream names: as they are written, and again when an app asks for
//! it. What is compared, and how, is `sights/products.rs`'s business.

use millrace_proto::{
    CatalogId,
    offer::Capability,
    profile::{Products, Profile},
};

use crate::{
    sights::products::compare,
    store::{
        Result, Store,
        events::Happened,
        marks::Mark,
        record::Stream,
        reports::{Of, PRODUCTS},
    },
};

/// A thing is to be seen; the event's body is its entry on the timeline, as far as it has come.
pub const APPEARED: &str = "product.appeared";
/// Marks that are read and written at once.
const PAGE_MARKS: u32 = 500;

/// The catalogue that a profile names.
pub fn catalog(profile: &Profile) -> Option<CatalogId> {
    profile.products.as_ref().and_then(Products::catalog_id)
}

/// Says of marks which product each is, before they are written.
pub async fn name(store: &dyn Store, profile: &Profile, marks: &mut [Mark]) -> Result<()> {
    let (Some(catalog), true) = (catalog(profile), marks.iter().any(is_thing)) else { return Ok(()) };
    let shown = store.shown(&catalog).await?;
    for mark in marks.iter_mut().filter(|mark| is_thing(mark)) {
        mark.entry.product = compare(&mark.looks, mark.entry.embedder.as_ref(), &shown);
    }
    Ok(())
}

/// What apps are told of marks that are about to be written: that a thing is to be seen that was not told before, or, where
/// the stream names a catalogue, one of its products.
pub async fn news(store: &dyn Store, profile: &Profile, marks: &[Mark], now_ms: u64) -> Result<Vec<Happened>> {
    let mut news = Vec::new();
    for mark in marks.iter().filter(|mark| is_thing(mark)) {
        let start_ms = mark.entry.start_ms;
        let there = store.marks(mark.of(), start_ms, start_ms.saturating_add(1), PAGE_MARKS).await?;
        let before = there.iter().find(|before| before.number == mark.number);
        let sku = |mark: &Mark| mark.entry.product.as_ref().and_then(|product| product.sku.clone());
        let is_new = match (catalog(profile), sku(mark)) {
            (None, _) => before.is_none(),
            (Some(_), None) => false,
            (Some(_), known) => before.and_then(sku) != known,
        };
        if is_new {
            news.push(Happened::new(APPEARED, &mark.stream, now_ms, &mark.entry));
        }
    }
    Ok(news)
}

fn is_thing(mark: &Mark) -> bool {
    mark.entry.kind == Capability::Products
}

/// What came of comparing a stream's appearances anew.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Renamed {
    /// Appearances that were compared.
    pub appearances: u64,
    /// Those whose product is another now, or is as likely as before no more; as they are now.
    pub changed: Vec<Mark>,
}

/// Compares all appearances of a stream that nothing is added to any more with the catalogue as it is now. Safe to repeat.
pub async fn again(store: &dyn Store, stream: &Stream, catalog: &CatalogId) -> Result<Renamed> {
    let shown = store.shown(catalog).await?;
    let of = Of { stream: &stream.id, kind: Capability::Products, track: PRODUCTS };
    let (mut renamed, mut from_ms) = (Renamed::default(), i64::MIN);
    loop {
        let marks = store.marks(of, from_ms, i64::MAX, PAGE_MARKS).await?;
        let Some(last_ms) = marks.last().map(|mark| mark.entry.start_ms) else { return Ok(renamed) };
        let whole = marks.len() < PAGE_MARKS as usize;
        // Those that begin with the last one may not all be here, and are read again with it; unless all begin at once.
        let first_ms = marks[0].entry.start_ms;
        let here = |mark: &Mark| whole || mark.entry.start_ms < last_ms || first_ms == last_ms;
        let mut changed = Vec::new();
        // What began before reaches into this page, and was compared with the one before.
        let begins = |mark: &Mark| mark.entry.start_ms >= from_ms;
        for mut mark in marks.into_iter().filter(|mark| begins(mark) && here(mark)) {
            renamed.appearances += 1;
            let product = compare(&mark.looks, mark.entry.embedder.as_ref(), &shown);
            if product != mark.entry.product {
                mark.entry.product = product;
                changed.push(mark);
            }
        }
        if !changed.is_empty() {
            store.name_marks(&changed).await?;
        }
        renamed.changed.extend(changed);
        if whole {
            return Ok(renamed);
        }
        from_ms = if first_ms == last_ms { last_ms + 1 } else { last_ms };
    }
}

#[cfg(test)]
mod tests {
    use millrace_proto::{
        Sha256,
        api::{Product, ProductPicture, Source},
        profile::Choice,
        timeline::Entry,
        vision::Embedder,
    };

    use super::*;
    use crate::store::{
        catalogs::{Catalogs, Of as Made, PicturesMax},
        marks::Marks,
        reports::{Chain, Reports},
        sqlite::SqliteStore,
    };

    /// A product of the catalogue that looks like this.
    async fn add(store: &SqliteStore, sku: &str, looks: &[i8]) {
        let catalog: CatalogId = "shop".parse().unwrap();
        let (sku, name) = (sku.to_owned(), format!("the {sku}"));
        let product = Product { catalog, sku, name, url: None, created_ms: 0, pictures: vec![] };
        store.put_product(&product, 9).await.unwrap();
        let picture = ProductPicture {
            id: Sha256::of(product.sku.as_bytes()),
            kind: "image/png".into(),
            bytes: 1,
            width: 1,
            height: 1,
            model: "m".into(),
            version: "1".into(),
        };
        let of = Made { catalog: &product.catalog, sku: &product.sku };
        store.add_picture(of, &picture, looks, PicturesMax { product: 9, catalog: 9 }).await.unwrap();
    }

    #[tokio::test]
    async fn things_get_their_product_once_and_anew_when_asked() {
        let store = SqliteStore::in_memory().await.unwrap();
        add(&store, "CUP", &[100, 0]).await;
        let mut profile = Choice::default().resolve().unwrap();
        profile.products = Some(Products { catalog: Some("shop".into()), ..Products::default() });
        let stream = Stream::new("s".parse().unwrap(), "", Source::File, profile.clone(), 0);
        assert!(store.create_stream(&stream).await.unwrap());
        let mark = |number: u64, looks: &[i8]| Mark {
            stream: stream.id.clone(),
            number,
            changed: 0,
            entry: Entry {
                number: Some(number),
                embedder: Some(Embedder { model: "m".into(), version: "1".into() }),
                ..Entry::blank(Capability::Products, PRODUCTS, 5_000, 6_000)
            },
            looks: looks.to_vec(),
        };
        let mut marks = [mark(0, &[100, 3]), mark(1, &[2, 100]), mark(2, &[])];
        name(&store, &profile, &mut marks).await.unwrap();
        let sku = |mark: &Mark| mark.entry.product.as_ref().map(|product| product.sku.clone());
        assert_eq!(marks.each_ref().map(sku), [Some(Some("CUP".into())), Some(None), None]);
        // Apps are told of the cup alone, and not again when it is longer to be seen.
        let told = news(&store, &profile, &marks, 7).await.unwrap();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].kind.as_str(), &told[0].body["product"]["sku"]), (APPEARED, &"CUP".into()));
        let open = &store.chains(&stream.id).await.unwrap()[0];
        let next = Chain { number: 1, open: false, ..open.clone() };
        assert!(store.step_chain(0, &next, None, &marks).await.unwrap());
        assert!(news(&store, &profile, &marks, 7).await.unwrap().is_empty());
        let bare = Choice::default().resolve().unwrap();
        assert!(news(&store, &bare, &marks, 7).await.unwrap().is_empty());
        assert_eq!(news(&store, &bare, &[mark(3, &[])], 7).await.unwrap().len(), 1);

        let catalog = "shop".parse().unwrap();
        let same = again(&store, &stream, &catalog).await.unwrap();
        assert_eq!((same.appearances, same.changed), (3, vec![]));
        add(&store, "HAT", &[0, 100]).await;
        let other = again(&store, &stream, &catalog).await.unwrap();
        assert_eq!(other.changed.iter().map(sku).collect::<Vec<_>>(), [Some(Some("HAT".into()))]);
        let of = Of { stream: &stream.id, kind: Capability::Products, track: PRODUCTS };
        let written = store.marks(of, 0, 9_000, 9).await.unwrap();
        assert_eq!(sku(&written[1]), Some(Some("HAT".into())));
        assert_eq!(again(&store, &stream, &catalog).await.unwrap().changed, []);
    }
}
