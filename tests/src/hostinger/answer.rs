//! Answers in the API's shape.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

/// A refusal: a status, `{message, correlation_id}`, and for 422 `errors`.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    errors: Option<Value>,
    retry_after_secs: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, message: &str) -> Self {
        Self {
            status,
            message: message.to_owned(),
            errors: None,
            retry_after_secs: None,
        }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthenticated.")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn locked() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "Virtual machine is locked: another action is in progress",
        )
    }

    pub(super) fn rate_limited(retry_after_secs: Option<u64>) -> Self {
        Self {
            retry_after_secs,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Attempts.")
        }
    }

    pub(super) fn server_error(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, "Server Error")
    }

    pub(super) fn invalid(field: &str, reason: &str) -> Self {
        let errors = Some(json!({ field: [reason] }));
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
        }
    }

    pub(super) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let correlation_id = format!("lab-{:08x}", getrandom::u32().unwrap_or_default());
        let mut body = json!({ "message": self.message, "correlation_id": correlation_id });
        if let (Some(errors), Some(fields)) = (self.errors, body.as_object_mut()) {
            fields.insert("errors".to_owned(), errors);
        }
        let mut response = (self.status, Json(body)).into_response();
        if let Some(seconds) = self.retry_after_secs {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// One page of a list, as `{data, meta}`.
pub(super) fn page<T: Serialize>(items: &[T], page: usize, per_page: usize) -> Value {
    let page = page.max(1);
    let start = (page - 1).saturating_mul(per_page).min(items.len());
    let end = start.saturating_add(per_page).min(items.len());
    let data = items.get(start..end).unwrap_or_default();
    json!({
        "data": data,
        "meta": { "current_page": page, "per_page": per_page, "total": items.len() },
    })
}
