//! Calls to services outside: over verified TLS, bounded in time and size, followed nowhere else, and never to an address inside
//! unless the configuration names that address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Url, redirect};

use crate::outcome::Outcome;

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The largest answer that is read.
const LARGEST: usize = 256 * 1024;
/// The longest wait that a service may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// How much of what went wrong is kept.
const LONGEST_WHY: usize = 300;

/// Why a service cannot be called as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The address is none.
    #[error("`{0}` is not a URL like `https://hooks.example.com/tidegate`")]
    NoUrl(String),
    /// Everybody on the way could read it.
    #[error("`{0}` is not `https://`; without TLS only a loopback address that is named in `addresses` is called")]
    PlainText(String),
    /// It leads inside.
    #[error("`{0}` is an address inside; name it in `addresses` if that is meant")]
    Inside(IpAddr),
    /// TLS can't be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// What may be reached, and whom to trust there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Addresses inside that may be called all the same.
    pub addresses: Vec<IpAddr>,
    /// PEM roots that alone are trusted; `None`: the machine's.
    pub roots: Option<Vec<u8>>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// For how long it wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What it said.
    pub body: Vec<u8>,
}

/// Calls one service.
#[derive(Debug, Clone)]
pub struct Caller {
    http: reqwest::Client,
    addresses: Arc<[IpAddr]>,
}

impl Caller {
    /// A caller that reaches this and nothing else.
    ///
    /// # Errors
    /// If TLS can't be set up.
    pub fn new(reach: &Reach) -> Result<Self, ReachError> {
        let failed = |error: reqwest::Error| ReachError::Tls(said(&error));
        // Somebody in this process may have done so already.
        let _once = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let addresses: Arc<[IpAddr]> = reach.addresses.clone().into();
        let mut builder = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Guarded { addresses: Arc::clone(&addresses) }));
        if let Some(pem) = &reach.roots {
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).map_err(failed)?);
        }
        Ok(Self { http: builder.build().map_err(failed)?, addresses })
    }

    /// An address as text, if it may be called.
    ///
    /// # Errors
    /// If it is no URL, goes without TLS, or leads inside by itself.
    pub fn url(&self, text: &str) -> Result<Url, ReachError> {
        permitted(text, &self.addresses)
    }

    /// Sends one POST.
    ///
    /// # Errors
    /// Why no answer came, as a sentence without a full stop.
    pub async fn post(&self, url: &Url, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, String> {
        self.send(Method::POST, url, headers, body).await
    }

    /// Sends one PUT.
    ///
    /// # Errors
    /// Why no answer came, as a sentence without a full stop.
    pub async fn put(&self, url: &Url, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, String> {
        self.send(Method::PUT, url, headers, body).await
    }

    async fn send(&self, method: Method, url: &Url, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Answer, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let (Ok(name), Ok(mut value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value)) else {
                return Err(format!("the header `{name}` cannot be sent"));
            };
            value.set_sensitive(name == AUTHORIZATION);
            map.insert(name, value);
        }
        let mut response = self.http.request(method, url.clone()).headers(map).body(body).send().await.map_err(|error| said(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| said(&error))? {
            if body.len() + piece.len() > LARGEST {
                return Err(format!("it answered with more than {LARGEST} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, retry_after: retry_after.map(|s| Duration::from_secs(s).min(LONGEST_WAIT)), body })
    }
}

impl Caller {
    /// Sends one GET, and reads at most so many bytes of the answer.
    ///
    /// # Errors
    /// Why no answer came, as a sentence without a full stop.
    pub async fn get(&self, url: &Url, headers: &[(&str, &str)], largest: usize) -> Result<Answer, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let (Ok(name), Ok(mut value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value)) else {
                return Err(format!("the header `{name}` cannot be sent"));
            };
            value.set_sensitive(name == AUTHORIZATION);
            map.insert(name, value);
        }
        let mut response = self.http.get(url.clone()).headers(map).send().await.map_err(|error| said(&error))?;
        let status = response.status().as_u16();
        let seconds = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        // The second is PagerDuty's own.
        let retry_after = seconds("retry-after").or_else(|| seconds("ratelimit-reset").filter(|_| status == 429));
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| said(&error))? {
            if body.len() + piece.len() > largest {
                return Err(format!("it answered with more than {largest} bytes"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status, retry_after: retry_after.map(|s| Duration::from_secs(s).min(LONGEST_WAIT)), body })
    }
}

impl Answer {
    /// What every service means by a status that is no success.
    pub(crate) fn refused<T>(&self) -> Outcome<T> {
        Outcome::Later { why: format!("it answered with HTTP {}", self.status), after: self.retry_after }
    }
}

/// An address as text, if it may be called.
///
/// # Errors
/// If it is no URL, goes without TLS, or leads inside by itself.
pub fn permitted(text: &str, addresses: &[IpAddr]) -> Result<Url, ReachError> {
    let shown = || text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    let url = Url::parse(text).map_err(|_| ReachError::NoUrl(shown()))?;
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let Some(host) = url.host_str().filter(|_| plain && matches!(url.scheme(), "https" | "http")) else {
        return Err(ReachError::NoUrl(shown()));
    };
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if let Some(ip) = literal
        && !may_be_reached(ip, addresses)
    {
        return Err(ReachError::Inside(ip));
    }
    if url.scheme() == "http" && !literal.is_some_and(|ip| ip.to_canonical().is_loopback()) {
        return Err(ReachError::PlainText(shown()));
    }
    Ok(url)
}

pub(crate) fn may_be_reached(ip: IpAddr, named: &[IpAddr]) -> bool {
    named.iter().any(|named| named.to_canonical() == ip.to_canonical()) || !is_inside(ip)
}

/// Whether an address leads to this machine, this network, or a service that clouds keep for machines: RFC 6890 and those that
/// [`access::rights::is_guarded_address`] knows.
#[must_use]
pub fn is_inside(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if access::rights::is_guarded_address(ip) {
        return true;
    }
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240
        }
        // What a network translates for itself (RFC 8215) leads into it.
        IpAddr::V6(v6) if v6.segments()[..3] == [0x64, 0xff9b, 1] => true,
        IpAddr::V6(v6) => (v6.segments()[0] & 0xfe00) == 0xfc00 || embedded(v6).is_some_and(|v4| is_inside(IpAddr::V4(v4))),
    }
}

/// The IPv4 address behind a NAT64 prefix (RFC 6052) or in a 6to4 address (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// Looks names up, and forgets what they mean inside.
struct Guarded {
    addresses: Arc<[IpAddr]>,
}

impl reqwest::dns::Resolve for Guarded {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses = Arc::clone(&self.addresses);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let open: Vec<SocketAddr> = found.iter().copied().filter(|address| may_be_reached(address.ip(), &addresses)).collect();
            if open.is_empty() {
                let why = match found.first() {
                    Some(inside) => {
                        format!("`{}` leads inside, to {}; name that in `addresses` if it is meant", name.as_str(), inside.ip())
                    }
                    None => format!("`{}` has no address", name.as_str()),
                };
                return Err(why.into());
            }
            let addresses: reqwest::dns::Addrs = Box::new(open.into_iter());
            Ok(addresses)
        })
    }
}

