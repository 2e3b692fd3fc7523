use super::*;
use access::time::Span;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

pub(crate) fn noon() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

pub(crate) fn later(minutes: u64) -> Timestamp {
    Span::minutes(minutes).after(noon())
}

/// A new key in the place of the current one of its kind.
pub(crate) fn rotate(ring: &mut Keyring, kind: KeyKind, now: Timestamp) -> Rotated {
    ring.prepare(kind, now).unwrap();
    ring.activate(kind, now, None).unwrap()
}

/// A data directory: `keys/` and, beside it, the sealing key.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.path().join("keys")
    }
    pub(crate) fn sealing(&self) -> PathBuf {
        self.0.path().join("sealing.key")
    }
    pub(crate) fn source(&self) -> SealingSource {
        SealingSource::File(self.sealing())
    }
    pub(crate) fn open(&self) -> Result<Keyring, KeyringError> {
        Keyring::open_or_create(&self.keys(), &self.source(), noon())
    }
    /// Every file in `keys/` with its content.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        fs::read_dir(self.keys()).unwrap().map(|e| e.unwrap().path()).map(|p| (p.clone(), fs::read(p).unwrap())).collect()
    }
    /// Makes `keys/` hold just these files.
    pub(crate) fn restore<'a>(&self, files: impl IntoIterator<Item = (&'a PathBuf, &'a Vec<u8>)>) {
        for path in self.files().keys() {
            fs::remove_file(path).unwrap();
        }
        for (path, content) in files {
            fs::write(path, content).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    pub(crate) fn key_file(&self, kind: KeyKind) -> PathBuf {
        let start = format!("{kind}-key_");
        self.files().into_keys().find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(&start)).unwrap()
    }
}

/// All that must never be seen, in each form it could be written.
fn plain_forms(ring: &Keyring) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for key in &ring.keys {
        let material = key.material.expose();
        forms.push(material.clone());
        forms.push(hex::encode(material).into_bytes());
        forms.push(BASE64_STANDARD.encode(material).into_bytes());
        forms.push(format!("{material:?}").into_bytes());
    }
    forms.push(b"AGE-SECRET-KEY".to_vec());
    forms.push(b"PRIVATE KEY".to_vec());
    forms
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}

fn assert_sealed(home: &Home, ring: &Keyring) {
    for form in plain_forms(ring) {
        for (path, content) in home.files() {
            assert!(!holds(&content, &form), "{} holds a key in the plain", path.display());
        }
        let shown = format!("{ring:?} {:#?} {:?} {:?}", ring, ring.describe(), ring.recording_identities(Stream::Input));
        assert!(!holds(shown.as_bytes(), &form), "{shown}");
    }
}

