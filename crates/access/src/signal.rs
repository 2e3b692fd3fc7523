//! Signals: what an identity provider says, unasked, of the security of somebody's account there (OpenID Shared Signals Framework 1.0).

codes! {
    /// What a signal says, as far as it means something here.
    SignalKind("kind of signal") {
        /// A session of theirs there was revoked (CAEP 1.0 §3.1).
        SessionRevoked = "session_revoked",
        /// Their device is not, or no longer, as it has to be (CAEP 1.0 §3.5).
        DeviceNotCompliant = "device_not_compliant",
        /// Their account there is disabled (RISC 1.0).
        AccountDisabled = "account_disabled",
        /// Their account there is gone for good (RISC 1.0).
        AccountPurged = "account_purged",
        /// Nothing of anybody: whoever sends signals tries whether they come (SSF 1.0 §8.1.4).
        Verification = "verification",
        /// Something else, which changes nothing here.
        Other = "other",
    }
}

impl SignalKind {
    /// Whether whoever it is of is locked.
    #[must_use]
    pub const fn locks(self) -> bool {
        match self {
            Self::SessionRevoked | Self::DeviceNotCompliant | Self::AccountDisabled | Self::AccountPurged => true,
            Self::Verification | Self::Other => false,
        }
    }
}

codes! {
    /// What came of a signal.
    SignalOutcome("outcome of a signal") {
        /// Whoever it is of was locked.
        Locked = "locked",
        /// They are locked since an earlier signal of the same transmitter; what was open all the same is cut.
        StillLocked = "still_locked",
        /// Nobody here is linked to whoever it is of.
        UnknownSubject = "unknown_subject",
        /// It does not say of whom it is in a way that counts here.
        NotUnderstood = "not_understood",
        /// It is of a kind that changes nothing here.
        Ignored = "ignored",
    }
}
