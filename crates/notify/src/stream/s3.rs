//! S3 and what speaks its protocol: each batch is an object of JSON lines, put with a request that AWS Signature Version 4 signs
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>), body included.
//!
//! An object's name follows from where its first and last lines are from, and from its content: what is put again takes its own place, and
//! nothing else that was put is ever put over. A log that was turned back and written on, and an object that comes late, stand beside it.

use access::secret::Secret;
use aws_credential_types::Credentials;
use aws_lc_rs::digest::{SHA256, digest};
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use jiff::tz::TimeZone;
use reqwest::Url;

use super::Batch;
use crate::http::{Caller, Reach, ReachError};
use crate::outcome::Outcome;

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    caller: Caller,
    /// Endpoint and bucket: `https://s3.eu-central-1.amazonaws.com/logs`.
    url: Url,
    region: String,
    prefix: String,
    access_key: String,
}

/// What a bucket is, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The service's address, without the bucket: `https://s3.eu-central-1.amazonaws.com`.
    pub url: String,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// What the names of objects begin with; a `/` in it is a folder.
    pub prefix: String,
    /// The id of the access key.
    pub access_key: String,
}

impl Bucket {
    /// A bucket, addressed by path.
    ///
    /// # Errors
    /// If it may not be called, or TLS can't be set up.
    pub fn new(place: &Place, reach: &Reach) -> Result<Self, ReachError> {
        let caller = Caller::new(reach)?;
        let url = caller.url(&format!("{}/{}", place.url.trim_end_matches('/'), place.bucket))?;
        let Place { region, prefix, access_key, .. } = place.clone();
        Ok(Self { caller, url, region, prefix, access_key })
    }

    /// Puts a batch.
    pub async fn send(&self, secret_key: &Secret<String>, batch: &Batch<'_>) -> Outcome<()> {
        let body = batch.text().into_bytes();
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{}", self.url.path().trim_end_matches('/'), self.name(batch, &body)));
        let headers = match self.signed(&url, &body, secret_key, batch) {
            Ok(headers) => headers,
            Err(why) => return Outcome::later(format!("the request cannot be signed: {why}")),
        };
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match self.caller.put(&url, &headers, body).await {
            Ok(answer) if (200..300).contains(&answer.status) => Outcome::Taken(()),
            Ok(answer) => {
                let why = answer.refused::<()>();
                match (why, code(&answer.body)) {
                    (Outcome::Later { why, after }, Some(code)) => Outcome::Later { why: format!("{why} ({code})"), after },
                    (other, _) => other,
                }
            }
            Err(why) => Outcome::later(why),
        }
    }

    /// `prefix2026/03/02/siem-000000000041-000002-000000000043-000000-`, half of the content's SHA-256, `.jsonl`: by day, in order.
    fn name(&self, batch: &Batch<'_>, body: &[u8]) -> String {
        let day = batch.begins().to_zoned(TimeZone::UTC).strftime("%Y/%m/%d").to_string();
        let ((first, first_line), (last, last_line)) = (batch.first, batch.last);
        let content = hex::encode(digest(&SHA256, body));
        let (half, _) = content.split_at(content.len() / 2);
        format!("{}{day}/{}-{first:012}-{first_line:06}-{last:012}-{last_line:06}-{half}.jsonl", self.prefix, batch.stream)
    }

    fn signed(&self, url: &Url, body: &[u8], secret_key: &Secret<String>, batch: &Batch<'_>) -> Result<Vec<(String, String)>, String> {
        let mut settings = SigningSettings::default();
        // S3 differs from AWS' other services in these.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = Credentials::new(self.access_key.clone(), secret_key.expose().clone(), None, None, "tidegate").into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(batch.now.into())
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let content = [("content-type", "application/x-ndjson")];
        let request = SignableRequest::new("PUT", url.as_str(), content.into_iter(), SignableBody::Bytes(body));
        let (instructions, _signature) =
            sign(request.map_err(|error| error.to_string())?, &parameters).map_err(|error| error.to_string())?.into_parts();
        let signed = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(content.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(signed).collect())
    }
}

/// The code in an error of S3, as `<Code>NoSuchBucket</Code>`.
fn code(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{example, example_line};
    use super::*;

    #[test]
    fn an_object_is_named_for_what_is_in_it_and_an_error_says_its_code() {
        let place = Place {
            url: "https://s3.eu-central-1.amazonaws.com/".into(),
            bucket: "logs".into(),
            region: "eu-central-1".into(),
            prefix: "tidegate/".into(),
            access_key: "AKIA0123".into(),
        };
        let bucket = Bucket::new(&place, &Reach::default()).unwrap();
        let lines = [example_line("session.opened", 1, "{}")];
        let named = |content: &[u8]| bucket.name(&example(&lines), content);
        let start = "tidegate/2026/03/02/siem-000000000041-000002-000000000043-000000-";
        assert_eq!(named(b"{}\n"), format!("{start}ca3d163bab055381827226140568f3be.jsonl"));
        assert!(named(b"{} \n").starts_with(start) && named(b"{} \n") != named(b"{}\n"), "what is not the same has another place");
        assert_eq!(code(b"<?xml?><Error><Code>NoSuchBucket</Code></Error>").as_deref(), Some("NoSuchBucket"));
        assert_eq!(code(b"<Code><b></Code>"), None);
    }
}