// covers: G1
#[test]
fn keys_are_sealed_on_disk_before_and_after_rotation_and_never_shown() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    assert_sealed(&home, &ring);
    for kind in KeyKind::ALL {
        rotate(&mut ring, kind, later(1));
    }
    assert_sealed(&home, &ring);
    let old_sealing = fs::read_to_string(home.sealing()).unwrap();
    ring.prepare_sealing().unwrap();
    ring.activate_sealing().unwrap();
    assert_sealed(&home, &ring);
    let new_sealing = fs::read_to_string(home.sealing()).unwrap();
    assert_ne!(old_sealing, new_sealing);
    for (path, content) in home.files() {
        assert!(!holds(&content, old_sealing.trim().as_bytes()) && !holds(&content, new_sealing.trim().as_bytes()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(fs::metadata(home.sealing()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(home.keys()).unwrap().permissions().mode() & 0o777, 0o700);
    let shown = format!("{:?} {:?}", home.source().load().unwrap(), home.source());
    assert!(!shown.contains(new_sealing.trim()));
}

#[test]
fn a_start_makes_every_kind_once_and_finds_it_again() {
    let home = Home::new();
    let first = home.open().unwrap().describe();
    assert_eq!(first.iter().map(|key| key.kind).collect::<Vec<_>>(), KeyKind::ALL.map(KeyKind::code));
    assert!(first.iter().all(|key| key.created_at == noon() && key.retired_at.is_none()));
    assert_eq!(home.open().unwrap().describe(), first);
    let ring = home.open().unwrap();
    let logins: Vec<PublicKey> = ring.login_cas().into_iter().map(|(key, _)| key).collect();
    assert_eq!(logins, [ring.login_ca().unwrap().public_key().clone()]);
    assert_ne!(ring.login_ca().unwrap(), ring.target_ca().unwrap(), "the two CAs are two");
    let pair = Ed25519Keypair::from_seed(ring.audit_seed().unwrap().1.expose());
    assert_eq!(ring.audit_publics(), [(ring.audit_seed().unwrap().0, pair.public.0)]);
}

#[test]
fn what_lacks_only_some_kinds_because_the_first_start_broke_off_is_completed() {
    let home = Home::new();
    let whole = home.open().unwrap().describe();
    let files = home.files();
    let some: Vec<_> = files.iter().filter(|(path, _)| !path.ends_with(INVENTORY)).take(3).collect();
    home.restore(some);
    fs::write(home.keys().join("target_ca-key_x.tmp"), "half").unwrap();
    let ring = home.open().unwrap();
    assert_eq!(ring.describe().len(), whole.len());
    assert!(home.files().keys().all(|path| path.extension().is_some_and(|e| e != "tmp")));
}

#[test]
fn two_starts_at_once_make_one_set_of_keys() {
    let home = Home::new();
    let seen: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| home.open().unwrap().describe())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(seen.iter().all(|keys| *keys == seen[0] && keys.len() == KeyKind::ALL.len()));
}

#[test]
fn a_changed_file_is_noticed_whatever_was_changed() {
    let home = Home::new();
    let keys = home.open().unwrap().describe();
    let path = home.key_file(KeyKind::LoginCa);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 7);
        fs::write(&path, &bad).unwrap();
        if let Ok(ring) = home.open() {
            // White space, and `z` for `Z` in a time, mean the same.
            assert_eq!(ring.describe(), keys, "byte {at} of {}", String::from_utf8_lossy(&bad));
        }
    }
    let text = String::from_utf8(good.clone()).unwrap();
    for (from, to) in [
        ("\"retired_at\": null".to_owned(), "\"retired_at\": \"2026-03-02T12:00:00Z\"".to_owned()),
        ("2026-03-02T12:00:00Z".to_owned(), "2026-03-02T12:00:01Z".to_owned()),
        ("ssh-ed25519 AAAA".to_owned(), "ssh-ed25519 AAAB".to_owned()),
    ] {
        assert!(text.contains(&from), "{from} is not in {text}");
        fs::write(&path, text.replace(&from, &to)).unwrap();
        assert!(matches!(home.open(), Err(KeyringError::Altered(_))), "{to}");
    }
    // One key in the place of another.
    fs::write(&path, &good).unwrap();
    let other = text.replace("\"login_ca\"", "\"target_ca\"");
    let disguised = PathBuf::from(path.to_str().unwrap().replace("login_ca-", "target_ca-"));
    fs::write(&disguised, other).unwrap();
    fs::set_permissions(&disguised, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(home.open(), Err(KeyringError::Altered(_))));
    fs::rename(&disguised, home.keys().join("spare")).unwrap();
    assert_eq!(home.open().unwrap().describe(), keys);
}

#[test]
fn what_is_missing_is_named_and_not_made_anew() {
    let home = Home::new();
    home.open().unwrap();
    let path = home.key_file(KeyKind::Secrets);
    let kept = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let told = home.open().unwrap_err().to_string();
    assert!(told.starts_with("the secrets key is missing from"), "{told}");
    fs::write(&path, kept).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(home.open().is_ok());

    fs::rename(home.sealing(), home.0.path().join("elsewhere")).unwrap();
    let told = home.open().unwrap_err().to_string();
    assert!(told.contains("restore it, they cannot be opened without"), "{told}");
    assert!(!home.sealing().exists());
}

