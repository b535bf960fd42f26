//! The stored first-boot scripts of the account.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::Refusal;

/// The smaller reading of the published "48 KB".
const SCRIPT_BYTES_MAX: usize = 48_000;

#[derive(Debug, Clone)]
struct Script {
    name: String,
    content: String,
    at: String,
}

/// All scripts.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    stored: BTreeMap<u64, Script>,
    last_id: u64,
}

impl Scripts {
    pub(super) fn all(&self) -> Vec<(String, String)> {
        self.stored
            .values()
            .map(|script| (script.name.clone(), script.content.clone()))
            .collect()
    }

    pub(super) fn list(&self) -> Vec<Value> {
        self.stored
            .iter()
            .map(|(id, script)| script.shown(*id))
            .collect()
    }

    pub(super) fn get(&self, id: u64) -> Result<Value, Refusal> {
        self.stored
            .get(&id)
            .map(|script| script.shown(id))
            .ok_or_else(Refusal::not_found)
    }

    pub(super) fn content(&self, id: u64) -> Option<String> {
        self.stored.get(&id).map(|script| script.content.clone())
    }

    pub(super) fn create(&mut self, body: &Value, at: String) -> Result<Value, Refusal> {
        let script = Script::read(body, at)?;
        self.last_id += 1;
        let shown = script.shown(self.last_id);
        self.stored.insert(self.last_id, script);
        Ok(shown)
    }

    pub(super) fn update(&mut self, id: u64, body: &Value, at: String) -> Result<Value, Refusal> {
        let stored = self.stored.get_mut(&id).ok_or_else(Refusal::not_found)?;
        *stored = Script::read(body, at)?;
        Ok(stored.shown(id))
    }

    pub(super) fn delete(&mut self, id: u64) -> Result<Value, Refusal> {
        self.stored.remove(&id).ok_or_else(Refusal::not_found)?;
        Ok(json!({ "message": "Request accepted" }))
    }
}

impl Script {
    fn read(body: &Value, at: String) -> Result<Self, Refusal> {
        let text = |field: &str| match body.get(field).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            Some(_) | None => Err(Refusal::invalid(
                field,
                &format!("The {field} field is required."),
            )),
        };
        let (name, content) = (text("name")?, text("content")?);
        if content.len() > SCRIPT_BYTES_MAX {
            return Err(Refusal::invalid(
                "content",
                "The content field must not be greater than 48 kilobytes.",
            ));
        }
        Ok(Self { name, content, at })
    }

    fn shown(&self, id: u64) -> Value {
        json!({ "id": id, "name": self.name, "content": self.content, "created_at": self.at, "updated_at": self.at })
    }
}
