use super::*;
use crate::files::AFTER_EACH_STEP;
use crate::keyring::tests::{Home, later, noon, rotate};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;

// covers: CRED-6
#[test]
fn a_retired_key_is_kept_and_a_forgotten_ca_is_gone() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let before = ring.login_ca().unwrap();
    let rotated = rotate(&mut ring, KeyKind::LoginCa, later(5));
    assert_ne!(rotated.old, rotated.new);
    let mut ring = home.open().unwrap();
    assert_ne!(ring.login_ca().unwrap(), before);
    let cas = ring.login_cas();
    assert_eq!(cas[0], (before.public_key().clone(), Some(later(5))));
    assert_eq!(cas[1], (ring.login_ca().unwrap().public_key().clone(), None));

    assert!(matches!(ring.forget(rotated.new), Err(KeyringError::Needed(id)) if id == rotated.new));
    ring.forget(rotated.old).unwrap();
    assert!(matches!(ring.forget(rotated.old), Err(KeyringError::NoSuchKey(_))));
    assert_eq!(home.open().unwrap().login_cas().len(), 1);
    let sealed = rotate(&mut ring, KeyKind::Secrets, later(6));
    assert!(matches!(ring.forget(sealed.old), Err(KeyringError::Needed(_))), "what it sealed would be lost");
}

#[test]
fn a_rotation_that_cannot_be_written_leaves_the_old_key_in_force() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let before = ring.describe();
    let new = ring.prepare(KeyKind::TargetCa, later(5)).unwrap();
    assert_eq!(ring.target_ca().unwrap(), home.open().unwrap().target_ca().unwrap(), "nothing uses it yet");
    let announced = ring.describe();
    // Something stands where the new key's file would be written anew.
    let obstacle = home.keys().join(format!("target_ca-{}.tmp", new.id));
    fs::create_dir(&obstacle).unwrap();
    assert!(matches!(ring.activate(KeyKind::TargetCa, later(6), None), Err(KeyringError::Io { .. })));
    assert_eq!(ring.describe(), announced);
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(home.open().unwrap().describe(), announced);
    ring.withdraw(new.id).unwrap();
    assert_eq!((ring.describe(), home.open().unwrap().describe()), (before.clone(), before));
    assert!(matches!(ring.activate(KeyKind::TargetCa, later(7), None), Err(KeyringError::NotAnnounced(_))));
    rotate(&mut ring, KeyKind::TargetCa, later(8));
}

#[test]
fn an_announced_target_ca_is_trusted_before_it_is_used_and_the_old_one_for_a_while_after() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let first = ring.target_ca().unwrap();
    let new = ring.prepare(KeyKind::TargetCa, later(1)).unwrap();
    assert!(matches!(ring.prepare(KeyKind::TargetCa, later(2)), Err(KeyringError::Announced(KeyKind::TargetCa, id)) if id == new.id));
    let trusted = |ring: &Keyring, at| ring.target_cas(at).into_iter().map(|key| key.id).collect::<Vec<_>>();
    let old = ring.target_cas(later(1))[0].id;
    assert_eq!(trusted(&ring, later(1)), [old, new.id]);
    assert_eq!(home.open().unwrap().target_ca().unwrap(), first, "sessions go on with the old one");
    ring.activate(KeyKind::TargetCa, later(3), Some(later(60))).unwrap();
    let ring = home.open().unwrap();
    assert_ne!(ring.target_ca().unwrap(), first);
    assert_eq!(trusted(&ring, later(59)), [new.id, old]);
    assert_eq!(trusted(&ring, later(60)), [new.id]);
}

/// What is done to a keyring, and how the disk looked after each step of it.
fn steps(home: &Home, act: impl FnOnce()) -> Vec<tempfile::TempDir> {
    fn copy(from: &Path, to: &Path) {
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&target).unwrap();
                fs::set_permissions(&target, fs::metadata(entry.path()).unwrap().permissions()).unwrap();
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    let (sink, dir) = (Rc::clone(&seen), home.dir().to_owned());
    AFTER_EACH_STEP.set(Some(Box::new(move || {
        let snapshot = tempfile::tempdir().unwrap();
        copy(&dir, snapshot.path());
        sink.borrow_mut().push(snapshot);
    })));
    act();
    AFTER_EACH_STEP.set(None);
    Rc::into_inner(seen).unwrap().into_inner()
}

fn reopened(dir: &Path) -> Keyring {
    Keyring::open_or_create(&dir.join("keys"), &SealingSource::File(dir.join("sealing.key")), noon()).unwrap()
}