/// What went wrong with all its causes, without the URL, in which a secret may stand.
fn said(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let says = error.to_string();
        // The outermost names the URL.
        if error.downcast_ref::<reqwest::Error>().is_none() && !text.contains(&says) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&says);
        }
        cause = error.source();
    }
    if text.is_empty() {
        text.push_str(if error.is_timeout() { "it did not answer in time" } else { "it cannot be reached" });
    }
    text.chars().filter(|c| !c.is_control()).take(LONGEST_WHY).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_inside_is_called_only_if_it_is_named() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(permitted("https://hooks.example.com/x", &[]).is_ok());
        assert!(permitted("https://203.0.113.7/x", &[]).is_ok());
        for inside in [
            "10.1.2.3",
            "127.0.0.1",
            "169.254.169.254",
            "192.168.1.1",
            "172.16.0.1",
            "100.64.0.1",
            "0.0.0.0",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
            "[::ffff:10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[64:ff9b:1::a00:1]",
            "[64:ff9b:1:a00:0:100::]",
            "[2002:a00:1::1]",
            "2130706433",
            "0x7f.1",
        ] {
            let url = format!("https://{inside}/x");
            assert!(matches!(permitted(&url, &[]), Err(ReachError::Inside(_))), "{inside}");
        }
        assert!(permitted("https://10.1.2.3/x", &[ip("10.1.2.3")]).is_ok());
        assert!(permitted("https://10.1.2.4/x", &[ip("10.1.2.3")]).is_err());
    }

    #[test]
    fn without_tls_nothing_leaves_the_machine() {
        let here = ["127.0.0.1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
        assert!(permitted("http://127.0.0.1:8080/x", &here).is_ok());
        for plain in ["http://hooks.example.com/", "http://10.0.0.1/", "http://localhost/"] {
            assert!(matches!(permitted(plain, &here), Err(ReachError::PlainText(_))), "{plain}");
        }
        for none in ["hooks.example.com", "ftp://example.com/", "https://user:pass@example.com/", "https://example.com/#x", ""] {
            assert!(matches!(permitted(none, &here), Err(ReachError::NoUrl(_))), "{none}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_called() {
        let caller = Caller::new(&Reach::default()).unwrap();
        let url = caller.url("https://localhost:9/x").unwrap();
        let why = caller.post(&url, &[], Vec::new()).await.unwrap_err();
        assert!(why.contains("leads inside"), "{why}");
    }
}
