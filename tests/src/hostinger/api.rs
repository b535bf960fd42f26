//! The API's calls: which path is which, what a body must hold, and what is answered.

use std::{collections::BTreeMap, sync::Arc};

use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    CallKind,
    answer::{Refusal, page},
    lifecycle::{self, Order},
    world::World,
};

/// A call that was read from a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) kind: CallKind,
    /// The machine or the script.
    id: u64,
    /// The action.
    item: u64,
}

impl Route {
    /// Finds out what a request asks for. Unknown paths, and ids that are no numbers, are `Other`.
    pub(super) fn read(method: &Method, path: &str) -> Self {
        let parts: Vec<&str> = path
            .strip_prefix("/api/vps/v1/")
            .unwrap_or_default()
            .split('/')
            .collect();
        let known = match (method.as_str(), parts.as_slice()) {
            ("GET", ["templates"]) => Some((CallKind::Templates, "0", "0")),
            (verb, ["virtual-machines", rest @ ..]) => machine_route(verb, rest),
            (verb, ["post-install-scripts", rest @ ..]) => script_route(verb, rest),
            _ => None,
        };
        let read = known.and_then(|(kind, id, item)| {
            Some(Self {
                kind,
                id: id.parse().ok()?,
                item: item.parse().ok()?,
            })
        });
        read.unwrap_or(Self {
            kind: CallKind::Other,
            id: 0,
            item: 0,
        })
    }
}

fn machine_route<'a>(verb: &str, rest: &[&'a str]) -> Option<(CallKind, &'a str, &'a str)> {
    let (kind, id, item) = match (verb, rest) {
        ("GET", []) => (CallKind::ListMachines, "0", "0"),
        ("GET", [id]) => (CallKind::GetMachine, *id, "0"),
        ("POST", [id, "start"]) => (CallKind::Start, *id, "0"),
        ("POST", [id, "stop"]) => (CallKind::Stop, *id, "0"),
        ("POST", [id, "restart"]) => (CallKind::Restart, *id, "0"),
        ("POST", [id, "recreate"]) => (CallKind::Recreate, *id, "0"),
        ("PUT", [id, "root-password"]) => (CallKind::RootPassword, *id, "0"),
        ("POST", [id, "recovery"]) => (CallKind::RecoveryStart, *id, "0"),
        ("DELETE", [id, "recovery"]) => (CallKind::RecoveryStop, *id, "0"),
        ("GET", [id, "metrics"]) => (CallKind::Metrics, *id, "0"),
        ("GET", [id, "actions"]) => (CallKind::ListActions, *id, "0"),
        ("GET", [id, "actions", action]) => (CallKind::GetAction, *id, *action),
        _ => return None,
    };
    Some((kind, id, item))
}

fn script_route<'a>(verb: &str, rest: &[&'a str]) -> Option<(CallKind, &'a str, &'a str)> {
    let (kind, id) = match (verb, rest) {
        ("GET", []) => (CallKind::ListScripts, "0"),
        ("POST", []) => (CallKind::CreateScript, "0"),
        ("GET", [id]) => (CallKind::GetScript, *id),
        ("PUT", [id]) => (CallKind::UpdateScript, *id),
        ("DELETE", [id]) => (CallKind::DeleteScript, *id),
        _ => return None,
    };
    Some((kind, id, "0"))
}

/// Answers a call from somebody with the right token.
pub(super) async fn answer(
    world: &Arc<World>,
    route: Route,
    query: &BTreeMap<String, String>,
    body: &Value,
) -> Result<Value, Refusal> {
    match route.kind {
        CallKind::Start
        | CallKind::Stop
        | CallKind::Restart
        | CallKind::Recreate
        | CallKind::RootPassword
        | CallKind::RecoveryStart
        | CallKind::RecoveryStop => {
            if !world.ids().contains(&route.id) {
                return Err(Refusal::not_found());
            }
            let order = read_order(world, route.kind, body)?;
            return lifecycle::take(world, route.id, order).await;
        }
        CallKind::ListMachines
        | CallKind::GetMachine
        | CallKind::ListActions
        | CallKind::GetAction
        | CallKind::Metrics
        | CallKind::ListScripts
        | CallKind::CreateScript
        | CallKind::GetScript
        | CallKind::UpdateScript
        | CallKind::DeleteScript
        | CallKind::Templates
        | CallKind::Other => {}
    }
    let answer = answer_at_once(world, route, query, body).await?;
    world.state().calls.count_taken(route.kind);
    Ok(answer)
}

