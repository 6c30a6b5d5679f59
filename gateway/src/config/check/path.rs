//! Where a mistake is.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_be_misread_are_quoted() {
        let path = Path::root().key("lenses").key("a.b").key("fields").index(2);
        assert_eq!(path.to_string(), r#"lenses."a.b".fields[2]"#);
    }
}
