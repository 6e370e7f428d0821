//! grpc.health.v1.Health/Check, in as many bytes as it has.

use crate::body::Body;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
};

/// The method's path.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// `HealthCheckResponse { status: SERVING }` or `NOT_SERVING`: not compressed, two bytes long, field 1 as a varint.
pub(crate) fn health(serving: bool) -> Response<Body> {
    let message = if serving { &[0, 0, 0, 0, 2, 8, 1] } else { &[0, 0, 0, 0, 2, 8, 2] };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(Body::Message(Some(Bytes::from_static(message)), Some(trailers)));
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
