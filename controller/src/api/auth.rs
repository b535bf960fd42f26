//! Bearer tokens.

use crate::tokens::Token;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Admits calls that carry the token.
#[derive(Debug, Clone)]
pub(super) struct Bearer {
    token: Token,
    whose: &'static str,
}

impl Bearer {
    pub(super) fn new(token: Token, whose: &'static str) -> Self {
        Self { token, whose }
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let value = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let presented = value
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        if self.token.admits(presented) {
            return Ok(request);
        }
        let problem = if presented.is_empty() {
            "no token was sent"
        } else {
            "the token is wrong"
        };
        Err(Status::unauthenticated(format!(
            "{problem}: send the {whose} token, which lies in {whose}.token in the controller's data_dir",
            whose = self.whose
        )))
    }
}
