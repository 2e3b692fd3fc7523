//! OpenTelemetry's logs over HTTP: `ExportLogsServiceRequest` of OTLP 1.x as protobuf
//! (<https://github.com/open-telemetry/opentelemetry-proto>, `opentelemetry/proto/logs/v1/logs.proto`), to `…/v1/logs`.

use access::secret::Secret;
use prost::Message as _;
use reqwest::Url;

use super::{Batch, Line};
use crate::http::{Caller, Reach, ReachError};
use crate::outcome::Outcome;

/// A collector that takes OTLP over HTTP.
#[derive(Debug, Clone)]
pub struct Collector {
    caller: Caller,
    url: Url,
}

impl Collector {
    /// A collector at the URL for logs, like `https://otel.example.com/v1/logs`.
    ///
    /// # Errors
    /// If it may not be called, or TLS can't be set up.
    pub fn new(url: &str, reach: &Reach) -> Result<Self, ReachError> {
        let caller = Caller::new(reach)?;
        let url = caller.url(url)?;
        Ok(Self { caller, url })
    }

    /// Sends a batch, with a bearer token if the collector wants one.
    pub async fn send(&self, token: Option<&Secret<String>>, batch: &Batch<'_>) -> Outcome<()> {
        let bearer = token.map(|token| format!("Bearer {}", token.expose()));
        let mut headers = vec![("content-type", "application/x-protobuf")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        let answer = match self.caller.post(&self.url, &headers, request(batch).encode_to_vec()).await {
            Ok(answer) => answer,
            Err(why) => return Outcome::later(why),
        };
        if !(200..300).contains(&answer.status) {
            return answer.refused();
        }
        match Response::decode(answer.body.as_slice()) {
            Ok(Response { partial_success: Some(said) }) if said.rejected_log_records > 0 => {
                let why: String = said.error_message.chars().filter(|c| !c.is_control()).take(200).collect();
                Outcome::later(format!("it rejected {} of {} records: {why}", said.rejected_log_records, batch.lines.len()))
            }
            // An answer that is none came with a success all the same.
            _ => Outcome::Taken(()),
        }
    }
}

fn request(batch: &Batch<'_>) -> Request {
    let resource = Resource {
        attributes: vec![text("service.name", "tidegate"), text("service.instance.id", batch.node), text("tidegate.stream", batch.stream)],
    };
    let scope = Scope { name: "tidegate".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let observed = nanos(batch.now);
    let log_records = batch.lines.iter().map(|line| record(line, observed)).collect();
    Request {
        resource_logs: vec![ResourceLogs { resource: Some(resource), scope_logs: vec![ScopeLogs { scope: Some(scope), log_records }] }],
    }
}

fn record(line: &Line, observed: u64) -> LogRecord {
    // `SeverityNumber`: INFO, INFO2, WARN, ERROR.
    let (severity_number, severity_text) = match line.severity {
        0 | 1 => (9, "INFO"),
        2 => (10, "INFO2"),
        3 => (13, "WARN"),
        _ => (17, "ERROR"),
    };
    LogRecord {
        time_unix_nano: nanos(line.at),
        observed_time_unix_nano: observed,
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::String(line.json.clone())) }),
        attributes: vec![text("event.name", &line.event)],
        event_name: line.event.clone(),
    }
}

fn nanos(at: jiff::Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or(0)
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Value::String(value.to_owned())) }) }
}

/// `ExportLogsServiceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_logs: Vec<ResourceLogs>,
}

/// `ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_log_records: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    log_records: Vec<LogRecord>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, prost::Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LogRecord {
    #[prost(fixed64, tag = "1")]
    time_unix_nano: u64,
    #[prost(int32, tag = "2")]
    severity_number: i32,
    #[prost(string, tag = "3")]
    severity_text: String,
    #[prost(message, optional, tag = "5")]
    body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "11")]
    observed_time_unix_nano: u64,
    #[prost(string, tag = "12")]
    event_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    String(String),
}
