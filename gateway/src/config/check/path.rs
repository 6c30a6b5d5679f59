//! Where a mistake is, and what may have been meant.

use std::fmt;

/// A place in a document: `lenses.products.fields.price`, `transform[1]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(String);

impl Path {
    pub(super) const fn root() -> Self {
        Self(String::new())
    }

    /// The value of `key` there. A key that would be read as several is quoted.
    pub(super) fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty()
            && key.len() <= 200
            && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$'));
        let shown: String = key.chars().take(200).collect();
        let shown = if plain { shown } else { format!("{shown:?}") };
        if self.0.is_empty() { Self(shown) } else { Self(format!("{}.{shown}", self.0)) }
    }

    /// The item at `index` there.
    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The known word that `word` is a misspelling of, if it is near to one.
pub(super) fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let near = known.iter().map(|known| (distance(&word, &known.to_lowercase()), *known));
    near.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min().map(|(_, known)| known)
}

/// How many letters must be added, taken or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (line, left) in a.chars().take(100).enumerate() {
        let mut previous = line + 1;
        let mut next = vec![previous];
        for ((above_left, above), right) in row.iter().zip(row.iter().skip(1)).zip(b.chars()) {
            let changed = above_left + usize::from(left != right);
            previous = changed.min(above + 1).min(previous + 1);
            next.push(previous);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_recognised_and_a_stranger_is_not() {
        assert_eq!(closest("Fields", &["table", "fields"]), Some("fields"));
        assert_eq!(closest("primarykey", &["primaryKey"]), Some("primaryKey"));
        assert_eq!(closest("trasform", &["transform", "type"]), Some("transform"));
        assert_eq!(closest("banana", &["transform", "type", "from"]), None);
    }

    #[test]
    fn keys_that_would_be_misread_are_quoted() {
        let path = Path::root().key("lenses").key("a.b").key("fields").index(2);
        assert_eq!(path.to_string(), r#"lenses."a.b".fields[2]"#);
    }
}
