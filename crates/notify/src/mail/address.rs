//! Addresses of mailboxes (RFC 5321 §4.1.2), the plain ones that people have.

/// The longest one (RFC 5321 §4.5.3.1.3, less the brackets).
const LONGEST: usize = 254;

/// An address, in lower case: two that differ by case alone are one mailbox nearly everywhere, and are one here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address(String);

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no address of a mailbox like `ana@example.com`, in plain letters and without quotes")]
pub struct AddressError;

impl std::str::FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
        let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let (local, domain) = text.split_once('@').ok_or(AddressError)?;
        let dots = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
        let label = |label: &str| label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-');
        let good = text.len() <= LONGEST
            && local.len() <= 64
            && dots(local)
            && dots(domain)
            && local.chars().all(plain)
            && domain.chars().all(host)
            && domain.split('.').all(label);
        if good { Ok(Self(text.to_ascii_lowercase())) } else { Err(AddressError) }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// It, as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_mailbox_and_nothing_besides() {
        let good: Address = " Ana.Silva+gate@Example.com ".parse().unwrap();
        assert_eq!((good.as_str(), good.domain()), ("ana.silva+gate@example.com", "example.com"));
        for wrong in [
            "",
            "ana",
            "@example.com",
            "ana@",
            "ana@example.com, eve@example.com",
            "ana@example.com\r\nBcc: eve@example.com",
            "\"ana b\"@example.com",
            "Ana <ana@example.com>",
            "ana@[127.0.0.1]",
            "ana@exa_mple.com",
            "ana@-x.example",
            ".ana@example.com",
            "a..b@example.com",
            "ana@example..com",
            "ана@example.com",
            "ana@@example.com",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
        assert!(format!("{}@example.com", "x".repeat(65)).parse::<Address>().is_err());
    }
}
