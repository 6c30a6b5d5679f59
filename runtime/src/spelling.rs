//! What was meant by a word that is not known.

/// The known word that `word` is a misspelling of, if it is near to one.
pub fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase();
    let near = known.iter().map(|known| (distance(&word, &known.to_lowercase()), *known));
    near.filter(|(distance, known)| *distance <= known.len().div_ceil(3)).min().map(|(_, known)| known)
}

/// How many letters must be added, taken or changed to make `b` of `a`, of which the first hundred count.
pub fn distance(a: &str, b: &str) -> usize {
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
}
