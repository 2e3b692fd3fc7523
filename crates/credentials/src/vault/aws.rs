//! AWS Secrets Manager, by Amazon's own library: who the gate is on a machine, in a container or in a cluster is found as its other programs
//! there find it (<https://docs.aws.amazon.com/sdk-for-rust/latest/dg/credproviders.html>).

use access::secret::Secret;
use access::vault::VaultSecret;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::{AwsSettings, Trouble, field_of, on_the_way};

/// What asks it.
pub(super) struct Aws {
    settings: AwsSettings,
    /// Made when it is needed first.
    made: OnceCell<Made>,
}

struct Made {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
}

impl Aws {
    pub(super) fn new(settings: AwsSettings) -> Self {
        Self { settings, made: OnceCell::new() }
    }

    async fn made(&self) -> &Made {
        let make = || async {
            let region = Region::new(self.settings.region.clone());
            let found = Box::pin(aws_config::defaults(BehaviorVersion::latest()).region(region).load()).await;
            let mut config = aws_sdk_secretsmanager::config::Builder::from(&found);
            if let Some(endpoint) = &self.settings.endpoint {
                config = config.endpoint_url(endpoint.as_str());
            }
            Made { client: Client::from_conf(config.build()), credentials: found.credentials_provider() }
        };
        self.made.get_or_init(make).await
    }

    /// A secret as it is now: all of it, or a field if it is a JSON object.
    pub(super) async fn read(&self, secret: &VaultSecret) -> Result<Secret<String>, Trouble> {
        let path = secret.path();
        let asked = self.made().await.client.get_secret_value().secret_id(path).send();
        let whole = Box::pin(asked).await.map_err(|error| trouble(&error, path))?.secret_string;
        let whole = Secret::new(whole.ok_or_else(|| Trouble::NoText(path.to_owned()))?);
        let Some(field) = secret.field() else { return Ok(whole) };
        let fields: Map<String, Value> = serde_json::from_str(whole.expose()).map_err(|_| Trouble::NoFields(path.to_owned()))?;
        field_of(fields, path, field)
    }

    /// Whether the gate is somebody to Amazon. Which secrets it may read is known only by reading them.
    pub(super) async fn look(&self) -> Result<(), Trouble> {
        let provider = self.made().await.credentials.as_ref().ok_or(Trouble::NoCredentials)?;
        Box::pin(provider.provide_credentials()).await.map(drop).map_err(|_| Trouble::NoCredentials)
    }
}

fn trouble(error: &SdkError<GetSecretValueError>, path: &str) -> Trouble {
    let Some(code) = error.code() else {
        return match error.raw_response() {
            Some(answer) => Trouble::Failing(format!("HTTP {}", answer.status().as_u16())),
            None if matches!(error, SdkError::TimeoutError(_)) => Trouble::Slow,
            None if is_about_credentials(error) => Trouble::NoCredentials,
            None => on_the_way(error),
        };
    };
    match code {
        "ResourceNotFoundException" => Trouble::NoSuchSecret(path.to_owned()),
        "AccessDeniedException" | "AccessDenied" => Trouble::DeniedByIam(path.to_owned()),
        "DecryptionFailure" | "DecryptionFailureException" => Trouble::Undecryptable(path.to_owned()),
        "InvalidRequestException" => Trouble::MarkedForDeletion(path.to_owned()),
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "InvalidAccessKeyId"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => {
            let advice = "look whether the credentials that the gate finds are still good, and of this account";
            Trouble::NotSignedIn { said: code.to_owned(), advice }
        }
        code => Trouble::Failing(code.chars().filter(char::is_ascii_alphanumeric).take(80).collect()),
    }
}

fn is_about_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<CredentialsError>())
}
