//! Search where the engine has none: the share of the query's words that a row's texts contain.

use protocol::{Invalid, RawObject, SearchOptions};

/// Scores rows as [`protocol::SearchMethod::Containment`] says.
#[derive(Debug, Clone)]
pub struct Ranker {
    words: Vec<String>,
    phrase: String,
    fields: Option<Vec<String>>,
}

impl Ranker {
    /// For one search.
    pub fn new(options: &SearchOptions) -> Self {
        Self { words: options.words(), phrase: options.phrase(), fields: options.fields.clone() }
    }

    /// The score of a row, above 0 to 1; nothing when it holds no word of the query. Without fields every text of the row
    /// is looked into, but no text within a nested value.
    ///
    /// # Errors
    /// A text that is not valid JSON.
    pub fn score(&self, row: &RawObject<'_>) -> Result<Option<f64>, Invalid> {
        let mut found = vec![false; self.words.len()];
        let mut phrase = false;
        for (name, raw) in row.iter() {
            let asked = self.fields.as_ref().is_none_or(|fields| fields.iter().any(|field| field == name));
            if !asked || !raw.get().starts_with('"') {
                continue;
            }
            let text = row.text(name)?.unwrap_or_default().to_lowercase();
            phrase |= text.contains(&self.phrase);
            for (word, found) in self.words.iter().zip(&mut found) {
                *found |= text.contains(word.as_str());
            }
        }
        Ok(score(found.iter().filter(|found| **found).count(), phrase, self.words.len()))
    }
}

/// The score of a row with so many of `words` words, and perhaps the whole phrase in one column.
fn score(found: usize, phrase: bool, words: usize) -> Option<f64> {
    let count = |number: usize| u32::try_from(number).map_or(f64::INFINITY, f64::from);
    (found > 0).then(|| count(found + usize::from(phrase)) / count(words + 1))
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn scored(options: &str, row: &str) -> Option<f64> {
        let raw = RawValue::from_string(options.to_owned()).unwrap();
        let options = SearchOptions::parse(&raw).unwrap();
        Ranker::new(&options).score(&RawObject::from_text(row).unwrap()).unwrap()
    }

    #[test]
    fn the_score_is_the_share_of_words_and_the_phrase_is_one_more() {
        let shoe = r#"{"query":"red shoe"}"#;
        assert_eq!(scored(shoe, r#"{"a":"A Red Shoe!","n":5}"#), Some(1.0));
        assert_eq!(scored(shoe, r#"{"a":"shoes","b":"INFRARED"}"#), Some(2.0 / 3.0));
        assert_eq!(scored(shoe, r#"{"a":"shoe","b":null}"#), Some(1.0 / 3.0));
        assert_eq!(scored(shoe, r#"{"a":"hat","b":{"c":"red shoe"}}"#), None);
        assert_eq!(scored(r#"{"query":"ÜNÏ"}"#, r#"{"a":"Ünïcode"}"#), Some(1.0));
    }

    #[test]
    fn only_the_fields_that_were_named_are_looked_into() {
        let row = r#"{"a":"red","b":"blue"}"#;
        assert_eq!(scored(r#"{"query":"red","fields":["b"]}"#, row), None);
        assert_eq!(scored(r#"{"query":"red","fields":["a","b"]}"#, row), Some(1.0));
    }
}
