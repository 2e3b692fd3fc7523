//! Client certificates: what `tidegate login` leaves beside the SSH certificate, and who shows one at a database's door.
//!
//! *Takes* a public key, or a certificate whose key signed in a TLS handshake. *Proves* who holds it. *Hands to* the doors that speak
//! TLS a `VerifiedIdentity`.

use std::net::IpAddr;
use std::sync::OnceLock;

use access::event::Event;
use access::identity::{KeyKind, KeyRow, KeyState, VerifiedIdentity};
use access::ids::KeyId;
use access::reason::{Reason, Refusal};
use access::request::Door;
use access::time::Span;
use identity::client_ca::{ClientCa, ClientCaProblem, ClientCertificateProof};
use store::Change;

use crate::Caller;
use crate::gate::{Gate, refused, unavailable};

/// The gate's own CA, once it is there.
#[derive(Debug, Default)]
pub(crate) struct ClientCertificates(OnceLock<ClientCa>);

impl Gate {
    /// Signs client certificates with this CA from now on. Said once, before anybody connects.
    pub fn sign_client_certificates(&self, ca: ClientCa) {
        if self.client_certificates.0.set(ca).is_err() {
            tracing::error!("the CA of client certificates was set before; the first one stays");
        }
    }

    fn client_ca(&self) -> Result<&ClientCa, Refusal> {
        self.client_certificates.0.get().ok_or_else(|| Refusal::because(Reason::Invalid, "this gate signs no client certificates"))
    }

    /// Whether a certificate could sign somebody in; says nothing about whose it is.
    pub async fn knows_client_certificate(&self, proof: &ClientCertificateProof) -> bool {
        matches!(self.store.active_key(&proof.fingerprint()).await, Ok(Some(key)) if key.kind == KeyKind::ClientCertificate)
    }

    /// Signs a public key (PEM, P-256) for a short time. It takes the place of no other: each ends by itself.
    ///
    /// # Errors
    /// If it is no acceptable public key, or the time too long.
    pub async fn issue_client_certificate(
        &self,
        caller: &Caller,
        public_key: &str,
        valid: Option<Span>,
    ) -> Result<(KeyRow, String), Refusal> {
        let valid = self.certificate_life(caller, valid).await?;
        let now = self.now();
        let (key, person) = (KeyId::generate(now), caller.who.id());
        let signed = self.client_ca()?.sign(person, key, public_key, valid, now).map_err(|problem| match problem {
            ClientCaProblem::Key | ClientCaProblem::Validity(_) => Refusal::because(Reason::Invalid, problem.to_string()),
            ClientCaProblem::Ca(_) | ClientCaProblem::Clock(_) | ClientCaProblem::Sign(_) => {
                Refusal::because(Reason::Internal, problem.to_string())
            }
        })?;
        let event = Event::KeyAdded {
            key,
            person,
            kind: KeyKind::ClientCertificate,
            fingerprint: signed.fingerprint,
            public_key: signed.public_key,
            expires_at: Some(valid.after(now)),
            with: Some(caller.who.via().clone()),
            claims: caller.who.claims().cloned(),
        };
        let committed = self.commit(Change::new(self.draft(caller, event))).await.map_err(refused)?;
        let row = committed.rows.keys.into_values().next().ok_or_else(|| Refusal::of(Reason::Internal))?;
        Ok((row, signed.pem))
    }

    /// Who holds a client certificate whose key signed in the handshake.
    ///
    /// # Errors
    /// The refusal; what is said of a certificate of this gate is for its holder.
    pub async fn identify_client_certificate(
        &self,
        proof: &ClientCertificateProof,
        from: IpAddr,
        door: Door,
    ) -> Result<VerifiedIdentity, Refusal> {
        let found = async {
            let key = self.store.active_key(&proof.fingerprint()).await.map_err(unavailable)?;
            let key = key.filter(|key| key.state == KeyState::Active);
            let key = key.ok_or_else(|| Refusal::because(Reason::NotSignedIn, "this is no client certificate of this gate"))?;
            self.identify_client(proof, &key, from).await
        };
        self.entered(found.await, from, door).await
    }

    async fn identify_client(&self, proof: &ClientCertificateProof, key: &KeyRow, from: IpAddr) -> Result<VerifiedIdentity, Refusal> {
        let known = self.known(key.person).await?;
        self.refuse_if_person_locked(key.person).await?;
        self.client_ca()?.verify(proof, key, known.account(), from, self.now())
    }
}
