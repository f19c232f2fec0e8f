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
        marks::Mark,
        record::Stream,
        reports::{Of, PRODUCTS},
    },
};

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
        mark.entry.product = compare(&mark.looks, &shown);
    }
    Ok(())
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
        for mut mark in marks.into_iter().filter(here) {
            renamed.appearances += 1;
            let product = compare(&mark.looks, &shown);
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
