//! The policy in a file of its own, joined with what `[policy]` says: a key that stands in both is an error, never a guess.

use super::{CONFIG_BYTES_MAX, ConfigError, parse_detail};
use iaso_engine::policy::Policy;
use serde::Deserialize as _;
use std::path::Path;
use toml::{Table, Value};

/// The policy of `[policy]` in the configuration's `text` and of the file together.
pub(super) fn join(text: &str, file: &Path) -> Result<Policy, ConfigError> {
    let read = |source| ConfigError::Read {
        path: file.to_owned(),
        source,
    };
    let parse = |error: &toml::de::Error| ConfigError::Parse {
        path: file.to_owned(),
        detail: parse_detail(error),
    };
    let invalid = |what: String| ConfigError::Invalid {
        path: file.to_owned(),
        what,
    };
    let size = std::fs::metadata(file).map_err(read)?.len();
    if size > CONFIG_BYTES_MAX {
        return Err(invalid(format!(
            "it has {size} bytes, more than 1 MiB: is this the right file?"
        )));
    }
    let own = std::fs::read_to_string(file).map_err(read)?;
    // By itself first: so that an error names a line of this file.
    toml::from_str::<Policy>(&own).map_err(|error| parse(&error))?;
    let mut joined: Table = toml::from_str(&own).map_err(|error| parse(&error))?;
    let whole: Table = toml::from_str(text).map_err(|error| parse(&error))?;
    if let Some(Value::Table(inline)) = whole.get("policy") {
        for (key, value) in inline {
            if joined.insert(key.clone(), value.clone()).is_some() {
                return Err(invalid(format!(
                    "{key} stands here and in [policy] of the configuration: remove it from one of them"
                )));
            }
        }
    }
    Policy::deserialize(Value::Table(joined)).map_err(|error| parse(&error))
}