async fn answer_at_once(
    world: &World,
    route: Route,
    query: &BTreeMap<String, String>,
    body: &Value,
) -> Result<Value, Refusal> {
    let Route { kind, id, item } = route;
    let number = || {
        query
            .get("page")
            .and_then(|page| page.parse().ok())
            .unwrap_or(1)
    };
    let per_page = world.options.per_page;
    let now = world.options.clock.text();
    match kind {
        CallKind::ListMachines => {
            let mut all = Vec::new();
            for id in world.ids() {
                all.extend(world.machine(id).await);
            }
            Ok(Value::Array(all))
        }
        CallKind::GetMachine => world.machine(id).await.ok_or_else(Refusal::not_found),
        CallKind::ListActions => {
            let state = world.state();
            let vm = state.vms.get(&id).ok_or_else(Refusal::not_found)?;
            let newest_first: Vec<_> = vm
                .actions
                .iter()
                .rev()
                .map(super::world::Action::shown)
                .collect();
            Ok(page(&newest_first, number(), per_page))
        }
        CallKind::GetAction => {
            let mut state = world.state();
            let action = state.vms.get_mut(&id).and_then(|vm| vm.action(item));
            action
                .map(|action| action.shown())
                .ok_or_else(Refusal::not_found)
        }
        CallKind::Metrics => {
            let (from, to) = (second(query, "date_from")?, second(query, "date_to")?);
            world.sample(id).await;
            world.metrics(id, from, to).ok_or_else(Refusal::not_found)
        }
        CallKind::ListScripts => Ok(page(&world.state().scripts.list(), number(), per_page)),
        CallKind::CreateScript => world.state().scripts.create(body, now),
        CallKind::GetScript => world.state().scripts.get(id),
        CallKind::UpdateScript => world.state().scripts.update(id, body, now),
        CallKind::DeleteScript => world.state().scripts.delete(id),
        CallKind::Templates => Ok(templates(world)),
        CallKind::Start
        | CallKind::Stop
        | CallKind::Restart
        | CallKind::Recreate
        | CallKind::RootPassword
        | CallKind::RecoveryStart
        | CallKind::RecoveryStop
        | CallKind::Other => Err(Refusal::not_found()),
    }
}

fn templates(world: &World) -> Value {
    let all = world.options.templates.iter();
    all.map(
        |(id, name)| json!({ "id": id, "name": name, "description": "", "documentation": null }),
    )
    .collect()
}

fn second(query: &BTreeMap<String, String>, field: &str) -> Result<i64, Refusal> {
    let text = query
        .get(field)
        .ok_or_else(|| Refusal::invalid(field, &format!("The {field} field is required.")))?;
    let at = text.parse::<Timestamp>();
    at.map(Timestamp::as_second)
        .map_err(|_| Refusal::invalid(field, &format!("The {field} is not a valid date.")))
}

fn read_order(world: &World, kind: CallKind, body: &Value) -> Result<Order, Refusal> {
    match kind {
        CallKind::Start => Ok(Order::Start),
        CallKind::Stop => Ok(Order::Stop),
        CallKind::Restart => Ok(Order::Restart),
        CallKind::RecoveryStop => Ok(Order::RecoveryStop),
        CallKind::RecoveryStart => password(world, body, "root_password")?
            .map(Order::RecoveryStart)
            .ok_or_else(|| {
                Refusal::invalid("root_password", "The root password field is required.")
            }),
        CallKind::RootPassword => password(world, body, "password")?
            .map(Order::RootPassword)
            .ok_or_else(|| Refusal::invalid("password", "The password field is required.")),
        CallKind::Recreate => read_recreate(world, body),
        CallKind::ListMachines
        | CallKind::GetMachine
        | CallKind::ListActions
        | CallKind::GetAction
        | CallKind::Metrics
        | CallKind::ListScripts
        | CallKind::CreateScript
        | CallKind::GetScript
        | CallKind::UpdateScript
        | CallKind::DeleteScript
        | CallKind::Templates
        | CallKind::Other => Err(Refusal::not_found()),
    }
}

fn read_recreate(world: &World, body: &Value) -> Result<Order, Refusal> {
    let template = body.get("template_id").and_then(Value::as_u64);
    let template = template
        .ok_or_else(|| Refusal::invalid("template_id", "The template id field is required."))?;
    if !world
        .options
        .templates
        .iter()
        .any(|(id, _)| *id == template)
    {
        return Err(Refusal::invalid(
            "template_id",
            "The selected template id is invalid.",
        ));
    }
    let password = password(world, body, "password")?;
    let unknown = || {
        Refusal::invalid(
            "post_install_script_id",
            "The selected post install script id is invalid.",
        )
    };
    let script = match body.get("post_install_script_id") {
        None | Some(Value::Null) => None,
        Some(id) => {
            let content = id.as_u64().and_then(|id| world.state().scripts.content(id));
            Some(content.ok_or_else(unknown)?)
        }
    };
    Ok(Order::Recreate {
        template,
        password,
        script,
    })
}

fn password(world: &World, body: &Value, field: &str) -> Result<Option<String>, Refusal> {
    let text = match body.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => {
            return Err(Refusal::invalid(
                field,
                "The password field must be a string.",
            ));
        }
    };
    let has = |class: fn(char) -> bool| text.chars().any(class);
    if text.chars().count() < 12 {
        return Err(Refusal::invalid(
            field,
            "The password field must be at least 12 characters.",
        ));
    }
    if !(has(char::is_uppercase) && has(char::is_lowercase) && has(char::is_numeric)) {
        return Err(Refusal::invalid(
            field,
            "The password field must contain upper case, lower case and a number.",
        ));
    }
    if world.options.leaked.contains(text) {
        let reason =
            "The given password has appeared in a data leak. Please choose a different password.";
        return Err(Refusal::invalid(field, reason));
    }
    Ok(Some(text.clone()))
}
