//! The API's certificate: from files, or from a CA of the gate's own; and that CA, which also signs client certificates.
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
use identity::client_ca::ClientCa;
use proxy::client_certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{Config, Tls};

/// What the API listens with, and the root that clients need to trust it; `None` where a public CA signed it.
pub struct Certified {
    /// For the listener.
    pub server: ServerConfig,
    /// For the doors of databases: they ask for a client certificate besides.
    pub databases: ServerConfig,
    /// The root, PEM.
    pub root: Option<String>,
}

/// The gate's own CA: what the API listens with if nothing else is named, and what signs client certificates.
pub struct InternalCa {
    pem: String,
    key: Secret<String>,
}

impl InternalCa {
    /// The CA as it is in the data directory; made if there is none.
    ///
    /// # Errors
    /// If half of it is missing, or it can't be opened.
    pub fn open_or_make(config: &Config, keyring: &Keyring) -> anyhow::Result<Self> {
        let root = config.data_dir.join("ca.pem");
        let sealed = config.data_dir.join("keys").join("tls-ca.sealed");
        let name: SecretName = "tls-ca".parse().context("the internal CA has no name")?;
        match (fs::read_to_string(&root), fs::read_to_string(&sealed)) {
            (Ok(pem), Ok(text)) => {
                let key = keyring.open_secret(&name, &text.trim().parse()?).context("cannot open the key of the internal TLS CA")?;
                Ok(Self { pem, key })
            }
            (Err(_), Err(_)) => {
                let (pem, key) = new_ca(&config.node)?;
                let key = Secret::new(key.serialize_pem());
                write_new(&sealed, &keyring.seal_secret(&name, &key)?.to_string())?;
                write_new(&root, &pem)?;
                Ok(Self { pem, key })
            }
            _ => bail!(
                "the internal TLS CA is half there: `{}` and `{}` belong together; restore the missing one, or remove both to make a new CA",
                root.display(),
                sealed.display()
            ),
        }
    }

    /// What signs and verifies client certificates.
    ///
    /// # Errors
    /// If the CA is damaged.
    pub fn for_clients(&self) -> anyhow::Result<ClientCa> {
        Ok(ClientCa::new(&self.pem, &self.key)?)
    }
}

/// The certificate that the configuration asks for.
///
/// # Errors
/// If files can't be read or don't belong together, or the internal CA can't be made or opened.
pub fn certify(config: &Config, ca: &InternalCa) -> anyhow::Result<Certified> {
    let (chain, key, root) = match &config.tls {
        Tls::Files { certificate, key } => {
            let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
                .and_then(Iterator::collect)
                .with_context(|| format!("cannot read the certificate `{}`", certificate.display()))?;
            let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the private key `{}`", key.display()))?;
            (chain, key, None)
        }
        Tls::Internal => {
            let (chain, key) = internal(config, ca)?;
            (chain, key, Some(ca.pem.clone()))
        }
    };
    let unmatched = "the certificate and the private key do not belong together";
    let mut server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain.clone(), key.clone_key()).context(unmatched)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let asked = client_certificate::asked_for(CertificateDer::from_pem_slice(ca.pem.as_bytes())?)?;
    let databases = ServerConfig::builder().with_client_cert_verifier(asked).with_single_cert(chain, key).context(unmatched)?;
    Ok(Certified { server, databases, root })
}

fn internal(config: &Config, ca: &InternalCa) -> anyhow::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let ca_key = KeyPair::from_pem(ca.key.expose()).context("the key of the internal TLS CA is damaged")?;
    let issuer = Issuer::from_ca_cert_pem(&ca.pem, ca_key).context("the internal TLS CA's certificate is damaged")?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names(config))?;
    params.distinguished_name.push(DnType::CommonName, config.node.as_str());
    params.use_authority_key_identifier_extension = true;
    params.key_usages.push(KeyUsagePurpose::DigitalSignature);
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let leaf = params.signed_by(&key, &issuer)?;
    let chain = vec![leaf.der().clone(), CertificateDer::from_pem_slice(ca.pem.as_bytes())?];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| anyhow::anyhow!("the new TLS key is unusable: {e}"))?;
    Ok((chain, key))
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
