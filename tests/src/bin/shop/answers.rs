//! What the shop answers.

use crate::{Failed, customers::Customers};
use handover_tests::service::Drain;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONNECTION, HeaderName, HeaderValue},
};

/// Longest address, in bytes.
const MAX_ADDRESS: usize = 1024;

static X_VERSION: HeaderName = HeaderName::from_static("x-version");

/// The service's state, shared by all connections.
#[derive(Debug)]
pub(crate) struct Shop {
    version: HeaderValue,
    customers: Customers,
    drain: Drain,
}

impl Shop {
    pub(crate) fn new(version: &str, customers: Customers, drain: Drain) -> Result<Self, Failed> {
        let version = HeaderValue::from_str(version).map_err(|error| format!("--version: {error}"))?;
        Ok(Self { version, customers, drain })
    }

    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    pub(crate) fn customers(&self) -> &Customers {
        &self.customers
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = self.asked(request).await;
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(X_VERSION.clone(), self.version.clone());
        // Asked last, so that an answer that took long knows it too.
        if self.drain.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn asked(&self, request: Request<Incoming>) -> (StatusCode, String) {
        let path = request.uri().path();
        if path == "/" || path == "/ready" {
            return match self.customers.ready().await {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(error) => failed(&error),
            };
        }
        let Some(id) = path.strip_prefix("/customers/").and_then(|id| id.parse::<i64>().ok()) else {
            return (StatusCode::NOT_FOUND, "no such path\n".to_owned());
        };
        match *request.method() {
            Method::GET => match self.customers.address(id).await {
                Ok(Some(address)) => (StatusCode::OK, address),
                Ok(None) => (StatusCode::NOT_FOUND, "no such customer\n".to_owned()),
                Err(error) => failed(&error),
            },
            Method::PUT => {
                let body = Limited::new(request.into_body(), MAX_ADDRESS).collect().await;
                let Some(address) =
                    body.ok().and_then(|body| String::from_utf8(body.to_bytes().to_vec()).ok())
                else {
                    return (StatusCode::BAD_REQUEST, "no address\n".to_owned());
                };
                match self.customers.write(id, &address).await {
                    Ok(()) => (StatusCode::OK, "written\n".to_owned()),
                    Err(error) => failed(&error),
                }
            }
            _ => (StatusCode::METHOD_NOT_ALLOWED, "GET or PUT\n".to_owned()),
        }
    }
}

fn failed(error: &sqlx::Error) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}
