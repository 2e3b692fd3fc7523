//! npm's `oidc-provider`, a certified OpenID provider, on a free port of loopback; and a browser that goes there and comes back.
//!
//! `scripts/packages` installs it under `.cache/oidc-provider`.

pub mod canaille;
pub mod ci;
mod node;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};

use node::Node;

/// Who the gate is there.
pub const CLIENT: (&str, &str) = ("tidegate", "a secret of thirty-two characters");

/// A provider that runs until this value is dropped.
#[derive(Debug)]
pub struct OidcProvider {
    /// Its issuer.
    pub issuer: String,
    node: Node,
}

impl OidcProvider {
    /// Starts one where the gate at `gate` is registered as a client, its provider called `name` there. Whoever comes is signed in as
    /// `ana-1`.
    ///
    /// # Errors
    /// If Node or the package is not installed, or it does not start.
    pub async fn start(gate: &str, name: &str) -> Result<Self> {
        let base = format!("{gate}/api/v1/sign-in/oidc/{name}");
        let settings = json!({
            "current": "ana-1",
            "accounts": { "ana-1": { "name": "Ana", "preferred_username": "ana", "email": "ben@example.com", "groups": ["Platform Team"] } },
            "client": {
                "client_id": CLIENT.0, "client_secret": CLIENT.1,
                "redirect_uris": [format!("{base}/callback")],
                "backchannel_logout_uri": format!("{base}/logout"), "backchannel_logout_session_required": true,
            },
        });
        let node = Node::start("provider.mjs", Some(&settings)).await?;
        Ok(Self { issuer: node.issuer.clone(), node })
    }

    /// From now on whoever comes is signed in as this, with these claims if any are given. `nobody`: they are turned away.
    ///
    /// # Errors
    /// If the provider does not answer.
    pub async fn sign_in_as(&self, id: &str, claims: Option<Value>) -> Result<()> {
        self.node.tell("/test/become", &json!({ "id": id, "claims": claims })).await.map(drop)
    }

    /// Signs somebody out, and tells the gate so.
    ///
    /// # Errors
    /// If the provider does not answer, or the gate does not take it.
    pub async fn log_out(&self, subject: &str, sid: &str) -> Result<()> {
        self.node.tell("/test/log-out", &json!({ "sub": subject, "sid": sid })).await.map(drop)
    }
}

/// As much of a browser as a sign-in needs: it follows, and keeps cookies by host and port.
#[derive(Debug)]
pub struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// Where a browser has come to.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The address.
    pub url: String,
    /// The status.
    pub status: u16,
    /// The page.
    pub text: String,
}

impl Browser {
    /// A new one, without a cookie.
    ///
    /// # Errors
    /// If it can't be set up.
    pub fn new() -> Result<Self> {
        Ok(Self { http: reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?, cookies: BTreeMap::new() })
    }

    /// The value of a cookie of a server's.
    #[must_use]
    pub fn cookie(&self, server: &str, name: &str) -> Option<&str> {
        let url = reqwest::Url::parse(server).ok()?;
        self.cookies.get(&place(&url))?.get(name).map(String::as_str)
    }

    /// Goes to an address and follows from there, until a page, or until it would go to an address that `stop` is part of.
    ///
    /// # Errors
    /// If a server does not answer, or leads around in circles.
    pub async fn go(&mut self, url: &str, stop: Option<&str>) -> Result<Arrived> {
        self.follow(reqwest::Url::parse(url)?, None, stop).await
    }

    /// Fills the form on a page in, with what stands in it hidden, sends it off, and follows from there.
    ///
    /// # Errors
    /// If there is no form, or as [`Self::go`].
    pub async fn fill(&mut self, page: &Arrived, fields: &[(&str, &str)], stop: Option<&str>) -> Result<Arrived> {
        let at = reqwest::Url::parse(&page.url)?;
        let (action, hidden) = form(&page.text).with_context(|| format!("there is no form on {}", page.url))?;
        let mut written = at.clone();
        written.set_query(None);
        for (name, value) in &hidden {
            if fields.iter().all(|(given, _)| given != name) {
                written.query_pairs_mut().append_pair(name, value);
            }
        }
        written.query_pairs_mut().extend_pairs(fields);
        let body = written.query().unwrap_or_default().to_owned();
        self.follow(at.join(&action)?, Some(body), stop).await
    }

    async fn follow(&mut self, mut url: reqwest::Url, mut form: Option<String>, stop: Option<&str>) -> Result<Arrived> {
        for _ in 0..20 {
            let known = self.cookies.entry(place(&url)).or_default();
            let cookies: Vec<String> = known.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let mut request = match form.take() {
                // Where a form leads to is gone to without it.
                Some(form) => {
                    let origin = url.origin().ascii_serialization();
                    let post = self.http.post(url.clone()).header("origin", origin).header("referer", url.as_str());
                    post.header("content-type", "application/x-www-form-urlencoded").body(form)
                }
                None => self.http.get(url.clone()),
            };
            request = request.header("accept", "text/html");
            if !cookies.is_empty() {
                request = request.header(COOKIE, cookies.join("; "));
            }
            let response = request.send().await?;
            let known = self.cookies.entry(place(&url)).or_default();
            for set in response.headers().get_all(SET_COOKIE) {
                let text = set.to_str()?;
                let Some((name, rest)) = text.split_once('=') else { continue };
                known.insert(name.to_owned(), rest.split(';').next().unwrap_or_default().to_owned());
            }
            let status = response.status();
            let Some(next) = response.headers().get(LOCATION).filter(|_| status.is_redirection()) else {
                return Ok(Arrived { url: url.into(), status: status.as_u16(), text: response.text().await? });
            };
            url = url.join(next.to_str()?)?;
            if stop.is_some_and(|stop| url.as_str().contains(stop)) {
                return Ok(Arrived { url: url.into(), status: status.as_u16(), text: String::new() });
            }
        }
        bail!("led around in circles, at last to {url}")
    }
}

fn place(url: &reqwest::Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

/// Where the last form of a page that is sent by `POST` goes to, and what stands in it hidden. As much of HTML as a plain page of a
/// provider takes.
fn form(page: &str) -> Option<(String, Vec<(String, String)>)> {
    let posts = |tag: &str| attribute(tag, "method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
    let (at, tag) = page
        .match_indices("<form")
        .filter_map(|(at, _)| Some((at, page.get(at..)?.split('>').next()?)))
        .filter(|(_, tag)| posts(tag))
        .last()?;
    let inside = page.get(at..)?.split("</form").next()?;
    let inputs = inside.match_indices("<input").filter_map(|(at, _)| inside.get(at..)?.split('>').next());
    let hidden = inputs.filter(|input| attribute(input, "type").is_some_and(|kind| kind == "hidden"));
    let fields = hidden.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default())));
    Some((attribute(tag, "action").unwrap_or_default(), fields.collect()))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!(" {name}=\"")).or_else(|| tag.split_once(&format!("\n{name}=\"")))?.1;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn a_form_is_found_with_what_is_hidden_in_it() {
        let page = "<form action=\"/search\"><input name=\"q\"></form><form\nmethod=\"POST\" id=\"x\"><input id=\"t\" name=\"csrf_token\" type=\"hidden\" value=\"a&amp;b\"><input name=\"login\" type=\"text\" value=\"\"></form>";
        assert_eq!(form(page), Some((String::new(), vec![("csrf_token".to_owned(), "a&b".to_owned())])));
        assert_eq!(form("<form action=\"/x\">"), None);
    }
}
