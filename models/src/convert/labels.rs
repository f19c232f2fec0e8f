//! Names of classes, from `WordNet`'s numbers of them in their order and a table of what each number is called.

use std::collections::BTreeMap;

/// One name a line: the first of the names that a class has.
pub(super) fn names(synsets: &[u8], lemmas: &[u8]) -> Result<String, String> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "its list of classes is no text".to_owned());
    let named: BTreeMap<&str, &str> = text(lemmas)?.lines().filter_map(|line| line.split_once(['\t', ' '])).collect();
    let name = |synset: &str| {
        let names = named.get(synset).ok_or_else(|| format!("the class {synset} has no name"))?;
        let first = names.split(',').next().unwrap_or_default().trim();
        Ok::<_, String>(format!("{first}\n"))
    };
    text(synsets)?.lines().map(str::trim).filter(|synset| !synset.is_empty()).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_first_name() {
        let lemmas = b"n2\ttabby, tabby cat\nn1\tcoffee mug\n";
        assert_eq!(names(b"n1\nn2\n", lemmas).unwrap(), "coffee mug\ntabby\n");
        assert!(names(b"n3\n", lemmas).unwrap_err().contains("n3"));
    }
}
