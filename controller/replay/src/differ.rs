//! Where two values differ first: a path and both sides, for a person.

use serde_json::Value;

/// Longest value that is shown.
const SHOWN_CHARS_MAX: usize = 300;

/// The first place where two JSON values differ, and what stands there on each side. `None`: they are the same.
#[must_use]
pub fn first(journal: &Value, replay: &Value) -> Option<(String, String, String)> {
    walk(journal, replay, "")
}

fn walk(a: &Value, b: &Value, path: &str) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let keys = left
                .keys()
                .chain(right.keys().filter(|k| !left.contains_key(*k)));
            for key in keys {
                let (one, other) = (left.get(key), right.get(key));
                let found = walk(
                    one.unwrap_or(&Value::Null),
                    other.unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                );
                if found.is_some() {
                    return found;
                }
            }
            None
        }
        (Value::Array(left), Value::Array(right)) => {
            for index in 0..left.len().max(right.len()) {
                let (one, other) = (left.get(index), right.get(index));
                let found = walk(
                    one.unwrap_or(&Value::Null),
                    other.unwrap_or(&Value::Null),
                    &format!("{path}[{index}]"),
                );
                if found.is_some() {
                    return found;
                }
            }
            None
        }
        (a, b) if a == b => None,
        (a, b) => Some((path.trim_start_matches('.').to_owned(), shown(a), shown(b))),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_has_a_path_and_both_sides() {
        let a = json!({"waiting": [{"patience": {"until": 5, "of": "x"}}], "z": 1});
        let b = json!({"waiting": [{"patience": {"until": 6, "of": "x"}}], "z": 2});
        let expect = ("waiting[0].patience.until".into(), "5".into(), "6".into());
        assert_eq!(first(&a, &b), Some(expect));
        assert_eq!(first(&a, &a), None);
        let shorter = json!({"waiting": [], "z": 1});
        assert_eq!(first(&a, &shorter).unwrap().2, "nothing");
    }
}
