//! How a node is named in its certificate.

/// What stands before the node's name.
const SCHEME: &str = "iaso://node/";
/// Longest node name, in bytes: a DNS name's bound.
const NAME_BYTES_MAX: usize = 253;

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no node's name: 1 to 253 of a-z 0-9 - .")]
pub struct NameError(String);

/// The name that a certificate of this node carries.
///
/// # Errors
/// When it is no node's name.
pub fn node_uri(node: &str) -> Result<String, NameError> {
    if is_name(node) {
        Ok(format!("{SCHEME}{node}"))
    } else {
        Err(NameError(node.chars().take(NAME_BYTES_MAX).collect()))
    }
}

/// The node that such a name means; `None`: it means none.
#[must_use]
pub fn node_name(uri: &str) -> Option<&str> {
    uri.strip_prefix(SCHEME).filter(|node| is_name(node))
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_goes_there_and_back_and_nothing_else_is_one() {
        let uri = node_uri("srv7.example.net").expect("a name");
        assert_eq!(node_name(&uri), Some("srv7.example.net"));
        for bad in ["", "Styx", "a/b", "a b", &"x".repeat(254)] {
            assert!(node_uri(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "iaso://operator/styx",
            "iaso://node/",
            "iaso://node/a/../b",
            "styx",
        ] {
            assert_eq!(node_name(bad), None, "{bad:?}");
        }
    }
}
