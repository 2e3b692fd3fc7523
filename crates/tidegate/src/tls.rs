//! The API's certificate: from files, or from a CA of the gate's own.
//!
//! The internal CA's key is sealed like everything else under the gate's keyring; its root is served at `/ca.pem` and
//! written to `ca.pem` in the data directory.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use access::names::SecretName;
use access::secret::Secret;
use anyhow::{Context as _, bail};
use credentials::keyring::Keyring;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, Tls};

/// What the API listens with, and the root that clients need to trust it; `None` where a public CA signed it.
pub struct Certified {
    /// For the listener.
    pub server: ServerConfig,
    /// The root, PEM.
    pub root: Option<String>,
}

/// The certificate that the configuration asks for.
///
/// # Errors
/// If files can't be read or don't belong together, or the internal CA can't be made or opened.
pub fn certify(config: &Config, keyring: &Keyring) -> anyhow::Result<Certified> {
    match &config.tls {
        Tls::Files { certificate, key } => {
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .with_context(|| format!("cannot read the certificate `{}`", certificate.display()))?;
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the private key `{}`", key.display()))?;
            Ok(Certified { server: server(chain, key)?, root: None })
        }
        Tls::Internal => internal(config, keyring),
    }
}

fn server(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> anyhow::Result<ServerConfig> {
    let mut server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the private key do not belong together")?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(server)
}

fn internal(config: &Config, keyring: &Keyring) -> anyhow::Result<Certified> {
    let root = config.data_dir.join("ca.pem");
    let sealed = config.data_dir.join("keys").join("tls-ca.sealed");
    let name: SecretName = "tls-ca".parse().context("the internal CA has no name")?;
    let (ca_pem, ca_key) = match (fs::read_to_string(&root), fs::read_to_string(&sealed)) {
        (Ok(pem), Ok(text)) => {
            let opened = keyring.open_secret(&name, &text.trim().parse()?).context("cannot open the key of the internal TLS CA")?;
            (pem, KeyPair::from_pem(opened.expose()).context("the key of the internal TLS CA is damaged")?)
        }
        (Err(_), Err(_)) => {
            let (pem, key) = new_ca(&config.node)?;
            let text = keyring.seal_secret(&name, &Secret::new(key.serialize_pem()))?.to_string();
            write_new(&sealed, &text)?;
            write_new(&root, &pem)?;
            (pem, key)
        }
        _ => bail!(
            "the internal TLS CA is half there: `{}` and `{}` belong together; restore the missing one, or remove both to make a new CA",
            root.display(),
            sealed.display()
        ),
    };
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).context("the internal TLS CA's certificate is damaged")?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names(config))?;
    params.distinguished_name.push(DnType::CommonName, config.node.as_str());
    params.use_authority_key_identifier_extension = true;
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let leaf = params.signed_by(&key, &issuer)?;
    let chain = vec![leaf.der().clone(), CertificateDer::from_pem_slice(ca_pem.as_bytes())?];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| anyhow::anyhow!("the new TLS key is unusable: {e}"))?;
    Ok(Certified { server: server(chain, key)?, root: Some(ca_pem) })
}

fn new_ca(node: &str) -> anyhow::Result<(String, KeyPair)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.distinguished_name.push(DnType::CommonName, format!("Tidegate internal CA of {node}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok((params.self_signed(&key)?.pem(), key))
}

/// Every name the API may be called by.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec![config.node.clone(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let ip = config.listen.api.ip();
    if !ip.is_unspecified() {
        names.push(ip.to_string());
    }
    names.extend(config.gate_addresses.iter().map(IpAddr::to_string));
    if let Some(url) = &config.public.api_url {
        let host = url.split("://").nth(1).unwrap_or(url);
        let host = host.split('/').next().unwrap_or(host);
        let host = host.strip_prefix('[').and_then(|h| h.split(']').next()).unwrap_or_else(|| host.split(':').next().unwrap_or(host));
        names.push(host.to_owned());
    }
    names.sort();
    names.dedup();
    names
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all().with_context(|| format!("cannot write `{}`", path.display()))
}