// covers: G1
#[test]
fn a_sealing_key_that_others_may_read_is_refused_with_advice() {
    let home = Home::new();
    home.open().unwrap();
    for mode in [0o640, 0o604, 0o660, 0o777] {
        fs::set_permissions(home.sealing(), fs::Permissions::from_mode(mode)).unwrap();
        let told = home.open().unwrap_err().to_string();
        assert!(told.contains("may be read by others") && told.contains("chmod 600"), "{told}");
    }
    fs::set_permissions(home.sealing(), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(home.open().is_ok());
    fs::set_permissions(home.keys(), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(home.open().unwrap_err().to_string().contains("chmod 700"));
    fs::set_permissions(home.keys(), fs::Permissions::from_mode(0o700)).unwrap();
    let path = home.key_file(KeyKind::Audit);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(home.open(), Err(KeyringError::Shared { .. })));
}

#[test]
fn what_is_no_sealing_key_is_refused() {
    let home = Home::new();
    home.open().unwrap();
    let good = fs::read_to_string(home.sealing()).unwrap();
    assert_eq!(good.len(), 65);
    for bad in ["", "hunter2", &good[..63], &format!("{good}{good}"), &good.replace(|c: char| c.is_ascii_digit(), "g")] {
        fs::write(home.sealing(), bad).unwrap();
        let told = home.open().unwrap_err().to_string();
        assert!(told.contains("64 hex digits") && (bad.is_empty() || !told.contains(bad.trim())), "{told}");
    }
    fs::remove_file(home.sealing()).unwrap();
    fs::create_dir(home.sealing()).unwrap();
    assert!(matches!(home.open(), Err(KeyringError::NotAFile(_))));
}

#[test]
fn the_sealing_key_may_come_by_a_descriptor() {
    let home = Home::new();
    let keys = home.open().unwrap().describe();
    let kept = home.0.path().join("vault");
    fs::rename(home.sealing(), &kept).unwrap();
    let inherited = fs::File::open(&kept).unwrap();
    let source = SealingSource::Descriptor(u32::try_from(inherited.as_raw_fd()).unwrap());
    assert_eq!(Keyring::open_or_create(&home.keys(), &source, noon()).unwrap().describe(), keys);

    let (read, write) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut { write }, &fs::read(&kept).unwrap()).unwrap();
    let source = SealingSource::Descriptor(u32::try_from(read.as_raw_fd()).unwrap());
    assert_eq!(Keyring::open_or_create(&home.keys(), &source, noon()).unwrap().describe(), keys);

    for number in [0, 2, 1_000_000] {
        assert!(Keyring::open_or_create(&home.keys(), &SealingSource::Descriptor(number), noon()).is_err());
    }
}

#[test]
fn recordings_of_a_retired_recipient_still_open() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let (id, recipient) = ring.recording_recipient(Stream::Input).unwrap();
    let recipient: age::x25519::Recipient = recipient.parse().unwrap();
    let wrapped = age::encrypt(&recipient, b"data key").unwrap();
    rotate(&mut ring, KeyKind::RecordingInput, later(1));

    let ring = home.open().unwrap();
    assert_ne!(ring.recording_recipient(Stream::Input).unwrap().0, id);
    let identities = ring.recording_identities(Stream::Input);
    assert_eq!(identities.len(), 2);
    let opened: Vec<bool> = identities
        .iter()
        .map(|(_, text)| age::decrypt(&text.expose().parse::<age::x25519::Identity>().unwrap(), &wrapped).is_ok_and(|p| p == b"data key"))
        .collect();
    assert_eq!(opened, [true, false]);
    let output = ring.recording_identities(Stream::Output);
    assert!(age::decrypt(&output[0].1.expose().parse::<age::x25519::Identity>().unwrap(), &wrapped).is_err(), "output opens no input");
}

#[test]
fn whoever_looks_changes_nothing_and_makes_nothing() {
    let home = Home::new();
    assert!(Keyring::open(&home.keys(), &home.source()).is_err(), "there is nothing yet");
    assert!(!home.keys().exists() && !home.sealing().exists());
    let made = home.open().unwrap().describe();
    // What a crash left half written stays for the gate to settle.
    fs::write(home.keys().join("half.tmp"), "x").unwrap();
    let before = home.files();
    assert_eq!(Keyring::open(&home.keys(), &home.source()).unwrap().describe(), made);
    assert_eq!(home.files(), before);
    // Keys that are gone are not made anew, and neither is what sealed them.
    home.restore([]);
    let refused = Keyring::open(&home.keys(), &home.source()).unwrap_err();
    assert!(matches!(refused, KeyringError::Missing(..)), "{refused}");
    fs::remove_file(home.sealing()).unwrap();
    assert!(matches!(Keyring::open(&home.keys(), &home.source()), Err(KeyringError::NoSealingKey(..))));
    assert!(home.files().is_empty() && !home.sealing().exists());
}

#[test]
fn a_directory_of_keys_that_is_somebody_elses_is_refused() {
    let home = Home::new();
    home.open().unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(home.keys(), Some(54_321), None).unwrap();
        assert!(matches!(home.open(), Err(KeyringError::Foreign { owner: 54_321, .. })));
    }
}
