//! What happens to the accounts that the gate makes in databases.

macro_rules! account_events {
    ($then:ident! $state:tt) => {
        $then! { $state Account {
            /// An account is about to be made in a database.
            "account.created" AccountCreated {
                /// Which account.
                account: AccountId,
                /// For which grant.
                grant: GrantId,
                /// Where.
                resource: ResourceName,
                /// By which node.
                node: String,
            }
            /// It is gone from there.
            "account.dropped" AccountDropped {
                /// Which account.
                account: AccountId,
            }
        } }
    };
}
