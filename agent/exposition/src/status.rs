//! Whether a series counts requests that failed, as its labels say.

use crate::text::Label;

/// Labels that hold a status, by what client libraries and frameworks call it; the first that holds one is it.
///
/// `code` and `method` are those of client_golang's promhttp; `status` of Micrometer (Spring Boot, Quarkus), Flask, Django,
/// Ruby and actix exporters; `status_code` of express-prom-bundle and Starlette; `http_status_code` and
/// `http_response_status_code` of OpenTelemetry's old and stable conventions; `grpc_code` of go-grpc-middleware;
/// `grpc_status` of gRPC's own plugins; `rpc_grpc_status_code` and `rpc_response_status_code` of OpenTelemetry.
const LABELS: [&str; 11] = [
    "code",
    "status",
    "status_code",
    "http_status_code",
    "http_response_status_code",
    "response_code",
    "http_status",
    "grpc_code",
    "grpc_status",
    "rpc_grpc_status_code",
    "rpc_response_status_code",
];

/// gRPC's codes by number, and whether each is the server's fault: those of which OpenTelemetry's conventions say that a
/// server's span is an error (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>).
const GRPC: [(&str, bool); 17] = [
    ("OK", false),
    ("CANCELLED", false),
    ("UNKNOWN", true),
    ("INVALIDARGUMENT", false),
    ("DEADLINEEXCEEDED", true),
    ("NOTFOUND", false),
    ("ALREADYEXISTS", false),
    ("PERMISSIONDENIED", false),
    ("RESOURCEEXHAUSTED", false),
    ("FAILEDPRECONDITION", false),
    ("ABORTED", false),
    ("OUTOFRANGE", false),
    ("UNIMPLEMENTED", true),
    ("INTERNAL", true),
    ("UNAVAILABLE", true),
    ("DATALOSS", true),
    ("UNAUTHENTICATED", false),
];

/// Whether a series with these labels counts failures; `None` where no label tells a status.
pub(crate) fn failed(labels: &[Label<'_>]) -> Option<bool> {
    LABELS.iter().find_map(|wanted| {
        let (_, value) = labels.iter().find(|(name, _)| name == wanted)?;
        is_failure(value)
    })
}

/// `503` and `5xx` are HTTP's, `14`, `UNAVAILABLE` and `Unavailable` gRPC's; `None` for what is no status.
fn is_failure(value: &str) -> Option<bool> {
    if let [class @ b'1'..=b'5', rest @ ..] = value.as_bytes()
        && rest.len() == 2
        && rest.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'x' | b'X'))
    {
        return Some(*class == b'5');
    }
    if value.len() <= 2 && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return GRPC.get(value.parse::<usize>().ok()?).map(|(_, fault)| *fault);
    }
    if value.len() > 32 {
        return None;
    }
    let word = value.replace(['_', '-', ' '], "").to_ascii_uppercase();
    let word = if word == "CANCELED" { "CANCELLED" } else { word.as_str() };
    GRPC.iter().find(|(name, _)| *name == word).map(|(_, fault)| *fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_every_spelling() {
        for bad in ["500", "599", "5xx", "5XX", "13", "2", "Unavailable", "DATA_LOSS", "DeadlineExceeded"] {
            assert_eq!(is_failure(bad), Some(true), "{bad}");
        }
        for good in ["200", "404", "2xx", "0", "OK", "NotFound", "Canceled", "INVALID_ARGUMENT"] {
            assert_eq!(is_failure(good), Some(false), "{good}");
        }
        for none in ["", "5000", "600", "success", "17", "5x", "-1", "50a"] {
            assert_eq!(is_failure(none), None, "{none}");
        }
    }

    #[test]
    fn the_first_label_with_a_status_is_it() {
        let labels = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            failed(&pairs.collect::<Vec<Label<'_>>>())
        };
        assert_eq!(labels(&[("method", "GET"), ("status", "503")]), Some(true));
        assert_eq!(labels(&[("status", "done"), ("status_code", "200")]), Some(false));
        assert_eq!(labels(&[("method", "500")]), None);
    }
}