// covers: G1, CRED-6
#[test]
fn the_sealing_key_is_replaced_and_a_crash_after_any_step_leaves_keys_that_open() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    rotate(&mut ring, KeyKind::Secrets, later(1));
    let keys = ring.describe();
    let before = fs::read(home.sealing()).unwrap();
    let mut resealed = None;
    let snapshots = steps(&home, || {
        let prepared = ring.prepare_sealing().unwrap();
        assert_eq!(ring.announced_sealing().unwrap().as_ref(), Some(&prepared.new));
        assert_eq!(ring.activate_sealing().unwrap(), prepared);
        resealed = Some(prepared);
    });
    let resealed = resealed.unwrap();
    assert!(snapshots.len() > 4 * keys.len(), "each file is written twice, in steps: {}", snapshots.len());
    let (mut with_old, mut with_new) = (0, 0);
    for (step, snapshot) in snapshots.iter().enumerate() {
        let mut ring = reopened(snapshot.path());
        assert_eq!(ring.describe(), keys, "after step {step}");
        // Half a file of the next sealing key is refused where it would be used, and is taken away again.
        let announced = ring.announced_sealing();
        match announced {
            Ok(Some(id)) if ring.sealing_id() == resealed.old => {
                assert_eq!(id, resealed.new);
                assert_eq!(ring.activate_sealing().unwrap(), resealed, "after step {step} it can be brought to its end");
                with_old += 1;
            }
            Ok(None) => with_new += usize::from(ring.sealing_id() == resealed.new),
            other => {
                assert!(other.is_err(), "after step {step}: {other:?}");
                ring.withdraw_sealing().unwrap();
            }
        }
        rotate(&mut ring, KeyKind::Audit, later(9));
        assert_eq!(reopened(snapshot.path()).describe(), ring.describe(), "after step {step}");
    }
    assert!(with_old > keys.len() && with_new > keys.len(), "{with_old} {with_new}");
    assert_eq!((home.open().unwrap().describe(), ring.sealing_id()), (keys, resealed.new.as_str()));
    fs::write(home.sealing(), before).unwrap();
    assert!(matches!(home.open(), Err(KeyringError::OtherSealingKey { .. })), "the old one opens nothing any more");
}

// covers: CRED-6
#[test]
fn a_crash_after_any_step_of_a_rotation_leaves_one_key_in_use_and_both_that_verify() {
    for kind in KeyKind::ALL {
        let home = Home::new();
        let mut ring = home.open().unwrap();
        let old = ring.describe().into_iter().find(|key| key.kind == kind.code()).unwrap();
        let until = (kind == KeyKind::TargetCa).then(|| later(60));
        let mut rotated = None;
        let snapshots = steps(&home, || {
            ring.prepare(kind, later(5)).unwrap();
            rotated = Some(ring.activate(kind, later(6), until).unwrap());
        });
        let rotated = rotated.unwrap();
        let mut in_use = BTreeMap::new();
        for (step, snapshot) in snapshots.iter().enumerate() {
            let ring = reopened(snapshot.path());
            let current: Vec<_> = ring.all(kind).filter(|key| key.is_current()).map(|key| key.id).collect();
            assert_eq!(current.len(), 1, "{kind} after step {step}");
            assert!(ring.all(kind).any(|key| key.id == old.id), "{kind} after step {step}: the old one is kept");
            if current[0] == rotated.new && until.is_some() {
                assert_eq!(ring.target_cas(later(7)).len(), 2, "after step {step} targets still trust both");
            }
            *in_use.entry(current[0]).or_insert(0) += 1;
            assert_eq!(reopened(snapshot.path()).describe(), ring.describe(), "{kind} after step {step}: and it stays so");
        }
        assert_eq!(in_use.keys().copied().collect::<Vec<_>>().len(), 2, "{kind}: {in_use:?}");
    }
}

#[test]
fn a_sealing_key_that_cannot_be_put_in_place_leaves_the_old_one_in_force() {
    let home = Home::new();
    let mut ring = home.open().unwrap();
    let (keys, id) = (ring.describe(), ring.sealing_id().to_owned());
    ring.prepare_sealing().unwrap();
    // A directory stands where the file is to go.
    let aside = home.dir().join("aside");
    fs::rename(home.sealing(), &aside).unwrap();
    fs::create_dir(home.sealing()).unwrap();
    assert!(ring.activate_sealing().is_err());
    assert_eq!(ring.sealing_id(), id);
    fs::remove_dir(home.sealing()).unwrap();
    fs::rename(&aside, home.sealing()).unwrap();
    let mut ring = home.open().unwrap();
    assert_eq!((ring.describe(), ring.sealing_id()), (keys, id.as_str()));
    rotate(&mut ring, KeyKind::Audit, later(1));
    assert!(home.open().is_ok());
}

#[test]
fn a_sealing_key_that_came_by_a_descriptor_is_not_replaced_by_the_gate() {
    use std::os::fd::AsRawFd as _;
    let home = Home::new();
    home.open().unwrap();
    let inherited = fs::File::open(home.sealing()).unwrap();
    let source = SealingSource::Descriptor(u32::try_from(inherited.as_raw_fd()).unwrap());
    let mut ring = Keyring::open_or_create(&home.keys(), &source, noon()).unwrap();
    let told = ring.prepare_sealing().unwrap_err().to_string();
    assert!(told.contains("sealing_key_file"), "{told}");
    assert_eq!(ring.announced_sealing().unwrap(), None);
}
