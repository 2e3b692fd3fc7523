//! What happens to who somebody is elsewhere: at identity providers, in chat, on a device.

macro_rules! identity_events {
    ($then:ident! $state:tt) => {
        $then! { $state Identity {
            /// Whoever is this at an identity provider is this person here from now on. Text: `subject`.
            "identity.linked" IdentityLinked {
                /// SHA-256 over issuer and subject, hex.
                identity: String,
                /// Who.
                person: PrincipalId,
                /// The provider's issuer.
                issuer: String,
            }
            /// They signed in at the provider. Text: `from`.
            "identity.proved" IdentityProved {
                /// SHA-256 over issuer and subject, hex.
                identity: String,
                /// Who.
                person: PrincipalId,
                /// The local groups that what it said of them means.
                groups: Vec<GroupName>,
            }
            /// It is theirs no more: it signs nobody in, what was opened by it is over, and the groups it gave are gone.
            "identity.unlinked" IdentityUnlinked {
                /// SHA-256 over issuer and subject, hex.
                identity: String,
                /// Whose it was.
                person: PrincipalId,
            }
            /// An identity provider signed them out: what was opened by that sign-in is over.
            "identity.signed_out" IdentitySignedOut {
                /// SHA-256 over issuer and subject, hex.
                identity: String,
                /// Who.
                person: PrincipalId,
            }
            /// Somebody named a mailbox as theirs; it is, once they open the link that was sent there. Texts: `address`, `from`.
            "mailbox.named" MailboxNamed {
                /// Who.
                person: PrincipalId,
            }
            /// Somebody said in the portal that an account at a chat service is theirs: what is done with it there counts as theirs. Texts: `from`,
            /// `address` of a mailbox.
            "chat_account.linked" ChatAccountLinked {
                /// Which account: [`crate::chat::key`].
                chat_account: String,
                /// Who.
                person: PrincipalId,
                /// Where.
                service: ChatService,
                /// Of which workspace, by the service's own id.
                team: String,
                /// Who there, by the service's own id.
                account: String,
            }
            /// They chose what they are told there.
            "chat_account.told" ChatAccountTold {
                /// Which account.
                chat_account: String,
                /// Whose it is.
                person: PrincipalId,
                /// What.
                told: Told,
            }
            /// It is nobody's any more.
            "chat_account.removed" ChatAccountRemoved {
                /// Which account.
                chat_account: String,
                /// Whose it was.
                person: PrincipalId,
            }
            /// A person in a browser said whether a device, or a connection of `ssh`, is theirs and is let in. Texts: `from`, `detail` (what asked, from
            /// where, for what).
            "device.answered" DeviceAnswered {
                /// The browser.
                browser: WebSessionId,
                /// Whether they agreed.
                agreed: bool,
            }
            /// Somebody was not let in. Texts: `from`, `user`.
            "signin.refused" SigninRefused {
                /// At which door.
                door: Door,
                /// Why.
                reason: Reason,
            }
        } }
    };
}
