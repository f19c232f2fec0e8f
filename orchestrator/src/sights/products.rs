//! Which product of an app's catalogue a thing is, by what both look like. Pure.
//!
//! The score is calibrated: of things that get 0.8, about eight of ten are that product. Its constants are fitted by
//! `tests/e2e/products/fit.py` to some forty pictures of a dozen things, and tried on others; that is little, and says
//! nothing of products that differ in a label alone.

use millrace_proto::vision::{Embedder, Product};

use crate::store::catalogs::Shown;

/// What is less likely to be a product than this is none that is known: more often right than wrong.
pub const KNOWN: f32 = 0.5;

/// log(p / (1 - p)) = COSINE x cosine + LEAD x (cosine - the next product's cosine) + CONSTANT
const COSINE: f32 = 11.1;
const LEAD: f32 = 4.5;
const CONSTANT: f32 = -8.4;
/// What two things that have nothing to do with each other may well have in common: stands for the next product where
/// that is less alike, or where there is none.
const OTHERS: f32 = 0.45;

/// The product that a thing is likest to; unknown below [`KNOWN`]. Nothing where nothing can be compared: it has no looks, or
/// the catalogue no pictures that the same model looked at.
pub fn compare(looks: &[i8], embedder: Option<&Embedder>, catalog: &[Shown]) -> Option<Product> {
    let mut first: Option<(&Shown, f32)> = None;
    let mut next = OTHERS;
    let by_same = |shown: &&Shown| Some(&shown.embedder) == embedder && shown.looks.len() == looks.len();
    for shown in catalog.iter().filter(by_same).filter(|_| !looks.is_empty()) {
        let alike = cosine(looks, &shown.looks);
        first = match first {
            Some((best, least)) if alike <= least => {
                if shown.sku != best.sku {
                    next = next.max(alike);
                }
                first
            }
            Some((best, least)) => {
                if shown.sku != best.sku {
                    next = next.max(least);
                }
                Some((shown, alike))
            }
            None => Some((shown, alike)),
        };
    }
    let (shown, alike) = first?;
    let score = 1.0 / (1.0 + (-(COSINE * alike + LEAD * (alike - next) + CONSTANT)).exp());
    let known = (score >= KNOWN).then_some(shown);
    Some(Product {
        sku: known.map(|shown| shown.sku.clone()),
        name: known.map(|shown| shown.name.clone()),
        url: known.and_then(|shown| shown.url.clone()),
        score,
    })
}

/// 1 for the same direction.
fn cosine(a: &[i8], b: &[i8]) -> f32 {
    // Sums of a thousand products of bytes fit.
    let product = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>() as f32;
    let lengths = (product(a, a) * product(b, b)).sqrt();
    if lengths > 0.0 { product(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sku: &str, looks: &[i8]) -> Shown {
        let (sku, name) = (sku.into(), format!("the {sku}"));
        Shown { sku, name, url: None, looks: looks.to_vec(), embedder: embedder("1") }
    }

    fn embedder(version: &str) -> Embedder {
        Embedder { model: "m".into(), version: version.into() }
    }

    fn compare(looks: &[i8], catalog: &[Shown]) -> Option<Product> {
        super::compare(looks, Some(&embedder("1")), catalog)
    }

    #[test]
    fn the_likest_product_is_told_by_its_best_picture() {
        let catalog = [shown("cup", &[0, 100]), shown("cup", &[100, 10]), shown("hat", &[-100, 20])];
        let told = compare(&[100, 0], &catalog).unwrap();
        assert_eq!((told.sku.as_deref(), told.name.as_deref()), (Some("cup"), Some("the cup")));
        assert!(told.score > 0.95, "{told:?}");
        // The order of the catalogue does not matter.
        let turned: Vec<_> = catalog.into_iter().rev().collect();
        assert_eq!(compare(&[100, 0], &turned).unwrap(), told);
    }

    #[test]
    fn two_alike_are_less_sure_and_what_is_like_none_is_unknown() {
        let twins = [shown("left", &[100, 62]), shown("right", &[100, -62])];
        let alone = compare(&[100, 0], &twins[..1]).unwrap();
        let between = compare(&[100, 0], &twins).unwrap();
        assert!(alone.sku.is_some() && between.score < alone.score, "{alone:?} {between:?}");
        let strange = compare(&[100, 0], &[shown("cup", &[10, 100])]).unwrap();
        assert!(strange.sku.is_none() && strange.name.is_none() && strange.score < 0.1, "{strange:?}");
    }

    #[test]
    fn where_nothing_can_be_compared_nothing_is_told() {
        assert!(compare(&[], &[shown("cup", &[])]).is_none());
        assert!(compare(&[1, 2], &[]).is_none());
        assert!(compare(&[1, 2], &[shown("cup", &[1, 2, 3])]).is_none());
        let cup = [shown("cup", &[1, 2])];
        assert!(super::compare(&[1, 2], Some(&embedder("2")), &cup).is_none(), "another model looked at it");
        assert!(super::compare(&[1, 2], None, &cup).is_none(), "nobody says which model looked at it");
        assert!(compare(&[0, 0], &[shown("cup", &[1, 2])]).unwrap().sku.is_none());
    }
}
